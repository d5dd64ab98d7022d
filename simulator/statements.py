"""Quarterly balance sheets and income statements, a quarter late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.codes import industries
from simulator.columns import moment, money, pick, quarter_text, table
from simulator.config import SECONDS_PER_DAY, WARM_UP, at_work, month_start_day, sigmoid

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.config import Bools, CityConfig, Floats
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises

_SKIPPED = 0.03


def statement_table(
    config: CityConfig, block: int, firms: Enterprises, lives: Lives, sales: Floats, active: Bools
) -> pa.Table:
    """Records of source financial_statements; every identity of a balance sheet holds to the fen or rounds to it."""
    rng = config.rng("statements", block)
    last = np.flatnonzero((config.month0 + np.arange(config.months)) % 3 == 2)  # noqa: PLR2004
    last = last[last >= 2]  # noqa: PLR2004
    kept = active[:, last] & active[:, last - 2] & firms.has_statements[:, None]
    kept &= rng.random(kept.shape) >= _SKIPPED
    firm, quarter = np.nonzero(kept)
    month = last[quarter]
    step = month + WARM_UP

    def noise(spread: float) -> Floats:
        return rng.normal(0.0, spread, len(firm))

    revenue = sales[firm, month] + sales[firm, month - 1] + sales[firm, month - 2]
    assets = firms.assets[firm] * np.exp(0.35 * lives.trade[firm, step] + noise(0.03))
    strain, leverage, margin = lives.strain[firm, step], lives.leverage[firm, step], lives.margin[firm, step]
    current = assets * sigmoid(0.5 + noise(0.1))
    cash = current * sigmoid(-1.7 - 0.45 * strain + noise(0.15))
    receivables = current * sigmoid(-0.9 + 0.2 * strain + noise(0.1)) * 0.8
    inventory = np.maximum(current - cash - receivables, 0) * sigmoid(0.8 + noise(0.2))
    liabilities = assets * sigmoid(0.1 + 0.75 * leverage + noise(0.06))
    profit_rate = industries().margin[firms.industry[firm]] + 0.045 * margin + noise(0.008)
    profit = revenue * profit_rate
    cost = revenue * np.clip(0.86 - 0.9 * profit_rate + noise(0.02), 0.2, 1.2)
    end = month_start_day(config.month0 + month + 1)
    return table(
        "financial_statements",
        {
            "uscc": pick(firms.uscc, firm),
            "period": quarter_text((config.month0 + month) // 3),
            "total_assets": money(assets),
            "current_assets": money(current),
            "cash": money(cash),
            "receivables": money(receivables),
            "inventory": money(inventory),
            "total_liabilities": money(liabilities),
            "current_liabilities": money(liabilities * sigmoid(1.2 + noise(0.2))),
            "revenue": money(revenue),
            "operating_cost": money(cost),
            "net_profit": money(profit),
            "operating_cash_flow": money(profit - revenue * (0.02 * strain - noise(0.02))),
            "event_time": moment(end * SECONDS_PER_DAY - 1),
            "available_at": moment(at_work(rng, end + rng.integers(35, 95, len(firm)))),
        },
    )
