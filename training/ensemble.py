"""The ensemble: a logistic regression on the sub-models' log-odds that takes any subset of sources.

``z = intercept + sum(weight_i * logit_i)``, where a source without data puts the constant ``missing_logit_i`` in its
term's place. Weights are not negative, so that no sub-model's evidence is turned around, and the sum is linear, so that
a feature's contribution to a sub-model is, times the weight, its contribution to ``z``.

The missing constant starts from the log-odds of the source's mean probability (an average enterprise: absence moves
nobody) and may be learnt to be lower, never higher: no data is not bad. Method: stacking (Wolpert 1992) with
non-negative weights (Breiman 1996), ridge penalty, L-BFGS-B.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

PENALTY = 1.0
MISSING_PENALTY = 0.5
"""For each default. It does not fade as data grows: how often a source is absent, and for whom, drifts with the age of
the data (a bank's loans fill up), so what absence meant to earlier applicants is believed in part only."""
MINIMUM_MISSING = 20


@dataclass(frozen=True)
class Stack:
    """``weights`` and ``missing_logits`` have one value per sub-model, in the order of the columns fitted on."""

    intercept: float
    weights: np.ndarray
    missing_logits: np.ndarray

    def z(self, logits: np.ndarray) -> np.ndarray:
        """Log-odds before calibration of ``logits``, shape (rows, sub-models) with NaN for no data; shape (rows,)."""
        missing = np.isnan(logits)
        return self.intercept + np.where(missing, self.missing_logits, np.nan_to_num(logits) * self.weights).sum(axis=1)


def neutral(logits: np.ndarray) -> np.ndarray:
    """Log-odds of each column's mean probability, shape (sub-models,); NaN counts for nothing, all NaN gives 0."""
    known = ~np.isnan(logits)
    total = np.where(known, expit(np.nan_to_num(logits)), 0.0).sum(axis=0)
    share = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), 0.5)
    return np.asarray(logit(np.clip(share, 1e-6, 1 - 1e-6)))


def fit(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Stack:
    """Fit the stack.

    Args:
        logits: out-of-fold log-odds, shape (rows, sub-models), NaN for no data.
        labels: shape (rows,), 0 or 1.
        weights: what each row counts, shape (rows,); one where it is not given.
    """
    counted = np.ones(len(labels)) if weights is None else weights
    defaults = (counted * labels).sum()
    missing = np.isnan(logits)
    present = ~missing
    center = neutral(logits)
    centered = np.where(present, np.nan_to_num(logits) - center, 0.0)
    models = logits.shape[1]
    design = np.hstack([np.ones((len(labels), 1)), centered, missing.astype(np.float64)])
    penalty = np.concatenate([[0.0], np.full(models, PENALTY), np.full(models, MISSING_PENALTY * defaults)])
    # A constant learnt from a handful of rows would be noise: there the neutral one stands.
    learnt = missing.sum(axis=0) >= MINIMUM_MISSING
    bounds = [(None, None)] + [(0.0, None)] * models + [(None, 0.0) if known else (0.0, 0.0) for known in learnt]
    sign = 2.0 * labels - 1.0

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        z = design @ theta
        loss = (counted * np.logaddexp(0.0, -sign * z)).sum() + 0.5 * (penalty * theta**2).sum()
        return float(loss), design.T @ (counted * (expit(z) - labels)) + penalty * theta

    rate = (defaults + 0.5) / (counted.sum() + 1.0)
    start = np.concatenate([[np.log(rate / (1 - rate))], np.full(models, 1.0 / models), np.zeros(models)])
    found = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    slopes = found[1 : models + 1]
    return Stack(
        intercept=float(found[0] - (slopes * center).sum()),
        weights=slopes,
        missing_logits=slopes * center + found[models + 1 :],
    )
