"""Parts of a comparison that need no registry: the swap set, and what was recorded of two versions at work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from training import compare

A: Any = SimpleNamespace(number="1")
B: Any = SimpleNamespace(number="2")


def recorded() -> pd.DataFrame:
    """Decisions of version 1 with version 2 as shadow, one by version 3, and outcomes of some."""
    rows = [
        # by, shadow, said, shadow said, outcome, shadow's outcome, propensity, label
        ("1", "2", 0.1, 0.3, "approve", "decline", 1.0, 0),
        ("1", "2", 0.2, 0.1, "approve", "approve", 1.0, 1),
        ("1", "2", 0.4, 0.6, "approve", "decline", 0.1, 1),
        ("1", "2", 0.5, 0.5, "decline", "decline", 0.0, np.nan),
        ("3", "2", 0.9, 0.9, "approve", "approve", 1.0, 1),
    ]
    names = ["registered", "shadow_registered", "probability", "shadow_probability"]
    return pd.DataFrame(rows, columns=[*names, "outcome", "shadow_outcome", "propensity", "label"])


def test_what_both_said_of_the_same_applicants_is_weighted_to_all_who_were_scored() -> None:
    live = compare._live([recorded()], A, B)
    assert (live["decisions"], live["outcomes"], live["same_outcome"]) == (4, 3, 0.5)
    # A ranks the good one below both bad ones; B puts it above the one that stands for itself alone.
    assert live["auc_weighted_a"] == 1.0
    assert live["auc_weighted_b"] == pytest.approx(10 / 11, abs=1e-6)
    assert live["brier_weighted_a"] == pytest.approx((0.01 + 0.64 + 10 * 0.36) / 12, abs=1e-6)


def test_who_decided_and_who_shadowed_may_be_named_either_way_round() -> None:
    one, other = compare._live([recorded()], A, B), compare._live([recorded()], B, A)
    assert one["auc_weighted_a"] == other["auc_weighted_b"]
    assert one["auc_weighted_b"] == other["auc_weighted_a"]


def test_versions_that_never_met_have_nothing_recorded() -> None:
    assert compare._live([recorded()], A, SimpleNamespace(number="9")) == {"decisions": 0}  # type: ignore[arg-type]


def test_the_swap_set_names_each_part_with_its_bad_rate() -> None:
    a = np.array([True, True, True, False, False])
    b = np.array([True, False, True, True, False])
    parts = {swap.name: swap for swap in compare._swaps(np.array([1, 1, 0, 0, 1]), a, b)}
    assert [(name, swap.rows, swap.defaults) for name, swap in parts.items()] == [
        ("both", 2, 1),
        ("only_a", 1, 1),
        ("only_b", 1, 0),
        ("neither", 1, 1),
    ]
    assert parts["both"].rate == 0.5
    nobody = compare._swaps(np.array([0]), np.array([True]), np.array([True]))
    assert nobody[1].rate is None
