"""From the ensemble's log-odds to a probability of default that means what it says."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from credit301.model.bundle import Calibration, Isotonic, Platt
from credit301.model.scorer import calibrate

ISOTONIC_POSITIVES = 1_000
MINIMUM_SLOPE = 1e-3
LARGEST_LOG_ODDS = 8.0


def fit(z: np.ndarray, labels: np.ndarray, folds: np.ndarray, weights: np.ndarray | None = None) -> Calibration:
    """Platt's sigmoid, or isotonic regression where there are over 1,000 defaults and it is better out of fold.

    Args:
        z: log-odds from models that have not seen the row, shape (rows,).
        labels: shape (rows,), 0 or 1.
        folds: number of each row's fold, shape (rows,), by which the two are compared (Brier score).
        weights: what each row counts, shape (rows,); one where it is not given.
    """
    counted = np.ones(len(labels)) if weights is None else weights
    if (counted * labels).sum() <= ISOTONIC_POSITIVES:
        return platt(z, labels, counted)
    brier = {}
    for name, method in (("platt", platt), ("isotonic", isotonic)):
        error = 0.0
        for fold in np.unique(folds):
            test = folds == fold
            found = method(z[~test], labels[~test], counted[~test])
            error += (counted[test] * (apply(found, z[test]) - labels[test]) ** 2).sum()
        brier[name] = error
    return isotonic(z, labels, counted) if brier["isotonic"] < brier["platt"] else platt(z, labels, counted)


def platt(z: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Platt:
    """``log-odds = a * z + b`` with a > 0. Method: Platt (1999), with his smoothed targets against overconfidence."""
    counted = np.ones(len(labels)) if weights is None else weights
    positives, negatives = float((counted * labels).sum()), float((counted * (1 - labels)).sum())
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        log_odds = theta[0] * z + theta[1]
        error = counted * (expit(log_odds) - target)
        loss = (counted * np.logaddexp(0.0, log_odds)).sum() - (counted * target * log_odds).sum()
        return float(loss), np.array([(error * z).sum(), error.sum()])

    found = minimize(objective, np.array([1.0, 0.0]), jac=True, bounds=[(MINIMUM_SLOPE, None), (None, None)]).x
    return Platt(a=float(found[0]), b=float(found[1]))


def isotonic(z: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Isotonic:
    """Isotonic regression, as log-odds at its steps; linear between them (Zadrozny and Elkan 2002)."""
    model = IsotonicRegression(out_of_bounds="clip").fit(z, labels, weights)
    share = np.clip(model.y_thresholds_, expit(-LARGEST_LOG_ODDS), expit(LARGEST_LOG_ODDS))
    points, first = np.unique(model.X_thresholds_, return_index=True)
    log_odds = np.log(share / (1 - share))[first]
    return Isotonic(z=tuple(map(float, points)), log_odds=tuple(map(float, log_odds)))


def apply(calibration: Calibration, z: np.ndarray) -> np.ndarray:
    """Probabilities of default, shape (rows,), by the scorer's own mapping."""
    return np.asarray(expit(np.array([calibrate(calibration, value) for value in z.tolist()])))
