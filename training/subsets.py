"""What the ensemble is worth without some of its sources, as they are lost in production: without training again."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from credit301.model.scorer import Scorer

MOST_FOR_ALL = 6
"""Sources up to which every subset of them is measured; of more, each lost and each alone."""

Subset = tuple[str, ...]
"""Names of the sources that are there, in the order of the contracts."""


def subsets(names: tuple[str, ...]) -> tuple[Subset, ...]:
    """Those that are measured, the largest first; all sources, and none of them, are not among them."""
    if len(names) <= MOST_FOR_ALL:
        return tuple(kept for size in range(len(names) - 1, 0, -1) for kept in combinations(names, size))
    lost = tuple(tuple(name for name in names if name != gone) for gone in names)
    return (*lost, *((name,) for name in names))


def probability(scorer: Scorer, vectors: np.ndarray, kept: Subset) -> np.ndarray:
    """Probabilities where only the sources ``kept`` have data, shape (rows,); NaN where they know nothing."""
    gone = [index for index, key in enumerate(scorer.plan) if key.partition(":")[0] not in kept]
    lost = vectors.copy()
    lost[:, gone] = np.nan
    return scorer.probabilities(lost)
