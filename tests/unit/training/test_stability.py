"""The population stability index, which must see a move and must not cry wolf."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.stability import of_features, psi, psi_of_categories


@pytest.mark.parametrize("rows", [100, 1_000, 100_000])
def test_two_samples_of_one_population_have_not_moved_however_small_or_large_they_are(rows: int) -> None:
    random = np.random.default_rng(rows)
    excess = [psi(random.normal(size=rows), random.normal(size=rows)).excess for _ in range(50)]
    assert np.mean(excess) < 0.01
    assert max(excess) < 0.1


def test_a_shift_by_most_of_a_deviation_is_seen_on_small_samples_too() -> None:
    random = np.random.default_rng(1)
    assert psi(random.normal(size=300), random.normal(0.8, size=300)).excess > 0.25


def test_the_value_is_that_of_the_definition() -> None:
    reference, current = np.repeat([0.0, 1.0], [50_000, 50_000]), np.repeat([0.0, 1.0], [30_000, 70_000])
    expected = (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.7 - 0.5) * np.log(0.7 / 0.5)
    assert psi(reference, current).value == pytest.approx(expected, abs=1e-3)


def test_values_that_are_no_longer_known_are_a_move() -> None:
    values = np.random.default_rng(2).normal(size=2_000)
    assert psi(values, np.where(np.arange(2_000) % 2, values, np.nan)).excess > 0.25


def test_a_category_that_is_new_is_a_move_and_a_rare_one_is_not() -> None:
    old = pd.Series(["A", "B"] * 1_000)
    assert psi_of_categories(old, pd.Series(["A", "B", "C", "C"] * 500)).excess > 0.25
    assert psi_of_categories(old, pd.Series(["A", "B"] * 1_000 + ["C"])).excess < 0.05


def test_each_feature_that_both_have_is_measured() -> None:
    before = pd.DataFrame({"a__x": [1.0, 2.0] * 100, "a__k": ["u", None] * 100, "gone": [0.0] * 200})
    found = of_features(before, before.drop(columns="gone"), before.columns)
    assert set(found) == {"a__x", "a__k"}
    assert all(moved.excess == 0 for moved in found.values())
