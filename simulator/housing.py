"""Housing fund: who contributes on which wages, and what of it was paid; fewer enterprises than social insurance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.columns import moment, money, month_text, pick, repeat_with_corrections, table, whole
from simulator.config import SECONDS_PER_DAY, WARM_UP, month_start_day

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.aftermath import Aftermath
    from simulator.config import Bools, CityConfig
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises

CONTRIBUTION_RATE = 0.16
"""Employer and employee, 8 % each."""

CORRECTED = 0.01
VERY_LATE = 0.004
_COVERED = 0.85
_CONTRIBUTORS = 0.92
_OTHERWISE = 0.03
"""Share of months in which the fund is paid although social insurance is not, or the other way round."""


def housing_table(
    config: CityConfig, block: int, firms: Enterprises, lives: Lives, after: Aftermath, active: Bools
) -> pa.Table:
    """Records of source housing_fund, known in the second half of the next month.

    The base is the sum of the wages contributed on: it follows hours and part-time work before heads move.
    """
    rng = config.rng("housing fund", block)
    member = firms.has_insurance & (rng.random(len(firms)) < _COVERED)
    wage = np.exp(rng.normal(np.log(6_200), 0.2, len(firms)))
    threshold = rng.random(len(firms))
    firm, month = np.nonzero(active & member[:, None])
    step, count = month + WARM_UP, len(firm)
    labour = _CONTRIBUTORS * firms.headcount[firm] * np.exp(lives.staff[firm, step])
    labour *= np.sqrt(after.activity[firm, step])
    unpaid = lives.arrears[firm, step] ^ (rng.random(count) < _OTHERWISE)
    end = month_start_day(config.month0 + month + 1)
    rows = {
        "firm": firm,
        "period": config.month0 + month,
        "heads": np.maximum(np.floor(labour + threshold[firm]), 1),
        "base": labour * wage[firm] * np.exp(rng.normal(0.0, 0.03, count)),
        "paid_share": np.where(unpaid, rng.uniform(0.0, 0.8, count), 1.0),
        "end": end,
        "available": (end + rng.integers(15, 27, count)) * SECONDS_PER_DAY + rng.integers(6 * 3600, 22 * 3600, count),
    }
    rows = repeat_with_corrections(rng, rows, CORRECTED, VERY_LATE)
    base = rows["base"] * np.where(rows["corrected"], rng.uniform(0.95, 1.06, len(rows["firm"])), 1.0)
    due = np.rint(base * CONTRIBUTION_RATE * 100) / 100
    paid = np.rint(due * rows["paid_share"] * 100) / 100
    return table(
        "housing_fund",
        {
            "uscc": pick(firms.uscc, rows["firm"]),
            "period": month_text(rows["period"]),
            "contributor_count": whole(rows["heads"]),
            "contribution_base": money(base),
            "due_amount": money(due),
            "paid_amount": money(paid),
            "overdue_amount": money(due - paid),
            "event_time": moment(rows["end"] * SECONDS_PER_DAY - 1),
            "available_at": moment(rows["available"]),
        },
    )
