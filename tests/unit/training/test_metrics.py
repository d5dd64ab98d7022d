"""Measures, against cases worked out by hand and against resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from training import metrics


def test_a_perfect_ranking_has_auc_and_ks_1() -> None:
    found = metrics.measure(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))
    assert (found.auc, found.ks) == (1.0, 1.0)
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.04 + 0.01) / 4)


def test_auc_counts_pairs_and_halves_of_ties() -> None:
    # Pairs (default, other): 0.5>0.4, 0.5=0.5, 0.3<0.4, 0.3<0.5 -> 1.5 of 4.
    assert metrics.measure(np.array([1, 1, 0, 0]), np.array([0.5, 0.3, 0.4, 0.5])).auc == 0.375


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_ks_is_the_distance_that_the_two_sample_test_knows(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, probability = random.integers(0, 2, 80), random.random(80).round(2)
    if 0 < labels.sum() < 80:
        both = ks_2samp(probability[labels == 1], probability[labels == 0], alternative="less").statistic
        assert metrics.ks(labels, probability) == pytest.approx(both)


def test_the_standard_error_of_the_auc_is_that_of_resampling() -> None:
    random = np.random.default_rng(3)
    labels = (random.random(800) < 0.3).astype(int)
    probability = random.normal(size=800) + labels
    resampled = []
    for _ in range(800):
        rows = random.integers(0, 800, 800)
        resampled.append(roc_auc_score(labels[rows], probability[rows]))
    assert metrics.auc_error(labels, probability) == pytest.approx(np.std(resampled), rel=0.12)


def test_the_calibration_error_is_the_mean_gap_by_group() -> None:
    labels = np.array([0] * 9 + [1] + [0] * 5 + [1] * 5)
    probability = np.array([0.3] * 10 + [0.5] * 10)
    predicted, observed, rows = metrics.reliability(labels, probability, bins=2)
    assert predicted.tolist() == pytest.approx([0.3, 0.5])
    assert observed.tolist() == [0.1, 0.5]
    assert rows.tolist() == [10, 10]


def test_probabilities_that_are_the_rates_have_no_calibration_error() -> None:
    labels = np.tile([1, 0, 0, 0], 250)
    assert metrics.calibration_error(labels, np.full(1000, 0.25)) == pytest.approx(0.0, abs=1e-12)
