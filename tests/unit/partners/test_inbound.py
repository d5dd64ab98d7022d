"""What each message of a bank makes of an application, and what is refused, by field and in both languages."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from credit301.applications.records import Application
from credit301.applications.states import Actor, Event, Mode, State, walk
from credit301.domain.text import Refusal
from credit301.partners.inbound import change_of
from credit301.partners.messages import (
    Accepted,
    Closed,
    Declined,
    Disbursed,
    DisbursementRefused,
    FromBank,
    Offered,
    Repayment,
)
from tests.support.applications import DETAILS

NOW = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
LIMIT, RATE = Decimal("200000.00"), Decimal("0.045000")


def application(state: State, mode: Mode = Mode.PLATFORM) -> Application:
    return Application(
        id=uuid4(), tenant="demo", entity="91420100MA4K00000X", named="0" * 32, mode=mode, details=DETAILS, state=state,
        version=7, consent_id="c", phone_verified_at=NOW, face_verified_at=NOW, decision_id=uuid4(), claimed_until=None,
        decision={"decided_at": "2026-11-01T16:00:00+08:00", "outcome": "approve"}, limit=LIMIT, annual_rate=RATE,
        created_at=NOW, updated_at=NOW, expires_at=NOW,
    )  # fmt: skip


def head() -> dict[str, Any]:
    return {"version": "1.0", "message_id": "m-1", "created_at": NOW, "application_id": uuid4()}


def disbursed(**changes: Any) -> Disbursed:
    said: dict[str, Any] = {
        "loan_id": "L1",
        "amount": LIMIT,
        "annual_rate": RATE,
        "term_months": 12,
        "disbursed_on": date(2026, 11, 2),
    }
    return Disbursed(**head(), **(said | changes))


def repayment(**changes: Any) -> Repayment:
    said: dict[str, Any] = {
        "loan_id": "L1", "instalment_no": 2, "due_on": date(2027, 1, 2), "due_amount": Decimal("17000.00"),
        "paid_amount": Decimal("0.00"), "days_past_due": 91, "five_level_class": "substandard",
        "as_of": date(2027, 4, 3),
    }  # fmt: skip
    return Repayment(**head(), **(said | changes))


def offered(**changes: Any) -> Offered:
    said: dict[str, Any] = {"limit": LIMIT, "annual_rate": RATE, "term_months": 24}
    return Offered(**head(), **(said | changes))


@pytest.mark.parametrize(
    ("state", "mode", "message", "target"),
    [
        (State.SCORED, Mode.STANDARD, offered(), State.OFFERED),
        (State.SCORED, Mode.STANDARD, Declined(**head(), reason_code="x"), State.DECLINED),
        (State.ACCEPTED, Mode.STANDARD, disbursed(), State.DISBURSED),
        (State.ACCEPTED, Mode.STANDARD, DisbursementRefused(**head(), reason_code="x"), State.DECLINED),
        (State.DISBURSEMENT_INSTRUCTED, Mode.PLATFORM, disbursed(), State.DISBURSED),
        (State.DISBURSEMENT_INSTRUCTED, Mode.PLATFORM, DisbursementRefused(**head(), reason_code="x"), State.DECLINED),
        (State.DISBURSED, Mode.PLATFORM, repayment(), State.MONITORED),
        (State.MONITORED, Mode.STANDARD, repayment(), State.MONITORED),
        (State.MONITORED, Mode.PLATFORM, Closed(**head(), loan_id="L1", outcome="settled", closed_on=NOW.date()), State.CLOSED),
    ],
)  # fmt: skip
def test_each_message_moves_the_application_as_the_bank(
    state: State, mode: Mode, message: FromBank, target: State
) -> None:
    made = change_of("demo", message, application(state, mode), "L1", "uscc")
    passed = walk(state, [(cause.event, cause.actor) for cause in made.causes], mode=mode)
    assert passed == (target,)
    assert {(cause.actor, cause.by) for cause in made.causes} == {(Actor.BANK, "demo")}
    assert made.causes[0].detail["message_id"] == "m-1"


def test_that_the_bank_is_at_it_moves_nothing() -> None:
    assert change_of("demo", Accepted(**head()), application(State.SCORED), None, "uscc").causes == ()


def test_an_offer_of_the_bank_replaces_what_the_strategy_said() -> None:
    values = change_of(
        "demo", offered(limit=Decimal("90000.00")), application(State.SCORED, Mode.STANDARD), None, "uscc"
    ).values
    assert (values["credit_limit"], values["annual_rate"], values["term_months"]) == (Decimal("90000.00"), RATE, 24)
    assert values["expires_at"] > datetime.now(UTC)


@pytest.mark.parametrize(
    ("mode", "message", "field"),
    [
        (Mode.PLATFORM, disbursed(amount=Decimal("199999.99")), "amount"),
        (Mode.PLATFORM, disbursed(amount=Decimal("200000.01")), "amount"),
        (Mode.STANDARD, disbursed(amount=Decimal("200000.01")), "amount"),
        (Mode.PLATFORM, disbursed(annual_rate=Decimal("0.05")), "annual_rate"),
        (Mode.PLATFORM, disbursed(term_months=13), "term_months"),
        (Mode.PLATFORM, disbursed(amount=Decimal("NaN")), "amount"),
        (Mode.STANDARD, offered(limit=Decimal(0)), "limit"),
        (Mode.STANDARD, offered(limit=Decimal("1.001")), "limit"),
        (Mode.STANDARD, offered(limit=Decimal("Infinity")), "limit"),
        (Mode.STANDARD, offered(annual_rate=Decimal("0.37")), "annual_rate"),
        (Mode.PLATFORM, repayment(due_amount=Decimal(-1)), "due_amount"),
        (Mode.PLATFORM, repayment(paid_amount=Decimal("sNaN")), "paid_amount"),
        (Mode.PLATFORM, repayment(loan_id="L2"), "loan_id"),
        (Mode.PLATFORM, Closed(**head(), loan_id="L2", outcome="settled", closed_on=NOW.date()), "loan_id"),
    ],
)
def test_what_contradicts_the_agreement_is_refused_by_field(mode: Mode, message: FromBank, field: str) -> None:
    state = State.ACCEPTED if mode is Mode.STANDARD else State.DISBURSEMENT_INSTRUCTED
    with pytest.raises(Refusal) as caught:
        change_of("demo", message, application(state, mode), "L1", "uscc")
    assert caught.value.field == field
    assert caught.value.text.zh
    assert caught.value.hint_text.en


def test_a_bank_may_pay_less_than_it_offered() -> None:
    found = application(State.ACCEPTED, Mode.STANDARD)
    assert change_of("demo", disbursed(amount=Decimal("150000.00")), found, None, "uscc").causes


def test_loans_and_instalments_become_records_of_their_sources() -> None:
    found = application(State.DISBURSEMENT_INSTRUCTED)
    (cause,) = change_of("demo", disbursed(), found, None, "uscc").causes
    assert cause.event is Event.CONFIRM_DISBURSEMENT
    assert cause.detail["records"]["bank_loan"] == {
        "loan_id": "L1",
        "uscc": found.entity,
        "bank_code": "demo",
        "product": "working_capital_loan",
        "amount": "200000.00",
        "annual_rate": "0.045000",
        "term_months": 12,
        "decided_at": "2026-11-01 08:00:00.000000",
        "disbursed_on": "2026-11-02",
        "event_time": "2026-11-02 00:00:00",
    }
    (cause,) = change_of("demo", repayment(), found, "L1", "uscc").causes
    record = cause.detail["records"]["bank_repayment"]
    assert (record["instalment_no"], record["paid_on"], record["five_level_class"]) == (2, None, "substandard")
    assert record["event_time"] == "2027-04-03 00:00:00"
