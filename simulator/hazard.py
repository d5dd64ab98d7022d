"""The probability of default at a decision: the one place where the causal story becomes a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.codes import industries
from simulator.dynamics import window_mean
from simulator.enterprises import INDIVIDUAL

if TYPE_CHECKING:
    from simulator.config import Floats, Ints
    from simulator.dynamics import Economy, Lives
    from simulator.enterprises import Enterprises
    from simulator.troubles import Troubles

INTERCEPT = -5.05
WEIGHTS = {
    "momentum": -2.51,
    "idle": 6.51,
    "carelessness": 0.23,
    "staff_growth": -3.53,
    "arrears": 2.79,
    "leverage": 0.67,
    "margin": -0.51,
    "legal_burden": 1.16,
    "churn": 0.98,
    "listed": 1.02,
    "youth": 0.51,
    "indiscipline": 0.39,
    "macro": 0.19,
}
MACRO_MONTHS = 6
LAG = 2
"""Months until what happens to an enterprise reaches its cash: a decision in month t rests on the end of t - 2."""


@dataclass(frozen=True, slots=True)
class Drivers:
    """What drives default, each path (n, steps), value of a month as it stood at that month's end."""

    paths: dict[str, Floats]


def drivers(firms: Enterprises, lives: Lives, troubles: Troubles, times: Economy) -> Drivers:
    """The drivers of one block at every month."""
    steps = lives.health.shape[1]
    age = np.maximum(np.arange(steps) - firms.born[:, None], 0) / 12
    cyclicality = industries().cyclicality[firms.industry][:, None]
    ahead = np.stack([times.downturn[step : step + MACRO_MONTHS].mean() for step in range(steps)])
    ones = np.ones(steps)
    # The owner of an individual business stands behind it: staff and balance sheet decide less.
    corporate = np.where(firms.kind == INDIVIDUAL, 0.35, 1.0)[:, None]
    return Drivers(
        {
            "momentum": window_mean(lives.trade, 3) - window_mean(lives.trade, 12),
            "idle": window_mean(lives.idle, 12),
            "carelessness": -firms.diligence[:, None] * ones,
            "staff_growth": corporate * (window_mean(lives.staff, 3) - window_mean(lives.staff, 12)),
            "arrears": corporate * window_mean(lives.arrears, 12),
            "leverage": corporate * window_mean(lives.leverage, 6),
            "margin": corporate * window_mean(lives.margin, 12),
            "legal_burden": np.log1p(troubles.legal_burden),
            "churn": np.log1p(troubles.churn),
            "listed": troubles.listed.astype(np.float64),
            "youth": -np.log((age + 0.75) / 5),
            "indiscipline": -firms.discipline[:, None] * ones,
            "macro": ahead * cyclicality,
        }
    )


def log_odds(state: Drivers, firm: Ints, step: Ints) -> Floats:
    """Log-odds of default_12m for loans of enterprises `firm` decided in month `step` (both of length m)."""
    total = np.full(len(firm), INTERCEPT)
    for name, path in state.paths.items():
        total += WEIGHTS[name] * path[firm, step - LAG]
    return total
