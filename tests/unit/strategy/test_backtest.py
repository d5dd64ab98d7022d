"""Asking about many applications is asking about each; the money adds up."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from credit301.strategy import backtest
from credit301.strategy.backtest import Economics, answers
from tests.support.strategies import LISTED, SALES, STATUS, strategy

MADE = strategy()
ROWS = 60


def applications() -> pa.Table:
    random = np.random.default_rng(1)
    probability = [None if n % 9 == 0 else float(p) for n, p in enumerate(random.uniform(0.001, 0.4, ROWS))]
    return pa.table(
        {
            "probability": pa.array(probability, pa.float64()),
            "score": pa.array([600] * ROWS),
            "amount": pa.array([Decimal("200000.00")] * ROWS, pa.decimal128(18, 2)),
            "term_months": pa.array([12] * ROWS),
            STATUS: pa.array(random.choice(["active", "revoked"], ROWS)),
            LISTED: pa.array([None if n % 7 == 0 else float(n % 5 == 0) for n in range(ROWS)]),
            SALES: pa.array(random.uniform(0, 3e6, ROWS)),
        }
    )


def test_each_is_answered_as_it_would_be_alone() -> None:
    asked = applications()
    said = answers(MADE, asked, 1).to_pylist()
    assert {row["outcome"] for row in said} == {None, "approve", "decline"}
    for row, answer in zip(asked.to_pylist(), said, strict=True):
        if row["probability"] is None:
            assert answer["outcome"] is None
            continue
        verdict = MADE.decide(
            probability=row["probability"],
            score=600,
            values={key: row[key] for key in (STATUS, LISTED, SALES)},
            amount=row["amount"],
            term_months=12,
        )
        limit = None if verdict.limit is None else float(verdict.limit)
        assert (answer["outcome"], answer["band"], answer["limit"]) == (verdict.outcome.value, verdict.band, limit)


def test_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "_HERE", 1)
    monkeypatch.setattr(backtest, "_CHUNK", 17)
    assert answers(MADE, applications(), 2).equals(answers(MADE, applications(), 1).combine_chunks())


def test_profit_is_the_margin_of_those_who_pay_less_what_a_default_loses() -> None:
    money = Economics.of(MADE)
    assert money is not None
    limit, rate, months = np.array([100_000.0] * 2), np.array([0.06] * 2), np.array([12.0] * 2)
    assert money.profit(limit, rate, months, np.array([0.0, 1.0])).tolist() == pytest.approx([3_800, -55_000])
    assert money.profit(limit, rate, months, np.array([0.1, 0.1])).tolist() == pytest.approx([3_420 - 5_500] * 2)
