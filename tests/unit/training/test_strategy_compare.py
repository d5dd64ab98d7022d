"""Figures of two strategies on the same applications, counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.dataset import LABEL
from training.strategy_compare import _sum, _swaps

PAIRS = pd.DataFrame(
    [
        ("a", "approve", 100.0, 0.04, "approve", 80.0, 0.05, 0.0),
        ("b", "approve", 200.0, 0.06, "approve", 50.0, 0.07, 1.0),
        ("a", "approve", 300.0, 0.08, "decline", np.nan, np.nan, 1.0),
        ("b", "refer", np.nan, np.nan, "approve", 40.0, 0.09, 0.0),
        ("b", "decline", np.nan, np.nan, "approve", 10.0, 0.09, np.nan),
        ("a", "decline", np.nan, np.nan, "refer", np.nan, np.nan, np.nan),
    ],
    columns=["decided", "outcome_a", "limit_a", "annual_rate_a", "outcome_b", "limit_b", "annual_rate_b", LABEL],
)


def test_each_strategy_is_measured_on_all_that_both_judged() -> None:
    a, b = _sum(PAIRS, "a", "a"), _sum(PAIRS, "b", "b")
    assert (a.applications, a.decided, a.approved, a.referred, a.approval_rate) == (6, 3, 3, 1, 0.5)
    assert (a.mean_limit, a.limits, a.outcomes) == (200.0, 600.0, 3)
    assert a.mean_rate == pytest.approx(0.06)
    assert a.bad_rate == pytest.approx(2 / 3)
    assert (b.decided, b.approved, b.referred, b.limits) == (3, 4, 1, 180.0)
    # Of the four that B approves, the outcome of three is known.
    assert b.outcomes == 3
    assert b.bad_rate == pytest.approx(1 / 3)


def test_the_swap_set_is_on_the_terms_of_whoever_approves() -> None:
    swaps = _swaps(PAIRS)
    assert {name: (part.applications, part.limits, part.outcomes) for name, part in swaps.items()} == {
        "both": (2, 300.0, 2),
        "only_a": (1, 300.0, 1),
        "only_b": (2, 50.0, 1),
        "neither": (1, 0.0, 0),
    }
    assert [part.bad_rate for part in swaps.values()] == [0.5, 1.0, 0.0, None]
