"""Points: a probability of default as a number that people compare.

``points = base_score + points_to_double_odds / ln 2 * (log-odds of not defaulting - ln base_odds)``, the usual scaling
of credit scorecards (Siddiqi, "Credit Risk Scorecards", 2006, chapter 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable


def points(log_odds: float, *, base_score: float = 600.0, base_odds: float = 20.0, to_double: float = 40.0) -> int:
    """Points for the log-odds **of default**, rounded; more points mean less risk.

    ``base_score`` points are given at odds of ``base_odds`` to 1 of not defaulting; each doubling of those odds adds
    ``to_double`` points.
    """
    return pointed(base_score=base_score, base_odds=base_odds, to_double=to_double)(log_odds)


def pointed(*, base_score: float, base_odds: float, to_double: float) -> Callable[[float], int]:
    """:func:`points` on one scale, prepared."""
    factor, at_base = to_double / math.log(2.0), math.log(base_odds)
    return lambda log_odds: round(base_score + factor * (-log_odds - at_base))


def probability(log_odds: float) -> float:
    """Probability (0 to 1) of the given log-odds, without overflow at either end."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)
