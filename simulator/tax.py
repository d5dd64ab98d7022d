"""Tax declarations: monthly VAT and quarterly income tax, in time or late, sometimes corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.codes import industries
from simulator.columns import day as day_column
from simulator.columns import (
    moment,
    money,
    month_text,
    pick,
    quarter_text,
    repeat_with_corrections,
    table,
    whole,
)
from simulator.config import SECONDS_PER_DAY, WARM_UP, month_start_day, sigmoid

if TYPE_CHECKING:
    from simulator.aftermath import Aftermath
    from simulator.config import Bools, CityConfig, Floats, Ints
    from simulator.dynamics import Economy, Lives
    from simulator.enterprises import Enterprises

TAX_TYPES = pa.array(["VAT", "EIT"])
_DUE_AFTER = 14
_INCOME_TAX = 0.05
CORRECTED = 0.015
VERY_LATE = 0.004


def monthly_sales(config: CityConfig, firms: Enterprises, lives: Lives, times: Economy, after: Aftermath) -> Floats:
    """Yuan sold by each enterprise in each history month (n, months)."""
    history = slice(WARM_UP, None)
    trade = industries()
    calendar = (config.month0 + np.arange(config.months)) % 12
    season = trade.season[firms.industry][:, calendar]
    slump = 1 - 0.12 * trade.cyclicality[firms.industry][:, None] * times.downturn[None, history]
    age = np.arange(config.steps)[history] - firms.born[:, None]
    ramp = 1 - np.exp(-(np.maximum(age, 0) + 1.5) / 2.0)
    sales: Floats = (firms.revenue / 12)[:, None] * season * slump * ramp * np.exp(lives.trade[:, history])
    sales *= after.activity[:, history] * ~lives.idle[:, history]
    return sales


def open_months(config: CityConfig, lives: Lives, after: Aftermath) -> Bools:
    """Whether each enterprise is in business in each history month (n, months)."""
    months = np.arange(config.steps)
    return (lives.trading & (months < after.closing[:, None]))[:, WARM_UP:]


@dataclass(frozen=True, slots=True)
class Filings:
    """First versions of all declarations: `rows` maps names to arrays of one length, `tax_type` is 0 for VAT.

    `rng` is where the stream of the declarations' chance stands after them.
    """

    rows: dict[str, np.ndarray]
    rng: np.random.Generator


def declare(config: CityConfig, block: int, firms: Enterprises, lives: Lives, sales: Floats, active: Bools) -> Filings:
    """Let the enterprises of one block declare; VAT of a month is due on the 15th of the next one."""
    rng = config.rng("tax", block)
    vat = _vat(config, rng, firms, lives, sales, active)
    income = _income_tax(config, rng, firms, lives, sales, active)
    return Filings({name: np.concatenate([vat[name], income[name]]) for name in vat}, rng)


def tax_table(firms: Enterprises, filings: Filings) -> pa.Table:
    """Records of source tax_declaration."""
    rng = filings.rng
    rows = repeat_with_corrections(rng, filings.rows, CORRECTED, VERY_LATE)
    factor = np.where(rows["corrected"], rng.uniform(0.9, 1.12, len(rows["firm"])), 1.0)
    amounts = {name: rows[name] * factor for name in ("sales", "income", "output", "input", "payable")}
    is_vat = rows["tax_type"] == 0
    return table(
        "tax_declaration",
        {
            "uscc": pick(firms.uscc, rows["firm"]),
            "tax_type": pick(TAX_TYPES, rows["tax_type"]),
            "tax_period": periods(rows["period"], is_vat),
            "declared_sales": money(amounts["sales"]),
            "taxable_income": money(amounts["income"], missing=is_vat),
            "output_tax": money(amounts["output"], missing=~is_vat),
            "input_tax": money(amounts["input"], missing=~is_vat),
            "tax_payable": money(amounts["payable"]),
            "is_zero_filing": pa.array(rows["sales"] == 0),
            "due_on": day_column(rows["due"]),
            "filed_on": day_column(rows["filed"]),
            "days_late": whole(np.maximum(rows["filed"] - rows["due"], 0)),
            "event_time": moment(rows["end"] * SECONDS_PER_DAY - 1),
            "available_at": moment(rows["available"]),
        },
    )


def periods(number: Ints, is_vat: Bools) -> pa.Array:
    """Months and quarters in one column; the rows keep their order."""
    months, quarters = np.flatnonzero(is_vat), np.flatnonzero(~is_vat)
    stacked = pa.concat_arrays([month_text(number[months]), quarter_text(number[quarters])])
    place = np.empty(len(number), dtype=np.int64)
    place[months] = np.arange(len(months))
    place[quarters] = len(months) + np.arange(len(quarters))
    return pick(stacked, place)


def _vat(
    config: CityConfig, rng: np.random.Generator, firms: Enterprises, lives: Lives, sales: Floats, active: Bools
) -> dict[str, np.ndarray]:
    firm, month = np.nonzero(active & firms.has_tax[:, None])
    sold = sales[firm, month]
    output = sold * industries().vat_rate[firms.industry[firm]]
    bought = np.clip(0.82 - 0.03 * lives.margin[firm, month + WARM_UP] + rng.normal(0.0, 0.08, len(firm)), 0.1, 1.3)
    rows = {
        "firm": firm, "tax_type": np.zeros_like(firm), "period": config.month0 + month, "sales": sold,
        "income": np.zeros(len(firm)), "output": output, "input": output * bought,
        "payable": output * np.maximum(1 - bought, 0),
    }  # fmt: skip
    return rows | _filing(rng, firms, firm, lives.strain[firm, month + WARM_UP], config.month0 + month + 1)


def _income_tax(
    config: CityConfig, rng: np.random.Generator, firms: Enterprises, lives: Lives, sales: Floats, active: Bools
) -> dict[str, np.ndarray]:
    last = np.flatnonzero((config.month0 + np.arange(config.months)) % 3 == 2)  # noqa: PLR2004
    last = last[last >= 2]  # noqa: PLR2004
    firm, quarter = np.nonzero(active[:, last] & active[:, last - 2] & firms.has_tax[:, None])
    month = last[quarter]
    sold = sales[firm, month] + sales[firm, month - 1] + sales[firm, month - 2]
    honest = industries().margin[firms.industry[firm]] + 0.03 * lives.margin[firm, month + WARM_UP]
    income = sold * (honest + rng.normal(0.0, 0.015, len(firm)))
    nothing = np.zeros(len(firm))
    rows = {
        "firm": firm, "tax_type": np.ones_like(firm), "period": (config.month0 + month) // 3, "sales": sold,
        "income": income, "output": nothing, "input": nothing, "payable": np.maximum(income, 0) * _INCOME_TAX,
    }  # fmt: skip
    return rows | _filing(rng, firms, firm, lives.strain[firm, month + WARM_UP], config.month0 + month + 1)


def _filing(
    rng: np.random.Generator, firms: Enterprises, firm: Ints, strain: Floats, next_month: Ints
) -> dict[str, np.ndarray]:
    """When each period ended, was due, was filed, and could be known."""
    count = len(firm)
    end = month_start_day(next_month)
    due = end + _DUE_AFTER
    careless = rng.random(count) < sigmoid(-2.0 - 1.5 * firms.diligence[firm] + 0.1 * strain)
    early = -np.minimum(rng.exponential(3.0, count), 12).astype(np.int64)
    late = 1 + np.minimum(rng.exponential(9.0, count), 45).astype(np.int64)
    filed = due + np.where(careless, late, early)
    return {
        "end": end, "due": due, "filed": filed,
        "available": filed * SECONDS_PER_DAY + rng.integers(20 * 3600, 36 * 3600, count),
    }  # fmt: skip
