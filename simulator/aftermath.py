"""What a default does to an enterprise afterwards, and which enterprises close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.config import WARM_UP
from simulator.loans import NEVER

if TYPE_CHECKING:
    from simulator.config import CityConfig, Floats, Ints
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises
    from simulator.loans import Loans

_SHRUNK = 0.7
_CLOSING_RATE = 0.0015
_REVOKED_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Per enterprise (n): path months of `distress`, of the `lawsuit` and `enforcement` after it, and of `closing`.

    NEVER where it does not come to that. `activity` (n, steps) scales trade and staff.
    """

    distress: Ints
    lawsuit: Ints
    enforcement: Ints
    closing: Ints
    activity: Floats


def follow(config: CityConfig, block: int, firms: Enterprises, lives: Lives, loans: Loans) -> Aftermath:
    """Draw the consequences of the defaults of one block."""
    rng = config.rng("aftermath", block)
    count, steps = len(firms), config.steps
    distress = np.full(count, NEVER)
    np.minimum.at(distress, loans.firm, loans.distress_step)
    fallen = distress < NEVER
    lawsuit = np.where(fallen & (rng.random(count) < 0.6), distress + rng.integers(1, 6, count), NEVER)  # noqa: PLR2004
    enforcement = np.where((lawsuit < NEVER) & (rng.random(count) < 0.6), lawsuit + rng.integers(2, 7, count), NEVER)  # noqa: PLR2004
    revoked = np.where(fallen & (rng.random(count) < _REVOKED_SHARE), distress + rng.integers(6, 14, count), NEVER)

    # Sound enterprises close, too, but not while they owe: closing comes after their last loan's term.
    chance = rng.random((count, steps)) < _CLOSING_RATE * np.exp(-0.4 * lives.health)
    free_from = np.full(count, WARM_UP)
    np.maximum.at(free_from, loans.firm, loans.step + loans.term + 1)
    chance &= (np.arange(steps) >= free_from[:, None]) & ~fallen[:, None]
    closed = np.where(chance.any(axis=1), chance.argmax(axis=1), NEVER)
    activity = np.where(np.arange(steps) >= distress[:, None], _SHRUNK, 1.0)
    return Aftermath(distress, lawsuit, enforcement, np.minimum(revoked, closed), activity)
