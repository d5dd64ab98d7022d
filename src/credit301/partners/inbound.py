"""What a bank's message makes of an application: the move that it causes, and the records that follow from it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from credit301.applications.changes import Cause, Change, Received, Tenant
from credit301.applications.records import OFFER_LASTS, Application
from credit301.applications.states import Actor, Event, Mode
from credit301.applications.store import ApplicationStore
from credit301.domain.product import HIGHEST_ANNUAL_RATE
from credit301.domain.text import Refusal, Text
from credit301.partners.messages import (
    Accepted,
    Closed,
    Declined,
    Disbursed,
    DisbursementRefused,
    FromBank,
    Offered,
    Receipt,
    Repayment,
)

LOANS, REPAYMENTS = "bank_loan", "bank_repayment"
RECORDS = "records"
"""Where a line of the history keeps records for sources, by source: see :mod:`credit301.partners.reported`."""
_LARGEST = Decimal(10) ** 15


class PartnerDesk:
    """Applies messages of banks.

    Args:
        store: where applications are.
        key: the entity's key in records.
    """

    def __init__(self, store: ApplicationStore, key: str) -> None:
        self._store = store
        self._key = key

    async def take(self, bank: str, message: FromBank) -> Receipt:
        """Apply ``message`` of ``bank`` once; again, it changes nothing and says so.

        Raises:
            UnknownApplication: this bank has no application of this number.
            Refusal: what it says is not possible, or contradicts what was agreed; the field is named.
            Changed: the application is changed by others all the time.
        """
        tenant, received = Tenant(bank), Received(bank, message.message_id)
        duplicate = await self._store.received(received)
        if not duplicate:
            loan = await self._loan(tenant, message)
            await self._store.apply(
                tenant, message.application_id, lambda found: change_of(bank, message, found, loan, self._key), received
            )
        return Receipt(message_id=message.message_id, received_at=datetime.now(UTC), duplicate=duplicate)

    async def _loan(self, tenant: Tenant, message: FromBank) -> str | None:
        """The loan that the application became, where the message is about one."""
        if not isinstance(message, Repayment | Closed):
            return None
        history = await self._store.history(tenant, message.application_id)
        paid = [step for step in history if step.event is Event.CONFIRM_DISBURSEMENT]
        return str(paid[-1].detail["loan_id"]) if paid else None


def change_of(bank: str, message: FromBank, found: Application, loan: str | None, key: str) -> Change:
    """What becomes of ``found`` by ``message`` of ``bank``.

    Args:
        bank: who says so.
        message: what it says.
        found: the application as it stands.
        loan: the loan that it became, if it did.
        key: the entity's key in records.

    Raises:
        Refusal: it contradicts what was agreed.
    """
    note: dict[str, Any] = {"message_id": message.message_id}
    match message:
        case Accepted():
            return Change()
        case Declined() | DisbursementRefused():
            event = Event.DECLINE if isinstance(message, Declined) else Event.REFUSE_DISBURSEMENT
            return _moved(bank, event, note | _reason(message))
        case Offered():
            return _offered(bank, message, note)
        case Disbursed():
            _require_agreed(message, found)
            records = {RECORDS: {LOANS: _loan_record(bank, message, found, key)}}
            return _moved(bank, Event.CONFIRM_DISBURSEMENT, note | {"loan_id": message.loan_id} | records)
        case Repayment():
            _require_loan(message, loan)
            _require_money(message.due_amount, "due_amount")
            _require_money(message.paid_amount, "paid_amount")
            records = {RECORDS: {REPAYMENTS: _repayment_record(message, found, key)}}
            return _moved(bank, Event.REPORT_REPAYMENT, note | {"loan_id": message.loan_id} | records)
        case Closed():
            _require_loan(message, loan)
            told = {"loan_id": message.loan_id, "outcome": message.outcome, "closed_on": message.closed_on}
            return _moved(bank, Event.CLOSE, note | told)


def _moved(bank: str, event: Event, detail: dict[str, Any]) -> Change:
    return Change([Cause(event, Actor.BANK, bank, msgspec.to_builtins(detail))])


def _reason(message: Declined | DisbursementRefused) -> dict[str, str]:
    return {"reason_code": message.reason_code} | ({"reason": message.reason} if message.reason else {})


def _offered(bank: str, message: Offered, note: dict[str, Any]) -> Change:
    _require_money(message.limit, "limit", above=True)
    _require_rate(message.annual_rate)
    offer = {"limit": message.limit, "annual_rate": message.annual_rate, "term_months": message.term_months}
    values = {
        "credit_limit": message.limit,
        "annual_rate": message.annual_rate,
        "term_months": message.term_months,
        "expires_at": datetime.now(UTC) + OFFER_LASTS,
    }
    cause = Cause(Event.OFFER, Actor.BANK, bank, msgspec.to_builtins(note | offer))
    return Change([cause], values=values)


def _require_agreed(message: Disbursed, found: Application) -> None:
    """That the bank paid what was agreed: as instructed where the platform decides, else no more than it offered."""
    _require_money(message.amount, "amount", above=True)
    _require_rate(message.annual_rate)
    limit, exact = found.limit or Decimal(0), found.mode is Mode.PLATFORM
    if message.amount > limit or (exact and message.amount != limit):
        raise _contradicts("amount", f"{limit}", exact=exact)
    if message.annual_rate != found.annual_rate:
        raise _contradicts("annual_rate", f"{found.annual_rate}", exact=True)
    if message.term_months != found.details.term_months:
        raise _contradicts("term_months", f"{found.details.term_months}", exact=True)


def _contradicts(field: str, agreed: str, *, exact: bool) -> Refusal:
    return Refusal(
        "contradicts_agreement",
        Text(
            zh=f"字段 {field} 与约定不符：约定为{'' if exact else '不超过'} {agreed}。",
            en=f"The field {field} is not what was agreed: {'' if exact else 'at most '}{agreed}.",
        ),
        field=field,
        hint=Text(zh="请核对指令或方案。", en="Compare it with the instruction or the offer."),
    )


def _require_loan(message: Repayment | Closed, loan: str | None) -> None:
    # Where nothing was paid yet, the state refuses the message and says why.
    if loan is not None and message.loan_id != loan:
        raise Refusal(
            "another_loan",
            Text(zh="该申请对应的是另一笔贷款。", en="The application became another loan."),
            field="loan_id",
            hint=Text(zh="请使用放款确认中的贷款编号。", en="Use the number of the confirmation of disbursement."),
        )


def _require_money(amount: Decimal, field: str, *, above: bool = False) -> None:
    cents = amount.is_finite() and amount == round(amount, 2)
    if not cents or amount < 0 or (above and amount == 0) or amount >= _LARGEST:
        raise Refusal(
            "amount_out_of_range",
            Text(zh=f"字段 {field} 不是有效金额。", en=f"The field {field} is no amount."),
            field=field,
            hint=Text(
                zh='以元为单位，最多两位小数，例如 "200000.00"。', en='Yuan with two decimals, such as "200000.00".'
            ),
        )


def _require_rate(rate: Decimal) -> None:
    if not rate.is_finite() or not 0 <= rate <= HIGHEST_ANNUAL_RATE or rate != round(rate, 6):
        raise Refusal(
            "rate_out_of_range",
            Text(zh="年利率须在 0 与 0.36 之间。", en="The annual rate must be from 0 to 0.36."),
            field="annual_rate",
            hint=Text(zh='例如 "0.0450" 表示 4.5%。', en='"0.0450" is 4.5 %.'),
        )


def _loan_record(bank: str, message: Disbursed, found: Application, key: str) -> dict[str, Any]:
    decided = found.decision["decided_at"] if found.decision is not None else None
    return {
        "loan_id": message.loan_id,
        key: found.entity,
        "bank_code": bank,
        "product": found.details.product,
        "amount": message.amount,
        "annual_rate": message.annual_rate,
        "term_months": message.term_months,
        "decided_at": decided and _moment(datetime.fromisoformat(decided)),
        "disbursed_on": message.disbursed_on,
        "event_time": _day(message.disbursed_on),
    }


def _repayment_record(message: Repayment, found: Application, key: str) -> dict[str, Any]:
    return {
        "loan_id": message.loan_id,
        "instalment_no": message.instalment_no,
        key: found.entity,
        "due_on": message.due_on,
        "due_amount": message.due_amount,
        "paid_on": message.paid_on,
        "paid_amount": message.paid_amount,
        "days_past_due": message.days_past_due,
        "five_level_class": message.five_level_class,
        "event_time": _day(message.as_of),
    }


def _moment(moment: datetime) -> str:
    """As the warehouse has it: UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _day(day: date) -> str:
    return f"{day} 00:00:00"
