"""What the accept lane has lent is on the disk: nobody forgets it, and nobody lends beyond the cap."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.errors import AuditError
from credit301.governance.audit.chain import CHAIN, Hasher
from serving.lane_ledger import LaneLedger

MAY, JUNE = datetime(2026, 5, 31, 23, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)


def ledger(folder: Path) -> LaneLedger:
    """As a worker that has just started has it."""
    return LaneLedger(folder, Hasher("key"))


def test_the_cap_outlives_every_process_and_a_month_begins_anew(tmp_path: Path) -> None:
    assert ledger(tmp_path).reserve("a", 60, 100, MAY)
    assert not ledger(tmp_path).reserve("b", 60, 100, MAY)
    assert ledger(tmp_path).reserve("c", 40, 100, MAY)
    assert ledger(tmp_path).reserve("b", 60, 100, JUNE)


def test_one_who_asks_again_takes_no_more_and_gets_no_more(tmp_path: Path) -> None:
    assert ledger(tmp_path).reserve("a", 60, 100, MAY)
    assert ledger(tmp_path).reserve("a", 50, 100, MAY)
    assert not ledger(tmp_path).reserve("a", 61, 1000, MAY)
    assert ledger(tmp_path).reserve("b", 40, 100, MAY)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=12), st.integers(0, 150))
@settings(max_examples=20, deadline=None)
def test_the_sum_of_a_month_never_exceeds_the_cap(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]], cap: int
) -> None:
    folder = tmp_path_factory.mktemp("lane")
    lent: dict[int, int] = {}
    for who, cents in asked:
        if ledger(folder).reserve(str(who), cents, cap, MAY):
            lent[who] = max(lent.get(who, 0), cents)
    assert sum(lent.values()) <= cap


def test_workers_that_ask_at_once_take_turns(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ledger(tmp_path).reserve(f"e{number}", 10, 100, MAY), range(24)))
    assert sum(answers) == 10


@pytest.mark.parametrize("damage", ["a grant taken out", "a smaller sum", "all taken out"])
def test_from_a_damaged_ledger_nothing_is_lent(tmp_path: Path, damage: str) -> None:
    for entity in "ab":
        ledger(tmp_path).reserve(entity, 40, 100, MAY)
    chain = tmp_path / f"2026-05{CHAIN}"
    lines = chain.read_bytes().splitlines(keepends=True)
    changed = {
        "a grant taken out": lines[:-1],
        "a smaller sum": [lines[0].replace(b":40", b":10"), lines[1]],
        "all taken out": [],
    }
    chain.write_bytes(b"".join(changed[damage]))
    with pytest.raises(AuditError):
        ledger(tmp_path).reserve("c", 20, 100, MAY)
