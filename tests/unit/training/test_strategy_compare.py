"""Figures of two strategies on the same applications, counted by hand, however they come."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.dataset import LABEL
from training.strategy_compare import Both

PAIRS = pd.DataFrame(
    [
        ("a", "approve", 100.0, 0.04, "approve", 80.0, 0.05, 0.0),
        ("b", "approve", 200.0, 0.06, "approve", 50.0, 0.07, 1.0),
        ("a", "approve", 300.0, 0.08, "decline", np.nan, np.nan, 1.0),
        ("b", "refer", np.nan, np.nan, "approve", 40.0, 0.09, 0.0),
        ("b", "decline", np.nan, np.nan, "approve", 10.25, 0.09, np.nan),
        ("a", "decline", np.nan, np.nan, "refer", np.nan, np.nan, np.nan),
    ],
    columns=["decided", "outcome_a", "limit_a", "annual_rate_a", "outcome_b", "limit_b", "annual_rate_b", LABEL],
).assign(month=["2026-04", "2026-05", "2026-04", "2026-05", "2026-05", "2026-05"])


@pytest.fixture(params=[1, 4, 6])
def both(request: pytest.FixtureRequest) -> Both:
    """All of them, so many at a time."""
    made = Both("a", "b")
    for first in range(0, len(PAIRS), request.param):
        made.add(PAIRS.iloc[first : first + request.param])
    return made


def test_each_strategy_is_measured_on_all_that_both_judged(both: Both) -> None:
    a, b = both.sums
    assert (a.applications, a.decided, a.approved, a.referred, a.approval_rate) == (6, 3, 3, 1, 0.5)
    assert (a.mean_limit, a.limits, a.outcomes) == (200.0, 600.0, 3)
    assert a.mean_rate == pytest.approx(0.06)
    assert a.bad_rate == pytest.approx(2 / 3)
    assert (b.decided, b.approved, b.referred, b.limits) == (3, 4, 1, 180.25)
    # Of the four that B approves, the outcome of three is known.
    assert b.outcomes == 3
    assert b.bad_rate == pytest.approx(1 / 3)


def test_months_are_told_apart(both: Both) -> None:
    shares = {month: (a.approval_rate, b.approval_rate) for month, (a, b) in both.by_month.items()}
    assert shares == {"2026-04": (1.0, 0.5), "2026-05": (0.25, 0.75)}


def test_the_swap_set_is_on_the_terms_of_whoever_approves(both: Both) -> None:
    assert {name: (part.applications, part.limits, part.outcomes) for name, part in both.swaps.items()} == {
        "both": (2, 300.0, 2),
        "only_a": (1, 300.0, 1),
        "only_b": (2, 50.25, 1),
        "neither": (1, 0.0, 0),
    }
    assert [part.bad_rate for part in both.swaps.values()] == [0.5, 1.0, 0.0, None]
    assert both.same_outcome == pytest.approx(2 / 6)
