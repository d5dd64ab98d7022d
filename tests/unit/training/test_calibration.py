"""From log-odds to a probability that means what it says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import brier_score_loss

from credit301.model.bundle import Isotonic, Platt
from training import calibration
from training.metrics import calibration_error


def sample(seed: int, rows: int, *, stretch: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds that are ``stretch`` times too bold and ``shift`` too high, and labels."""
    random = np.random.default_rng(seed)
    true = random.normal(size=rows) * 1.5 - 1.5
    return true * stretch + shift, (random.random(rows) < expit(true)).astype(int)


def test_calibration_improves_the_brier_score_of_overconfident_log_odds() -> None:
    z, labels = sample(1, 3000, stretch=2.5, shift=1.0)
    new_z, new_labels = sample(2, 3000, stretch=2.5, shift=1.0)
    fitted = calibration.fit(z, labels, np.arange(len(z)) % 5)
    before, after = expit(new_z), calibration.apply(fitted, new_z)
    assert brier_score_loss(new_labels, after) < brier_score_loss(new_labels, before) - 0.01
    assert calibration_error(new_labels, after) < calibration_error(new_labels, before) / 2


def test_few_defaults_get_platts_sigmoid() -> None:
    z, labels = sample(3, 1500)
    assert labels.sum() <= calibration.ISOTONIC_POSITIVES
    assert isinstance(calibration.fit(np.sign(z) * np.abs(z) ** 3, labels, np.arange(len(z)) % 5), Platt)


def test_many_defaults_get_isotonic_regression_where_a_sigmoid_does_not_fit() -> None:
    z, labels = sample(4, 20_000)
    bent = np.where(z > -1.5, z * 8, z)
    assert isinstance(calibration.fit(bent, labels, np.arange(len(z)) % 5), Isotonic)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), method=st.sampled_from([calibration.platt, calibration.isotonic]))
def test_calibration_never_turns_two_applicants_around(seed: int, method: object) -> None:
    z, labels = sample(seed, 300)
    fitted = method(-z, labels)  # type: ignore[operator]
    probability = calibration.apply(fitted, np.sort(-z))
    assert (np.diff(probability) >= 0).all()
    assert ((probability > 0) & (probability < 1)).all()


def test_log_odds_that_are_right_already_are_left_almost_alone() -> None:
    z, labels = sample(5, 20_000)
    fitted = calibration.platt(z, labels)
    assert abs(fitted.a - 1) < 0.05
    assert abs(fitted.b) < 0.1
