"""Months in the life of a block of enterprises: health, trade, staff, balance sheet, and the events they cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.codes import industries
from simulator.config import WARM_UP, CityConfig, sigmoid

if TYPE_CHECKING:
    from simulator.config import Bools, Floats
    from simulator.enterprises import Enterprises

CONTAGION_MONTHS = 2


@dataclass(frozen=True, slots=True)
class Economy:
    """What all enterprises share: `downturn` (steps) from 0 to 1, `shock` (industries, steps)."""

    downturn: Floats
    shock: Floats


@dataclass(frozen=True, slots=True)
class Lives:
    """Monthly paths, each (n, steps).

    `trade` is the log deviation of sales from season and size as it really happened, `idle` a month without sales,
    `staff` the log deviation of headcount, `strain` the shortage of cash (higher is worse), `arrears` a month with
    social insurance unpaid, `leverage` and `margin` what an honest balance sheet shows, `health` the common cause.
    """

    health: Floats
    trade: Floats
    idle: Bools
    staff: Floats
    strain: Floats
    arrears: Bools
    leverage: Floats
    margin: Floats
    trading: Bools


def economy(config: CityConfig) -> Economy:
    """The city's downturn, a third of the way into the history, and one slow shock per industry."""
    rng = config.rng("economy")
    month = np.arange(config.steps) - WARM_UP - config.months / 3
    downturn = np.clip(np.minimum(month / 3, (13 - month) / 5), 0.0, 1.0)
    shock = autoregression(rng, (len(industries().code), config.steps), 0.9, 0.25)
    return Economy(downturn, shock)


def autoregression(rng: np.random.Generator, shape: tuple[int, int], persistence: float, spread: float) -> Floats:
    """Stationary AR(1) paths: `shape` is (paths, steps), `spread` the standard deviation at every step."""
    path = rng.standard_normal((shape[1], shape[0]))
    path *= spread * np.sqrt(1 - persistence**2)
    path[0] /= np.sqrt(1 - persistence**2)
    for step in range(1, shape[1]):
        path[step] += persistence * path[step - 1]
    return np.ascontiguousarray(path.T)


def live(config: CityConfig, block: int, firms: Enterprises, times: Economy) -> Lives:
    """Let the enterprises of one block live through warm-up and history."""
    rng = config.rng("lives", block)
    shape = (len(firms), config.steps)
    cyclicality = industries().cyclicality[firms.industry][:, None]
    own = 0.55 * firms.quality[:, None] + autoregression(rng, shape, 0.93, 0.65)
    own += times.shock[firms.industry] - 0.45 * cyclicality * times.downturn
    # A weak customer pays late and buys less: its health reaches the supplier some months after.
    health = own.copy()
    health[:, CONTAGION_MONTHS:] += 0.25 * own[firms.customer, :-CONTAGION_MONTHS]

    trade = autoregression(rng, shape, 0.9, 0.32) + 0.16 * health + rng.normal(0.0, 0.07, shape)
    idle = _spells(rng, sigmoid(-5.6 - 0.9 * health), leave=0.4)
    staff = autoregression(rng, shape, 0.94, 0.36) + 0.12 * health
    strain = autoregression(rng, shape, 0.88, 0.85) - 0.5 * health
    arrears = strain + rng.normal(0.0, 0.35, shape) > 1.35  # noqa: PLR2004
    leverage = rng.normal(0.0, 0.75, (shape[0], 1)) + autoregression(rng, shape, 0.96, 0.55) - 0.25 * health
    margin = rng.normal(0.0, 0.45, (shape[0], 1)) + autoregression(rng, shape, 0.92, 0.6) + 0.45 * health
    trading = np.arange(config.steps) >= firms.born[:, None]
    return Lives(health, trade, idle, staff, strain, arrears, leverage, margin, trading)


def _spells(rng: np.random.Generator, enter: Floats, *, leave: float) -> Bools:
    """A two-state chain: entered with probability `enter` (n, steps), left with `leave` a month."""
    chance = rng.random(enter.shape)
    inside = np.zeros(enter.shape, dtype=bool)
    for step in range(1, enter.shape[1]):
        inside[:, step] = np.where(inside[:, step - 1], chance[:, step] > leave, chance[:, step] < enter[:, step])
    return inside


def event_months(rng: np.random.Generator, chance: np.ndarray) -> Bools:
    """Whether an event of monthly probability `chance` (n, steps) happens."""
    return rng.random(chance.shape) < chance


def faded(events: Floats, half_life: float) -> Floats:
    """Sum of `events` (n, steps) until each month, each fading by half in `half_life` months."""
    keep = 0.5 ** (1 / half_life)
    total = np.array(events, dtype=np.float64)
    for step in range(1, total.shape[1]):
        total[:, step] += keep * total[:, step - 1]
    return total


def window_mean(path: Floats | Bools, months: int) -> Floats:
    """Mean of each path (n, steps) over the last `months` months, this one included; shorter at the start."""
    total = np.cumsum(path, axis=1, dtype=np.float64)
    total[:, months:] -= total[:, :-months].copy()
    return total / np.minimum(np.arange(1, path.shape[1] + 1), months)
