"""Social insurance: who is insured, on which wages, and whether the contributions were paid."""

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

CONTRIBUTION_RATE = 0.36
_LOWEST_BASE = 4_077
_HIGHEST_BASE = 21_000
_RAISE_MONTH = 6
CORRECTED = 0.012
VERY_LATE = 0.004


def insurance_table(
    config: CityConfig, block: int, firms: Enterprises, lives: Lives, after: Aftermath, active: Bools
) -> pa.Table:
    """Records of source social_insurance, known in the second half of the next month."""
    rng = config.rng("insurance", block)
    firm, month = np.nonzero(active & firms.has_insurance[:, None])
    step = month + WARM_UP
    count = len(firm)
    wage = np.exp(rng.normal(np.log(5_600), 0.22, len(firms)))[firm]
    wage *= 1.035 ** ((config.month0 + month - _RAISE_MONTH) // 12 - config.month0 // 12)
    # Small staffs move by whole heads: a draw about the expected headcount would hide the path it follows.
    expected = firms.headcount[firm] * np.exp(lives.staff[firm, step]) * np.sqrt(after.activity[firm, step])
    threshold = rng.random(len(firms))[firm]
    rows = {
        "firm": firm,
        "period": config.month0 + month,
        "heads": np.floor(expected + threshold),
        "base": np.clip(np.rint(wage), _LOWEST_BASE, _HIGHEST_BASE),
        "paid_share": np.where(lives.arrears[firm, step], rng.uniform(0.0, 0.75, count), 1.0),
        "end": month_start_day(config.month0 + month + 1),
        "available": np.zeros(count, dtype=np.int64),
    }
    rows["available"] = (rows["end"] + rng.integers(14, 25, count)) * SECONDS_PER_DAY + rng.integers(
        6 * 3600, 22 * 3600, count
    )
    rows = repeat_with_corrections(rng, rows, CORRECTED, VERY_LATE)
    heads = np.maximum(rows["heads"] + rows["corrected"] * rng.integers(-1, 2, len(rows["firm"])), 0)
    due = heads * np.rint(rows["base"]) * CONTRIBUTION_RATE
    return table(
        "social_insurance",
        {
            "uscc": pick(firms.uscc, rows["firm"]),
            "period": month_text(rows["period"]),
            "insured_headcount": whole(heads),
            "contribution_base": money(rows["base"]),
            "due_amount": money(due),
            "paid_amount": money(due * rows["paid_share"]),
            "event_time": moment(rows["end"] * SECONDS_PER_DAY - 1),
            "available_at": moment(rows["available"]),
        },
    )
