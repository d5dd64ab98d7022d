"""Least squares with signs: the small solvers behind the additive model, in training and in scoring alike.

:func:`solve` takes one problem. :class:`Nearby` takes many that are one problem without some of its columns each: what
all of them share is computed once, and each costs equations as large as what differs.

Both solve in one thread: equations of some hundreds of unknowns gain nothing by more. On a busy machine threads wait
for each other ten times as long as one takes, and the last digits would depend on how many there are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from credit301.errors import ModelError
from credit301.model.booster import FloatArray

_BLAS = ThreadpoolController().select(user_api="blas")
MOST_ROUNDS = 60
AT_ONCE = 20
"""Rounds in which every weight that wants to leave zero may; after them only the one that wants it most."""
TOLERANCE = 1e-9
EXACT = 1e-13
"""Slope of a free weight, of the largest of c, up to which problems that are solved together are solved exactly."""

PROBLEMS_AT_ONCE = 1_000
VALUES_AT_ONCE = 500_000
"""Numbers in the tables that stacked equations are made of: 4 MB each, which stay in the processor's cache."""


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
    with _BLAS.limit(limits=1):
        return _solved(gram, target, signs, np.ones(len(target), dtype=bool) if start is None else start | (signs == 0))


def _solved(gram: FloatArray, target: FloatArray, signs: NDArray[np.int8], free: NDArray[np.bool_]) -> FloatArray:
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
            raise _singular() from error
        wrong = signs[places] * found < 0
        if not wrong.any():
            weights[places] = found
            break
        free[places[wrong]] = False
    return weights


class Nearby:
    """Many problems without some columns each of the one whose solution is known, solved in a stack.

    Method: principal pivoting (Tucker 1960). With a set of columns free, weights and slopes are linear in those that
    are put to zero: ``(weights of the free, slopes of the others) = known + M (slopes of the free, weights of the
    others)``. Another set is reached by putting to zero what differs, which takes M's rows and columns of that alone.
    The steps are those of :func:`solve`; so is the solution, but for the rounding of the last digits.

    Args:
        gram: as in :func:`solve`.
        target: as in :func:`solve`.
        signs: as in :func:`solve`.
        weights: what :func:`solve` made of these.

    Raises:
        ModelError: G is not positive definite.
    """

    def __init__(self, gram: FloatArray, target: FloatArray, signs: NDArray[np.int8], weights: FloatArray) -> None:
        with _BLAS.limit(limits=1):
            self._prepare(gram, target, signs, weights)

    def _prepare(self, gram: FloatArray, target: FloatArray, signs: NDArray[np.int8], weights: FloatArray) -> None:
        self._gram, self._target, self._signs = gram, target, signs
        self._base = (weights != 0) | (signs == 0)
        self._known = np.where(self._base, weights, target - gram @ weights)
        free, others = np.flatnonzero(self._base), np.flatnonzero(~self._base)
        across = gram[np.ix_(free, others)]
        try:
            inverse = np.linalg.inv(gram[np.ix_(free, free)])
        except np.linalg.LinAlgError as error:
            raise _singular() from error
        # M transposed, so that what a column moves lies side by side.
        self._moves = np.empty_like(gram)
        self._moves[np.ix_(free, free)] = -inverse
        self._moves[np.ix_(free, others)] = inverse @ across
        self._moves[np.ix_(others, free)] = -(inverse @ across).T
        self._moves[np.ix_(others, others)] = across.T @ inverse @ across - gram[np.ix_(others, others)]

    def solve(self, kept: NDArray[np.bool_]) -> FloatArray:
        """Weights with only the columns ``kept``, both of shape (problems, k); zero for the others.

        What is said of a problem does not depend on which others are asked with it.
        """
        with _BLAS.limit(limits=1):
            return self._solved(kept)

    def _solved(self, kept: NDArray[np.bool_]) -> FloatArray:
        result = np.zeros(kept.shape)
        # Where more is left out than stays, what stays is the smaller problem.
        alone = np.count_nonzero(kept, axis=1) < kept.shape[1] / 2
        rest = np.flatnonzero(~alone)
        for some in np.split(rest, range(PROBLEMS_AT_ONCE, len(rest), PROBLEMS_AT_ONCE)):
            result[some], alone[some] = self._together(kept[some])
        for number in np.flatnonzero(alone):
            places = np.flatnonzero(kept[number])
            own = self._gram[np.ix_(places, places)], self._target[places], self._signs[places]
            result[number, places] = _solved(*own, self._base[places] | (own[2] == 0))
        return result

    def _together(self, kept: NDArray[np.bool_]) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Weights as :meth:`solve`, and of which problems they are not exact, as happens where G is ill-conditioned."""
        result, rest = np.zeros(kept.shape), np.arange(len(kept))
        free = kept & self._base
        least = TOLERANCE * np.where(kept, np.abs(self._target), 1.0).max(axis=1, initial=1.0)
        for number in range(MOST_ROUNDS):
            result[rest], slopes = self._within(free)
            wanted = np.where(kept[rest] & ~free, self._signs * slopes, 0.0)
            on = wanted.max(axis=1, initial=0.0) > least
            rest, free, least, wanted = rest[on], free[on], least[on], wanted[on]
            if not len(rest):
                break
            if number < AT_ONCE:
                free |= wanted > TOLERANCE
            free[np.arange(len(rest)), wanted.argmax(axis=1)] = True
        slopes = np.where(result != 0, self._target - (result[:, None, :] @ self._gram)[:, 0], 0.0)
        return result, np.abs(slopes).max(axis=1, initial=0.0) > EXACT * np.abs(self._target).max(initial=1.0)

    def _within(self, free: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        """As :func:`_within`, and the slopes beside: zeros where it is ``free``."""
        weights, slopes = np.empty(free.shape), np.empty(free.shape)
        on = np.arange(len(free))
        while len(on):
            weights[on], slopes[on] = self._at(free[on])
            wrong = free[on] & (self._signs * weights[on] < 0)
            free[on] &= ~wrong
            on = on[wrong.any(axis=1)]
        return weights, slopes

    def _at(self, free: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        """Weights and slopes with zeros outside ``free``, and within it: equations of one size are solved together."""
        moved = free != self._base
        known, put = np.tile(self._known, (len(free), 1)), np.zeros(free.shape)
        sizes = np.count_nonzero(moved, axis=1)
        for size in np.unique(sizes[sizes > 0]):
            alike = np.flatnonzero(sizes == size)
            step = max(1, VALUES_AT_ONCE // int(size * free.shape[1]))
            for some in np.split(alike, range(step, len(alike), step)):
                places = np.nonzero(moved[some])[1].reshape(len(some), size)
                moves = self._moves[places]
                own = np.take_along_axis(moves, places[:, None, :], axis=2).transpose(0, 2, 1)
                try:
                    found = np.linalg.solve(own, -self._known[places][:, :, None])[:, :, 0]
                except np.linalg.LinAlgError as error:
                    raise _singular() from error
                put[some[:, None], places] = found
                known[some] += np.einsum("pm,pmk->pk", found, moves)
        known[moved] = 0.0
        return np.where(self._base, known, put), np.where(self._base, put, known)


def _singular() -> ModelError:
    return ModelError("The additive model's sums of squares are singular.", hint="Train again.")
