"""Settlement accounts: what came in, went out and was left on each day on which the account moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.columns import day as day_column
from simulator.columns import moment, money, pick, rate, table, whole
from simulator.config import SECONDS_PER_DAY, WARM_UP, month_start_day, sigmoid
from simulator.enterprises import INDIVIDUAL, random_keys

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.aftermath import Aftermath
    from simulator.config import Bools, CityConfig, Floats, Ints
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises

_CUSTOMERS = 0.95
_SECOND_DAY, _THIRD_DAY = 0.5, 0.85
_TAXED = 1.06
_IDLE_TRADE = 0.1
_WAGE = 5_800


@dataclass(frozen=True, slots=True)
class _Days:
    """Account-days in the order of enterprise and time: `cell` is the enterprise-month that each belongs to.

    `share` is the part of the month's business done on the day, `first` whether wages are paid on it.
    """

    cell: Ints
    day: Ints
    share: Floats
    first: Bools


def account_table(
    config: CityConfig, block: int, firms: Enterprises, lives: Lives, after: Aftermath, sales: Floats, active: Bools
) -> pa.Table:
    """Records of source bank_account_flow, known the next morning; only of enterprises that bank here.

    The number of payments follows trade, not the season: a season makes tickets larger. A day's balance is the one of
    the day before it plus inflow less outflow.
    """
    rng = config.rng("accounts", block)
    customer = rng.random(len(firms)) < _CUSTOMERS
    keys = random_keys(rng, len(firms))
    concentration = rng.normal(-0.6, 0.8, len(firms))
    firm, month = np.nonzero(active & customer[:, None])
    step = month + WARM_UP
    received = sales[firm, month] * _TAXED * np.exp(rng.normal(0.0, 0.06, len(firm)))
    wages = _wages(rng, firms, lives, after, firm, step)
    payments = _payments(rng, firms, lives, after, firm, step)
    usual = firms.revenue[firm] / 12
    left = usual * np.exp(-0.6 - 0.45 * lives.strain[firm, step] + rng.normal(0.0, 0.12, len(firm)))

    days = _days(rng, config, firm, month)
    cell, count = days.cell, len(days.cell)
    who = firm[cell]
    transactions = np.floor(payments[cell] * days.share + rng.random(count)) + days.first
    inflow = np.rint(received[cell] * days.share * 100) / 100
    payroll = np.rint(np.where(days.first, wages[cell], 0.0) * 100) / 100
    balance = np.rint(left[cell] * np.exp(rng.normal(0.0, 0.1, count)) * 100) / 100
    before = np.where(np.concatenate([[True], who[1:] != who[:-1]])[:count], balance, np.roll(balance, 1))
    outflow = inflow + before - balance
    # Where wages need more than that, the owner pays in from elsewhere.
    topped_up = np.maximum(payroll - outflow, 0.0)
    largest = sigmoid(concentration[who] + rng.normal(0.0, 0.4, count))
    return table(
        "bank_account_flow",
        {
            "account_key": pick(_short(keys), who),
            "business_date": day_column(days.day),
            "uscc": pick(firms.uscc, who),
            "inflow": money(inflow + topped_up),
            "outflow": money(outflow + topped_up),
            "payroll_outflow": money(payroll),
            "closing_balance": money(balance),
            "transaction_count": whole(transactions),
            "counterparty_count": whole(np.ceil(transactions**0.8)),
            "largest_counterparty_share": rate(np.where(transactions > 0, np.maximum(largest, 1e-6), 0.0)),
            "event_time": moment(days.day * SECONDS_PER_DAY + 20 * 3600),
            "available_at": moment((days.day + 1) * SECONDS_PER_DAY + rng.integers(5 * 3600, 8 * 3600, count)),
        },
    )


def _wages(
    rng: np.random.Generator, firms: Enterprises, lives: Lives, after: Aftermath, firm: Ints, step: Ints
) -> Floats:
    """Yuan of wages of the month before, paid in this one (m): an individual owner takes none."""
    level = np.exp(rng.normal(np.log(_WAGE), 0.22, len(firms)))
    paid_heads = np.maximum(firms.headcount - (firms.kind == INDIVIDUAL), 0)
    wages: Floats = (paid_heads * level)[firm] * np.exp(lives.staff[firm, step - 1] + rng.normal(0.0, 0.03, len(firm)))
    return wages * np.sqrt(after.activity[firm, step - 1])


def _payments(
    rng: np.random.Generator, firms: Enterprises, lives: Lives, after: Aftermath, firm: Ints, step: Ints
) -> Floats:
    """Expected number of payments of a month (m)."""
    usual = np.clip(22 * (firms.revenue[firm] / 1e6) ** 0.35, 10, 400)
    trading = np.where(lives.idle[firm, step], _IDLE_TRADE, after.activity[firm, step])
    expected: Floats = usual * trading * np.exp(lives.trade[firm, step] + rng.normal(0.0, 0.05, len(firm)))
    return expected


def _days(rng: np.random.Generator, config: CityConfig, firm: Ints, month: Ints) -> _Days:
    """The one to three days of each enterprise-month on which its account moves, always the same number."""
    who = int(firm.max()) + 1 if len(firm) else 0
    chance, habit = rng.random(who), rng.uniform(0.15, 0.85, who)
    each = (1 + (chance > _SECOND_DAY) + (chance > _THIRD_DAY))[firm]
    cell = np.repeat(np.arange(len(firm)), each)
    ordinal = np.arange(len(cell)) - np.repeat(np.cumsum(each) - each, each)
    place = ordinal + habit[firm[cell]] + rng.uniform(-0.15, 0.15, len(cell))
    day = month_start_day(config.month0 + month)[cell] + np.floor(place * 28 / each[cell]).astype(np.int64)
    weight = rng.uniform(0.7, 1.3, len(cell))
    share = weight / np.bincount(cell, weight, len(firm))[cell]
    return _Days(cell, day, share, ordinal == 0)


def _short(keys: pa.Array) -> pa.Array:
    """The first 16 hex digits of each key: enough to tell accounts apart."""
    import pyarrow.compute as pc

    return pc.utf8_slice_codeunits(keys, 0, 16)
