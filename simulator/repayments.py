"""Instalments of loans, and the states that each of them goes through until it is paid or given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.columns import day as day_column
from simulator.columns import moment, money, pick, table, whole
from simulator.config import SECONDS_PER_DAY, TAIL_DAYS, day_month, month_start_day, sigmoid
from simulator.loans import BULLET, NEVER

if TYPE_CHECKING:
    from simulator.config import Bools, CityConfig, Floats, Ints
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises
    from simulator.loans import Loans

CLASSES = pa.array(["normal", "special_mention", "substandard", "doubtful", "loss"])
# Days past due from which each class begins (the 2023 rules on classifying financial assets; a week counts as
# an operational delay).
_CLASS_FROM = np.array([8, 90, 271, 361])
_MONTH_ENDS = (0, 1, 2, 3, 6)
_LONGEST_DELAY = 58
_RECOVERED = 0.3
_FAR = 10**7


@dataclass(frozen=True, slots=True)
class _Instalments:
    loan: Ints
    number: Ints
    due: Ints
    amount: Floats
    paid: Ints
    first_missed_due: Ints


def repayment_table(config: CityConfig, block: int, firms: Enterprises, lives: Lives, loans: Loans) -> pa.Table:
    """Records of source bank_repayment: one per instalment and state, later states with a later available_at."""
    rng = config.rng("repayments", block)
    plan = _plan(rng, firms, lives, loans)
    which, status_day, paid = _states(plan)
    seen = status_day < config.end_day + TAIL_DAYS
    which, status_day, paid = which[seen], status_day[seen], paid[seen]

    due, loan = plan.due[which], plan.loan[which]
    past_due = np.maximum(np.where(paid, plan.paid[which], status_day) - due, 0)
    worst = np.maximum(past_due, np.where(plan.paid[which] < _FAR, 0, status_day - plan.first_missed_due[which]))
    amount = plan.amount[which]
    closing = status_day * SECONDS_PER_DAY + 20 * 3600
    return table(
        "bank_repayment",
        {
            "loan_id": pick(loans.ids(firms), loan),
            "instalment_no": whole(plan.number[which]),
            "uscc": pick(firms.uscc, loans.firm[loan]),
            "due_on": day_column(due),
            "due_amount": money(amount),
            "paid_on": day_column(np.where(paid, plan.paid[which], 0), missing=~paid),
            "paid_amount": money(np.where(paid, amount, 0.0)),
            "days_past_due": whole(past_due),
            "five_level_class": pick(CLASSES, np.searchsorted(_CLASS_FROM, worst, side="right")),
            "event_time": moment(closing),
            "available_at": moment(closing + rng.integers(6 * 3600, 12 * 3600, len(which))),
        },
    )


def _plan(rng: np.random.Generator, firms: Enterprises, lives: Lives, loans: Loans) -> _Instalments:
    """Due dates, amounts and the day each instalment is paid (`_FAR` for never)."""
    loan = np.repeat(np.arange(len(loans)), loans.term)
    number = np.arange(len(loan)) - np.repeat(np.cumsum(loans.term) - loans.term, loans.term) + 1
    due = _due_day(loans.disbursed_day[loan], number)
    step = np.minimum(loans.step[loan] + number, lives.strain.shape[1] - 1)
    careless = sigmoid(-2.6 - 1.5 * firms.discipline[loans.firm[loan]] + 0.35 * lives.strain[loans.firm[loan], step])
    delay = np.where(
        rng.random(len(loan)) < careless, np.minimum(2 + rng.exponential(11.0, len(loan)), _LONGEST_DELAY), 0
    ).astype(np.int64)
    broken = number >= loans.missed[loan]
    missed_due = _due_day(loans.disbursed_day, np.where(loans.missed < NEVER, loans.missed, 1))
    recovery = missed_due + rng.integers(150, 500, len(loans))
    recovery = np.where(rng.random(len(loans)) < _RECOVERED, recovery, _FAR)[loan]
    paid = np.where(broken, np.where(recovery < _FAR, np.maximum(recovery, due), _FAR), due + delay)
    first_missed = np.where(broken, missed_due[loan], due)
    return _Instalments(loan, number, due, _amounts(loans, loan, number), paid, first_missed)


def _due_day(disbursed: Ints, number: Ints) -> Ints:
    """The same day `number` months on; the 28th for the last days of a month."""
    month = day_month(disbursed)
    days: Ints = month_start_day(month + number) + np.minimum(disbursed - month_start_day(month), 27)
    return days


def _amounts(loans: Loans, loan: Ints, number: Ints) -> Floats:
    """Yuan due: equal instalments, or interest with the principal at the end."""
    monthly, term = loans.annual_rate[loan] / 12, loans.term[loan]
    equal = loans.amount[loan] * monthly / (1 - (1 + monthly) ** -term)
    interest = loans.amount[loan] * (monthly + (number == term))
    return np.where(loans.product[loan] == BULLET, interest, equal)


def _states(plan: _Instalments) -> tuple[Ints, Ints, Bools]:
    """Instalment, day and whether paid, for every state that the bank reports."""
    first = plan.due + 1
    everyone = np.arange(len(plan.due))
    in_time = plan.paid <= first
    which, days, paid = [everyone], [first], [in_time]
    month = day_month(plan.due)
    for months in _MONTH_ENDS:
        end = month_start_day(month + months + 1) - 1
        open_then = np.flatnonzero((end > first) & (end < plan.paid) & ~in_time)
        which.append(open_then)
        days.append(end[open_then])
        paid.append(np.zeros(len(open_then), dtype=bool))
    settled = np.flatnonzero(~in_time & (plan.paid < _FAR))
    which.append(settled)
    days.append(plan.paid[settled])
    paid.append(np.ones(len(settled), dtype=bool))
    return np.concatenate(which), np.concatenate(days), np.concatenate(paid)
