"""Tax payments: what was declared falls due, and is paid early, late or not yet; and the yearly tax credit grade."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.columns import day as day_column
from simulator.columns import moment, money, pick, table, whole
from simulator.config import SECONDS_PER_DAY, TAIL_DAYS, WARM_UP, day_month, sigmoid
from simulator.dynamics import window_mean
from simulator.tax import TAX_TYPES, periods

if TYPE_CHECKING:
    from simulator.config import CityConfig, Floats, Ints
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises
    from simulator.tax import Filings

GRADES = pa.array(["A", "B", "M", "C", "D"])
_A, _B, _M, _C, _D = range(5)
_EXEMPT_MONTHLY_SALES = 100_000
"""Small-scale taxpayers with monthly sales up to this pay no VAT (ministry notice 2023 No. 1 and its extensions)."""

_LATE_FEE_A_DAY = 0.0005
"""Law on the administration of tax collection, art. 32."""

_EARLIEST = -14
_LONGEST = 300
_NOTICE_DAYS = 16
_PUBLISHED_MONTH = 3


def payment_table(config: CityConfig, block: int, firms: Enterprises, lives: Lives, filings: Filings) -> pa.Table:
    """Records of source tax_payment: the payment, and before it a version with the arrears where it is late."""
    rng = config.rng("tax payments", block)
    rows = filings.rows
    owed = np.flatnonzero((rows["payable"] >= 1) & ((rows["tax_type"] == 1) | (rows["sales"] > _EXEMPT_MONTHLY_SALES)))
    firm, due_day, filed = rows["firm"][owed], rows["due"][owed], rows["filed"][owed]
    amount = np.rint(rows["payable"][owed] * 100) / 100
    delay = _delay(rng, firms, lives, firm, day_month(rows["end"][owed] - 1) - config.month0 + WARM_UP)
    paid_day = np.maximum(due_day + delay, np.where(filed > due_day, filed, 0))
    notice = due_day + _NOTICE_DAYS
    unpaid = np.flatnonzero(paid_day > notice)

    which = np.concatenate([np.arange(len(owed)), unpaid])
    open_ = np.arange(len(which)) >= len(owed)
    state_day = np.where(open_, notice[which], paid_day[which])
    seen = state_day < config.end_day + TAIL_DAYS
    which, open_, state_day = which[seen], open_[seen], state_day[seen]
    late = state_day - due_day[which]
    paid = np.where(open_, 0.0, amount[which])
    grade = _grades(config, rng, firms, lives)
    year = (day_month(state_day) - _PUBLISHED_MONTH) // 12 - (config.month0 - _PUBLISHED_MONTH) // 12
    known = state_day * SECONDS_PER_DAY + rng.integers(20 * 3600, 44 * 3600, len(which))
    return table(
        "tax_payment",
        {
            "uscc": pick(firms.uscc, firm[which]),
            "tax_type": pick(TAX_TYPES, rows["tax_type"][owed][which]),
            "tax_period": periods(rows["period"][owed][which], rows["tax_type"][owed][which] == 0),
            "due_on": day_column(due_day[which]),
            "due_amount": money(amount[which]),
            "paid_on": day_column(np.where(open_, 0, state_day), missing=open_),
            "paid_amount": money(paid),
            "arrears_amount": money(amount[which] - paid),
            "late_fee": money(amount[which] * _LATE_FEE_A_DAY * np.maximum(late, 0)),
            "days_from_due": whole(late),
            "tax_credit_grade": pick(GRADES, grade[firm[which], year]),
            "event_time": moment(rows["end"][owed][which] * SECONDS_PER_DAY - 1),
            "available_at": moment(known),
        },
    )


def _delay(rng: np.random.Generator, firms: Enterprises, lives: Lives, firm: Ints, step: Ints) -> Ints:
    """Days from the due date to the payment, negative before it: a habit of the owner, and a matter of cash."""
    strain, discipline = lives.strain[firm, step], firms.discipline[firm]
    days = np.rint(-7.0 - 2.4 * discipline + 0.6 * strain + rng.normal(0.0, 2.5, len(firm)))
    broke = rng.random(len(firm)) < sigmoid(-5.2 + 1.1 * strain - 0.4 * discipline)
    days = np.where(broke, 20 + rng.exponential(50.0, len(firm)), days)
    return np.clip(days, _EARLIEST, _LONGEST).astype(np.int64)


def _grades(config: CityConfig, rng: np.random.Generator, firms: Enterprises, lives: Lives) -> Ints:
    """Tax credit grade by enterprise and year (n, years): the first is the one valid when the history begins.

    It judges the calendar year before it is published in April, and M is for who was not in business all of that year.
    """
    first = (config.month0 - _PUBLISHED_MONTH) // 12
    last = (int(day_month(np.array([config.end_day + TAIL_DAYS]))[0]) - _PUBLISHED_MONTH) // 12
    december = np.clip(np.arange(first, last + 1) * 12 - 1 - config.month0 + WARM_UP, 0, config.steps - 1)
    unpaid: Floats = window_mean(lives.arrears, 12)[:, december]
    habit = 0.5 * firms.discipline + 0.5 * firms.diligence
    points = habit[:, None] - 1.5 * unpaid + rng.normal(0.0, 0.3, unpaid.shape)
    grade = np.select([points > 0.9, points > -0.9, points > -2.0], [_A, _B, _C], _D)  # noqa: PLR2004
    fresh = firms.born[:, None] > december - 12
    return np.where(fresh & (grade <= _B), _M, grade)
