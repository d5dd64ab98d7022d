"""Least squares with signs: the one small solver behind the additive model, in training and in scoring alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from credit301.errors import ModelError
from credit301.model.booster import FloatArray

MOST_ROUNDS = 60
AT_ONCE = 20
"""Rounds in which every weight that wants to leave zero may; after them only the one that wants it most."""
TOLERANCE = 1e-9


def solve(
    gram: FloatArray, target: FloatArray, signs: NDArray[np.int8], start: NDArray[np.bool_] | None = None
) -> FloatArray:
    """Weights w, shape (k,), with the least ``w'Gw/2 - c'w`` where each has the sign that it may have.

    Method: active set. Weights of the wrong sign are put to zero, and come back where the slope says so.

    Args:
        gram: G, shape (k, k), positive definite.
        target: c, shape (k,).
        signs: 1 for a weight that may not be negative, -1 for one that may not be positive, 0 for a free one.
        start: weights that are not zero to begin with, such as those of a solution nearby.

    Raises:
        ModelError: G is not positive definite.
    """
    free = np.ones(len(target), dtype=bool) if start is None else start | (signs == 0)
    weights = np.zeros(len(target))
    for number in range(MOST_ROUNDS):
        weights = _within(gram, target, signs, free)
        wanted = signs * (target - gram @ weights)
        wanted[free] = 0.0
        if wanted.max(initial=0.0) <= TOLERANCE * max(1.0, float(np.abs(target).max(initial=0.0))):
            break
        free = free | (wanted > TOLERANCE) if number < AT_ONCE else free.copy()
        free[int(np.argmax(wanted))] = True
    return weights


def _within(gram: FloatArray, target: FloatArray, signs: NDArray[np.int8], free: NDArray[np.bool_]) -> FloatArray:
    """The solution with zeros outside ``free``, from which weights of the wrong sign are taken out (in place)."""
    weights = np.zeros(len(target))
    while free.any():
        places = np.flatnonzero(free)
        try:
            found = np.linalg.solve(gram[np.ix_(places, places)], target[places])
        except np.linalg.LinAlgError as error:
            raise ModelError("The additive model's sums of squares are singular.", hint="Train again.") from error
        wrong = signs[places] * found < 0
        if not wrong.any():
            weights[places] = found
            break
        free[places[wrong]] = False
    return weights
