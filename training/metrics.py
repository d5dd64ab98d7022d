"""Measures of a score: how well it ranks, and whether its probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve

BINS = 10


@dataclass(frozen=True)
class Metrics:
    """Of one model on one test: ``auc_spread`` is the AUC's standard error, or its deviation over repeats.

    ``ece_by_chance`` is the calibration error that a model whose probabilities are right shows on a test of this size.
    """

    auc: float
    auc_spread: float
    ks: float
    brier: float
    ece: float
    ece_by_chance: float


def measure(labels: np.ndarray, probability: np.ndarray) -> Metrics:
    """All measures of ``probability``, shape (rows,), against ``labels`` (0 or 1; both must occur)."""
    return Metrics(
        auc=float(roc_auc_score(labels, probability)),
        auc_spread=auc_error(labels, probability),
        ks=ks(labels, probability),
        brier=float(brier_score_loss(labels, probability)),
        ece=calibration_error(labels, probability),
        ece_by_chance=calibration_error_by_chance(labels, probability),
    )


def ks(labels: np.ndarray, probability: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance between the scores of the two classes, 0 to 1."""
    false_positive, true_positive, _ = roc_curve(labels, probability)
    return float(np.max(true_positive - false_positive))


def auc_error(labels: np.ndarray, probability: np.ndarray) -> float:
    """Standard error of the AUC. Method: DeLong, DeLong and Clarke-Pearson (1988), by ranks (Sun and Xu 2014)."""
    if min(labels.sum(), len(labels) - labels.sum()) <= 1:
        return float("nan")
    above, below = _placements(labels, probability)
    return float(np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)))


def auc_difference(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """By how much the AUC of ``one`` is above that of ``other`` on the same rows, and the difference's standard error.

    Method: as :func:`auc_error`, on the rows' differences: what both find hard counts for nothing.
    """
    pairs = zip(_placements(labels, one), _placements(labels, other), strict=True)
    above, below = (mine - theirs for mine, theirs in pairs)
    if min(len(above), len(below)) <= 1:
        return float(above.mean()), float("nan")
    return float(above.mean()), float(np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)))


def _placements(labels: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the others below each default, and of the defaults above each other row; ties count one half."""
    positive, negative = probability[labels == 1], probability[labels == 0]
    ranks = rankdata(np.concatenate([positive, negative]))
    above = (ranks[: len(positive)] - rankdata(positive)) / len(negative)
    below = 1.0 - (ranks[len(positive) :] - rankdata(negative)) / len(positive)
    return above, below


def reliability(
    labels: np.ndarray, probability: np.ndarray, bins: int = BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean prediction, share of defaults, and rows in each of at most ``bins`` groups of equal size, by prediction."""
    order = np.argsort(probability, kind="stable")
    groups = [group for group in np.array_split(order, min(bins, len(order))) if len(group)]
    predicted = np.array([probability[group].mean() for group in groups])
    observed = np.array([labels[group].mean() for group in groups])
    return predicted, observed, np.array([len(group) for group in groups])


def calibration_error(labels: np.ndarray, probability: np.ndarray) -> float:
    """Expected calibration error over ten groups of equal size, 0 to 1 (Naeini, Cooper and Hauskrecht 2015)."""
    predicted, observed, rows = reliability(labels, probability)
    return float(np.average(np.abs(predicted - observed), weights=rows))


def calibration_error_by_chance(labels: np.ndarray, probability: np.ndarray) -> float:
    """Calibration error to be expected of a model whose probabilities are right, on these rows in these groups.

    The share of defaults in a group of n rows then deviates from the mean prediction p by sqrt(2/pi * p(1-p)/n) on
    average (normal approximation): with few rows a right model looks wrong.
    """
    predicted, _, rows = reliability(labels, probability)
    return float(np.average(np.sqrt(2 / np.pi * predicted * (1 - predicted) / rows), weights=rows))
