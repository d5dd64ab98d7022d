"""B5: when it counts as reached, and that the workspace it runs is the reference city but for where it pulls from."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from benchmarks.__main__ import sizes_in
from benchmarks.b5_pipeline import Run, file_drop_workspace, full_figure, increment_figure
from credit301.settings import Settings
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY

GIBIBYTE = 1 << 30


def run(seconds: float, gibibytes: float = 3.0) -> Run:
    return Run({"ingest": seconds / 2, "build": seconds / 2}, int(gibibytes * GIBIBYTE))


def test_a_full_run_is_reached_within_time_memory_and_growth() -> None:
    def reached(size: int, made: Run, rate_before: float = 1.0) -> bool:
        return full_figure(size, 1, made, 1.0, {10_000: rate_before, size: made.total / size}).reached

    assert reached(1_000_000, run(899))
    assert not reached(1_000_000, run(901))
    assert not reached(1_000_000, run(899, 12.5))
    assert reached(100_000, run(5_000))
    assert not reached(100_000, run(5_000), rate_before=0.04)


def test_an_increment_is_reached_below_a_twentieth_of_the_full_run() -> None:
    assert increment_figure(1, run(100), run(4.9)).reached
    assert not increment_figure(1, run(100), run(5.0)).reached


def test_the_workspace_differs_from_the_reference_city_only_in_where_it_pulls_from(tmp_path: Path) -> None:
    file_drop_workspace(tmp_path / "city")
    settings = Settings(home=tmp_path)
    dropped = Workspace.load(tmp_path / "city", settings)
    city = Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)
    assert {contract.pull.connector for contract in dropped.sources.values()} == {"file_drop"}
    for name, contract in city.sources.items():
        same = contract.model_dump(exclude={"pull", "path"})
        assert dropped.source(name).model_dump(exclude={"pull", "path"}) == same


@pytest.mark.parametrize("text", ["", "ten", "0", "-5,10"])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        sizes_in(text)


def test_sizes_are_taken_in_increasing_order_once_each() -> None:
    assert sizes_in("100_000, 10000,100000") == (10_000, 100_000)
