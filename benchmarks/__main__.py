"""``python -m benchmarks``: measure, print, and keep the figures in ``benchmarks/results/latest.json``."""

from __future__ import annotations

import atexit
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import (
    b1_decision,
    b2_http,
    b3_application,
    b4_materialize,
    b5_pipeline,
    b6_training,
    b7_auc,
    b10_newcomer,
    results,
)
from benchmarks.city import City, city
from benchmarks.results import Figure
from credit301 import console
from credit301.cli import silence_finalisation
from credit301.errors import Credit301Error

ON_CITY: dict[str, Callable[[City, Path], list[Figure]]] = {
    "B1": b1_decision.measure,
    "B2": b2_http.measure,
    "B3": b3_application.measure,
}
ALONE: dict[str, Callable[[Path], list[Figure]]] = {"B4": b4_materialize.measure}
PIPELINE = "B5"
TRAINING, RANKING = "B6", "B7"
NEWCOMER = "B10"
REACH = {
    "B1": b1_decision.REACH,
    "B2": b2_http.REACH,
    "B3": b3_application.REACH,
    "B4": b4_materialize.REACH,
    PIPELINE: b5_pipeline.REACH,
    TRAINING: b6_training.REACH,
    RANKING: b7_auc.REACH,
    NEWCOMER: b10_newcomer.REACH,
}
KNOWN = tuple(f"B{number}" for number in range(1, 11))
LATER = tuple(name for name in KNOWN if name not in REACH)


def chosen(only: str) -> tuple[str, ...]:
    """The ids in ``only`` (``B1,B2``); all but B10, which takes long and downloads, where it is empty.

    Raises:
        typer.BadParameter: there is no such figure.
    """
    asked = [name.strip().upper() for name in only.split(",") if name.strip()]
    unknown = [name for name in asked if name not in KNOWN]
    if unknown:
        raise typer.BadParameter(f"there is no {', '.join(unknown)}; the figures are {', '.join(KNOWN)}")
    return tuple(dict.fromkeys(asked)) or tuple(name for name in KNOWN if name != NEWCOMER)


def sizes_in(text: str) -> tuple[int, ...]:
    """Numbers of enterprises in ``text`` (``10000,100000``), in increasing order.

    Raises:
        typer.BadParameter: one is no whole number above zero.
    """
    try:
        sizes = sorted({int(part.replace("_", "")) for part in text.split(",") if part.strip()})
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: numbers of enterprises are such as 10000,100000") from error
    if not sizes or sizes[0] <= 0:
        raise typer.BadParameter(f"{text!r}: there must be enterprises")
    return tuple(sizes)


def main(
    only: Annotated[str, typer.Option(help="Only these figures, such as B1,B2. 只测这些指标。")] = "",
    home: Annotated[
        Path | None,
        typer.Option(help="Keep the city here, and use it again. 保留并复用城市数据的目录。"),
    ] = None,
    sizes: Annotated[
        str, typer.Option(help="Enterprises of B5; a million takes half an hour. B5 的企业数量，百万约需半小时。")
    ] = "10000,100000,1000000",
    rows: Annotated[int, typer.Option(help="Rows of B6. B6 的训练行数。", min=2_000)] = b6_training.ROWS,
    enterprises: Annotated[
        int, typer.Option(help="Enterprises of B7's city. B7 的企业数量。", min=500)
    ] = b7_auc.ENTERPRISES,
) -> None:
    """性能基准。Measure each figure beside its peer and its floor."""
    wanted = chosen(only)
    for name in wanted:
        if name in LATER:
            console.say(f"{name} is not measured yet · 尚未测量")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="credit301-bench-") as temporary:
        folder = Path(temporary)
        on_city = [name for name in wanted if name in ON_CITY]
        if on_city:
            with city(home or folder) as place:
                for name in on_city:
                    console.say(f"== {name}")
                    figures += ON_CITY[name](place, folder)
        later: dict[str, Callable[[], list[Figure]]] = {
            **{name: partial(make, folder) for name, make in ALONE.items()},
            PIPELINE: lambda: b5_pipeline.measure(folder, sizes_in(sizes)),
            TRAINING: lambda: b6_training.measure(folder, rows),
            RANKING: lambda: b7_auc.measure(folder, home, enterprises),
            NEWCOMER: lambda: b10_newcomer.measure(folder),
        }
        for name, make in later.items():
            if name in wanted:
                console.say(f"== {name}")
                figures += make()
    if figures:
        results.show(results.write(figures), REACH, {figure.id for figure in figures})


if __name__ == "__main__":
    atexit.register(silence_finalisation)
    # Those of the libraries' own insides, which nobody here can act on.
    warnings.simplefilter("ignore")
    try:
        typer.run(main)
    except Credit301Error as failure:
        console.say(f"error: {failure}")
        raise SystemExit(1) from failure
