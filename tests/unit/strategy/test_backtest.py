"""Asking about many applications is asking about each; the money adds up."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from credit301.strategy.backtest import AHEAD, Economics, answers
from credit301.strategy.errors import StrategyError
from tests.support.strategies import DOCUMENT, LISTED, SALES, STATUS, strategy

MADE = strategy()
STRICTER = strategy(copy.deepcopy(DOCUMENT) | {"definition": DOCUMENT["definition"] | {"cut_off": 0.1}})
ROWS = 60


def applications() -> pa.Table:
    random = np.random.default_rng(1)
    return pa.table(
        {
            "probability": pa.array(random.uniform(0.001, 0.4, ROWS)),
            "score": pa.array([600] * ROWS),
            "amount": pa.array([Decimal("200000.00")] * ROWS, pa.decimal128(18, 2)),
            "term_months": pa.array([12] * ROWS),
            STATUS: pa.array(random.choice(["active", "revoked"], ROWS)),
            LISTED: pa.array([None if n % 7 == 0 else float(n % 5 == 0) for n in range(ROWS)]),
            SALES: pa.array(random.uniform(0, 3e6, ROWS)),
        }
    )


def batches(rows: int) -> list[tuple[int, pa.Table]]:
    """The applications, so many at a time, each batch beside the number of its first."""
    return [(first, applications().slice(first, rows)) for first in range(0, ROWS, rows)]


def test_each_is_answered_as_it_would_be_alone() -> None:
    asked = applications()
    ((_, (said, other)),) = answers([MADE, STRICTER], [(0, asked)], 1)
    assert set(said.column("outcome").to_pylist()) == {"approve", "decline"}
    for strategy_, answered in ((MADE, said), (STRICTER, other)):
        for row, answer in zip(asked.to_pylist(), answered.to_pylist(), strict=True):
            verdict = strategy_.decide(
                probability=row["probability"],
                score=600,
                values={key: row[key] for key in (STATUS, LISTED, SALES)},
                amount=row["amount"],
                term_months=12,
            )
            limit = None if verdict.limit is None else float(verdict.limit)
            assert (answer["outcome"], answer["band"], answer["limit"]) == (verdict.outcome.value, verdict.band, limit)


@pytest.mark.parametrize("processes", [1, 2])
def test_batches_come_back_in_order_and_few_are_taken_ahead(processes: int) -> None:
    taken: list[int] = []

    def watched() -> Iterator[tuple[int, pa.Table]]:
        for first, batch in batches(7):
            taken.append(first)
            yield first, batch

    ((_, whole),) = answers([MADE, STRICTER], [(0, applications())], 1)
    answered = answers([MADE, STRICTER], watched(), processes)
    found = [next(answered)]
    assert len(taken) <= AHEAD * processes + 1 < len(batches(7))
    found += answered
    assert [first for first, _ in found] == list(range(0, ROWS, 7))
    for said, parts in zip(whole, zip(*(tables for _, tables in found), strict=True), strict=True):
        assert pa.concat_tables(parts).combine_chunks().equals(said)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_batch_that_cannot_be_answered_ends_it_with_its_reason(processes: int) -> None:
    asked = batches(20)
    place = asked[1][1].column_names.index(SALES)
    unfit = asked[1][1].set_column(place, SALES, pa.array(["much"] * 20))
    with pytest.raises(StrategyError):
        list(answers([MADE], [asked[0], (20, unfit), asked[2]], processes))


def test_profit_is_the_margin_of_those_who_pay_less_what_a_default_loses() -> None:
    money = Economics.of(MADE)
    assert money is not None
    limit, rate, months = np.array([100_000.0] * 2), np.array([0.06] * 2), np.array([12.0] * 2)
    assert money.profit(limit, rate, months, np.array([0.0, 1.0])).tolist() == pytest.approx([3_800, -55_000])
    assert money.profit(limit, rate, months, np.array([0.1, 0.1])).tolist() == pytest.approx([3_420 - 5_500] * 2)
