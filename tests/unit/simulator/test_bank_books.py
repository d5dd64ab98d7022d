"""A simulated bank's books: a message counts once, a loan is paid out once, and time brings instalments and its end."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from credit301.partners.messages import (
    Accepted,
    Closed,
    Disbursed,
    DisbursementInstruction,
    DisbursementRefused,
    Repayment,
)
from simulator.bank_books import Books


def books(**changes: Any) -> Books:
    given: dict[str, Any] = {"name": "demo", "seed": 1, "refusals": 0.0, "defaults": 0.0}
    return Books(**(given | changes))


def instruction(term: int = 3) -> DisbursementInstruction:
    number = uuid4()
    return DisbursementInstruction(
        version="1.0", created_at=datetime.now(UTC), message_id=number, sender="wuhan", recipient="demo",
        application_id=uuid4(), instruction_id=number, decision_id=uuid4(), entity="E", product="p",
        amount=Decimal("90000.00"), annual_rate=Decimal("0.06"), term_months=term,
    )  # fmt: skip


def test_an_instruction_that_comes_three_times_is_paid_once() -> None:
    kept, told = books(), instruction()
    answers = [kept.take(told) for _ in range(3)]
    assert [known for known, _ in answers] == [False, True, True]
    assert [type(item) for item in answers[0][1]] == [Accepted, Disbursed]
    assert [said for _, said in answers[1:]] == [[], []]
    assert kept.disbursements == {str(told.application_id): 1}
    assert kept.arrivals == {str(told.message_id): 3}


def test_a_loan_is_paid_back_with_its_interest_and_ends() -> None:
    kept, told = books(), instruction()
    kept.take(told)
    said = [kept.month() for _ in range(5)]
    paid = [item for (item,) in said[:3] if isinstance(item, Repayment)]
    assert [item.instalment_no for item in paid] == [1, 2, 3]
    assert Decimal(90_000) < sum(item.paid_amount for item in paid) < Decimal(92_000)
    assert {(item.days_past_due, item.five_level_class) for item in paid} == {(0, "normal")}
    (end,) = said[3]
    assert isinstance(end, Closed)
    assert end.outcome == "settled"
    assert said[4] == []


def test_one_who_stops_paying_is_written_off_after_ninety_days_past_due() -> None:
    kept, told = books(defaults=1.0, seed=5), instruction(12)
    kept.take(told)
    said = [item for _ in range(13) for item in kept.month()]
    worst = max(item.days_past_due for item in said if isinstance(item, Repayment))
    assert worst >= 30
    assert isinstance(said[-1], Closed)
    assert said[-1].outcome == "written_off"


def test_a_bank_that_refuses_everything_pays_nothing() -> None:
    kept = books(refusals=1.0)
    _, said = kept.take(instruction())
    assert isinstance(said[-1], DisbursementRefused)
    assert kept.disbursements == {}
