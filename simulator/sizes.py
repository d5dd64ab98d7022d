"""Size classes of enterprises by the ministry's rule (MIIT 2011 No. 300, 中小企业划型标准规定)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from simulator.config import Floats, Ints, Text

SIZES = np.array(["micro", "small", "medium", "large"])


class Indicator(NamedTuple):
    """One measured quantity and its lower bounds for small, medium and large."""

    quantity: str
    small: float
    medium: float
    large: float


def _heads(small: float, medium: float, large: float) -> Indicator:
    return Indicator("headcount", small, medium, large)


def _revenue(small: float, medium: float, large: float) -> Indicator:
    return Indicator("revenue", small, medium, large)


def _assets(small: float, medium: float, large: float) -> Indicator:
    return Indicator("assets", small, medium, large)


# Headcount in persons, revenue and assets in 10,000 yuan. A class needs every lower bound of its line.
RULES: dict[str, tuple[Indicator, ...]] = {
    "agriculture": (_revenue(50, 500, 20_000),),
    "industry": (_heads(20, 300, 1000), _revenue(300, 2000, 40_000)),
    "construction": (_revenue(300, 6000, 80_000), _assets(300, 5000, 80_000)),
    "wholesale": (_heads(5, 20, 200), _revenue(1000, 5000, 40_000)),
    "retail": (_heads(10, 50, 300), _revenue(100, 500, 20_000)),
    "transport": (_heads(20, 300, 1000), _revenue(200, 3000, 30_000)),
    "storage": (_heads(20, 100, 200), _revenue(100, 1000, 30_000)),
    "post": (_heads(20, 300, 1000), _revenue(100, 2000, 30_000)),
    "accommodation": (_heads(10, 100, 300), _revenue(100, 2000, 10_000)),
    "catering": (_heads(10, 100, 300), _revenue(100, 2000, 10_000)),
    "information": (_heads(10, 100, 2000), _revenue(100, 1000, 100_000)),
    "software": (_heads(10, 100, 300), _revenue(50, 1000, 10_000)),
    "real_estate": (_revenue(100, 1000, 200_000), _assets(2000, 5000, 10_000)),
    "property": (_heads(100, 300, 1000), _revenue(500, 1000, 5000)),
    "leasing_business": (_heads(10, 100, 300), _assets(100, 8000, 120_000)),
    "other": (_heads(10, 100, 300),),
}


def size_class(rule: Text, headcount: Ints, revenue: Floats, assets: Floats) -> Text:
    """Size class of each enterprise.

    `rule` names the industry group (a key of RULES), `headcount` is in persons, `revenue` (a year's) and `assets`
    in 10,000 yuan; all of one length n. Returns n of micro, small, medium, large: the highest class whose lower
    bounds are all met. Raises KeyError for an unknown rule.
    """
    quantities = {"headcount": headcount, "revenue": revenue, "assets": assets}
    level = np.zeros(len(rule), dtype=np.int64)
    for name in np.unique(rule):
        mine = rule == name
        levels = [
            np.searchsorted(bounds[1:], quantities[bounds.quantity][mine], side="right") for bounds in RULES[str(name)]
        ]
        level[mine] = np.minimum.reduce(levels)
    return SIZES[level]
