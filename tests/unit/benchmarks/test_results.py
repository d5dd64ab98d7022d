"""The file of figures: the keys that the budgets name, and what is kept of an earlier run."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from benchmarks import results
from benchmarks.results import Figure, Machine, Results, merged, ratio

KEYS = {"id", "what", "unit", "ours", "peer", "floor", "spread", "reached"}
MACHINE = Machine(2, 24, "a processor")


def figure(name: str = "B1", ours: float = 2.0, unit: str = "us", peer: float | None = 40.0) -> Figure:
    return Figure(
        id=name, what="one", unit=unit, ours=ours, peer=peer, floor=1.0, spread=(ours, ours + 1), reached=True
    )


def test_the_file_has_the_keys_that_the_budgets_name(tmp_path: Path) -> None:
    path = tmp_path / "results" / "latest.json"
    results.write([figure(), figure("B2", peer=None)], path)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert set(written) == {"machine", "versions", "figures"}
    assert set(written["machine"]) == {"cores", "memory_gib", "cpu"}
    assert all(set(item) == KEYS for item in written["figures"])
    assert written["figures"][0]["spread"] == [2.0, 3.0]
    assert written["figures"][1]["peer"] is None
    assert [path.name for path in path.parent.iterdir()] == ["latest.json"]


def test_the_committed_file_is_of_that_form() -> None:
    kept = msgspec.json.decode(results.LATEST.read_bytes(), type=Results)
    assert kept.figures
    assert all(item.spread[0] <= item.ours <= item.spread[1] for item in kept.figures)


def test_a_part_measured_again_replaces_its_figures_and_keeps_the_others() -> None:
    before = Results(MACHINE, {"python": "3"}, (figure("B1", 1.0), figure("B2", 1.0), figure("B10", 1.0)))
    after = merged(before, MACHINE, {"python": "3"}, [figure("B2", 5.0)])
    assert [(item.id, item.ours) for item in after.figures] == [("B1", 1.0), ("B2", 5.0), ("B10", 1.0)]


@pytest.mark.parametrize(
    ("machine", "used"), [(Machine(4, 24, "a processor"), {"python": "3"}), (MACHINE, {"python": "4"})]
)
def test_figures_of_another_machine_or_version_are_not_kept(machine: Machine, used: dict[str, str]) -> None:
    before = Results(MACHINE, {"python": "3"}, (figure("B1"),))
    assert [item.id for item in merged(before, machine, used, [figure("B2")]).figures] == ["B2"]


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    path.write_text("{", encoding="utf-8")
    results.write([figure()], path)
    assert msgspec.json.decode(path.read_bytes(), type=Results).figures == (figure(),)


def test_less_time_and_more_a_second_are_both_better() -> None:
    assert ratio(figure(ours=2.0), 40.0) == "20.00"
    assert ratio(figure(ours=40.0, unit="decisions/s"), 2.0) == "20.00"
    assert ratio(figure(), None) == "-"


def test_the_machine_is_described_without_a_name_or_a_path() -> None:
    import platform

    text = msgspec.json.encode(results.this_machine()).decode()
    assert platform.node() not in text
    assert "/" not in text
