"""Measures without the bias of selection: outcomes are known of those who were lent to, and those are the better ones.

Of the rest the accept lane lent to some by lot. Each of these stands for as many as were not drawn: weighted by the
inverse of the probability of its lot (Horvitz and Thompson 1952; normalised, Hajek 1971), the sample is that of all
who were scored. Who was approved by the score has the weight 1, and nobody who was declined by a rule is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import brier_score_loss, roc_auc_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOTH = 2


@dataclass(frozen=True)
class Corrected:
    """Measures over those whose outcome is known: as they are, and weighted to all who were scored.

    ``lots`` is how many of them came by lot, ``effective`` the rows that the weighted sample is worth (Kish 1965).
    """

    rows: int
    lots: int
    effective: float
    auc: float
    auc_weighted: float
    brier: float
    brier_weighted: float
    rate: float
    rate_weighted: float


def corrected(labels: np.ndarray, probability: np.ndarray, propensity: np.ndarray) -> Corrected | None:
    """Measures of ``probability`` against ``labels`` (0 or 1); ``None`` without both outcomes. Shapes (rows,).

    Args:
        labels: outcomes.
        probability: what the model had said.
        propensity: probability that the row's outcome would be known, in (0, 1]: 1 for who was approved by the score.
    """
    if len(np.unique(labels)) < BOTH:
        return None
    weights: NDArray[np.float64] = 1.0 / propensity
    return Corrected(
        rows=len(labels),
        lots=int((propensity < 1).sum()),
        effective=float(weights.sum() ** 2 / (weights**2).sum()),
        auc=float(roc_auc_score(labels, probability)),
        auc_weighted=float(roc_auc_score(labels, probability, sample_weight=weights)),
        brier=float(brier_score_loss(labels, probability)),
        brier_weighted=float(brier_score_loss(labels, probability, sample_weight=weights)),
        rate=float(labels.mean()),
        rate_weighted=float(np.average(labels, weights=weights)),
    )
