"""The books of a simulated bank: each message once, one loan for an application, instalments month by month."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal
from uuid import UUID

from credit301.partners.messages import (
    VERSION,
    Acceptance,
    Accepted,
    ApplicationPackage,
    Closed,
    Declined,
    Disbursed,
    DisbursementInstruction,
    DisbursementRefused,
    FromBank,
    Offered,
    Repayment,
    ToBank,
    Withdrawal,
)

_CENT = Decimal("0.01")
_OFFERED_AT_MOST = Decimal(300_000)
_RATE = Decimal("0.0480")
_DAYS_A_MONTH = 30
_Class = Literal["normal", "special_mention", "substandard", "doubtful", "loss"]
_CLASSES: tuple[tuple[int, _Class], ...] = (
    (361, "loss"),
    (271, "doubtful"),
    (90, "substandard"),
    (8, "special_mention"),
    (0, "normal"),
)


@dataclass
class Loan:
    """One loan. ``paid``: the last instalment reported; of one who does not pay, ``missed`` is the first one missed."""

    id: str
    application: UUID
    amount: Decimal
    annual_rate: Decimal
    term_months: int
    since: date
    missed: int = 0
    reported: int = 0
    ended: bool = False

    def due(self) -> Decimal:
        """Amount of an instalment: equal ones."""
        monthly = self.annual_rate / 12
        whole = (
            self.amount * monthly / (1 - (1 + monthly) ** -self.term_months)
            if monthly
            else self.amount / self.term_months
        )
        return whole.quantize(_CENT, ROUND_HALF_UP)


@dataclass
class Books:
    """What the bank knows.

    Args:
        name: the bank's.
        seed: of its lots.
        refusals: share of packages and instructions that it turns down.
        defaults: share of loans that stop paying.
    """

    name: str
    seed: int
    refusals: float
    defaults: float
    arrivals: Counter[str] = field(default_factory=Counter)
    disbursements: Counter[str] = field(default_factory=Counter)
    loans: dict[UUID, Loan] = field(default_factory=dict)
    packages: dict[UUID, ApplicationPackage] = field(default_factory=dict)
    withdrawn: set[UUID] = field(default_factory=set)
    _said: int = 0

    def __post_init__(self) -> None:
        """Seed the lots."""
        self.lots = random.Random(self.seed)  # noqa: S311 - lots of a simulation

    def take(self, message: ToBank) -> tuple[bool, list[FromBank]]:
        """Whether ``message`` was known already, and what the bank says to it, which is nothing then."""
        number = str(message.message_id)
        self.arrivals[number] += 1
        if self.arrivals[number] > 1:
            return True, []
        match message:
            case ApplicationPackage():
                self.packages[message.application_id] = message
                return False, [Accepted(**self._head(message.application_id)), self._judged(message)]
            case Acceptance():
                return False, [self._paid(message.application_id, message)]
            case DisbursementInstruction():
                return False, [Accepted(**self._head(message.application_id)), self._instructed(message)]
            case Withdrawal():
                self.withdrawn.add(message.application_id)
                return False, []

    def month(self) -> list[FromBank]:
        """Let a month pass: what is to be said of each loan."""
        return [self._instalment(loan) for loan in self.loans.values() if not loan.ended]

    def shown(self) -> dict[str, Any]:
        """The books, for whoever checks them."""
        return {
            "arrivals": dict(self.arrivals),
            "disbursements": dict(self.disbursements),
            "loans": {str(number): loan.id for number, loan in self.loans.items()},
            "packages": [str(number) for number in self.packages],
            "withdrawn": [str(number) for number in self.withdrawn],
        }

    def _judged(self, package: ApplicationPackage) -> FromBank:
        head = self._head(package.application_id)
        if self.lots.random() < self.refusals:
            return Declined(
                **head, reason_code="outside_appetite", reason="不符合本行当前投放方向 / not lent to at present"
            )
        suggested = package.assessment.limit or package.application.amount
        return Offered(
            **head,
            limit=min(suggested, package.application.amount, _OFFERED_AT_MOST),
            annual_rate=package.assessment.annual_rate or _RATE,
            term_months=package.application.term_months,
        )

    def _instructed(self, told: DisbursementInstruction) -> FromBank:
        if self.lots.random() < self.refusals:
            text = "账户状态异常 / the account cannot be paid into"
            return DisbursementRefused(**self._head(told.application_id), reason_code="account_closed", reason=text)
        return self._paid(told.application_id, told)

    def _paid(self, application: UUID, told: DisbursementInstruction | Acceptance) -> Disbursed:
        self.disbursements[str(application)] += 1
        loan = Loan(
            id=f"{self.name.upper()}-{application.hex[-12:]}",
            application=application,
            amount=told.amount,
            annual_rate=told.annual_rate,
            term_months=told.term_months,
            since=datetime.now(UTC).date(),
            missed=self.lots.randint(1, told.term_months) if self.lots.random() < self.defaults else 0,
        )
        self.loans[application] = loan
        return Disbursed(
            **self._head(application),
            loan_id=loan.id,
            amount=loan.amount,
            annual_rate=loan.annual_rate,
            term_months=loan.term_months,
            disbursed_on=loan.since,
        )

    def _instalment(self, loan: Loan) -> FromBank:
        head = self._head(loan.application)
        if loan.reported >= loan.term_months:
            loan.ended = True
            last = loan.since + timedelta(days=_DAYS_A_MONTH * (loan.reported + 1))
            lost = bool(loan.missed)
            return Closed(**head, loan_id=loan.id, outcome="written_off" if lost else "settled", closed_on=last)
        loan.reported += 1
        due_on = loan.since + timedelta(days=_DAYS_A_MONTH * loan.reported)
        paid = not loan.missed or loan.reported < loan.missed
        late = 0 if paid else _DAYS_A_MONTH * (loan.reported - loan.missed + 1)
        amount = loan.due()
        return Repayment(
            **head,
            loan_id=loan.id,
            instalment_no=loan.reported,
            due_on=due_on,
            due_amount=amount,
            paid_on=due_on if paid else None,
            paid_amount=amount if paid else Decimal("0.00"),
            days_past_due=late,
            five_level_class=next(name for days, name in _CLASSES if late >= days),
            as_of=due_on + timedelta(days=late),
        )

    def _head(self, application: UUID) -> dict[str, Any]:
        self._said += 1
        return {
            "version": VERSION,
            "message_id": f"{self.name}-{self._said:06d}-{self.lots.getrandbits(32):08x}",
            "created_at": datetime.now(UTC),
            "application_id": application,
        }
