"""Fitting of the additive model: curves from the training rows, weights by penalised logistic regression with signs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, ndtri

from credit301.model.additive import ROWS_AT_ONCE, Additive, AdditiveSpec, Curve, Levels, design
from credit301.model.bounded import solve

if TYPE_CHECKING:
    from training.specs import ModelSpec

PENALTY = 100.0
"""On the square of every weight of a column of deviation about one; some ten defaults' worth of evidence."""

KNOTS = 17
USUAL = 0.005
"""Share of values at either end beyond which a curve is flat: one typing error must not move a score without end."""

FARTHEST = 2.5
FREQUENT = 20
"""Rows that a value of a category needs for a weight of its own."""

MOST_STEPS = 25
CONVERGED = 1e-6


@dataclass(frozen=True)
class FittedAdditive:
    """A fitted model: its columns and the sums that its weights are solved from; ``keys`` are what it was fitted on."""

    spec: AdditiveSpec
    sums: np.ndarray
    keys: tuple[str, ...]

    @cached_property
    def model(self) -> Additive:
        """The model ready to run on vectors in the order of ``keys``."""
        return Additive(self.spec, self.sums, self.keys)


def keys(spec: ModelSpec) -> tuple[str, ...]:
    """Keys ``<view>:<feature>`` of the columns of ``spec`` in order."""
    return tuple(f"{item.view}:{item.name}" for item in spec.inputs)


def fit(
    matrix: np.ndarray,
    labels: np.ndarray,
    spec: ModelSpec,
    penalty: float = PENALTY,
    *,
    weights: np.ndarray | None = None,
) -> FittedAdditive | None:
    """Fit on all rows of ``matrix``, shape (rows, inputs) as :func:`training.frames.encode` makes it.

    ``weights``, shape (rows,), is what each row counts; one where it is not given.

    Returns:
        ``None`` where no column varies.
    """
    columns = _columns(matrix, spec)
    if columns.width == 1:
        return None
    names = keys(spec)
    counted = np.ones(len(labels)) if weights is None else weights
    sums = _sums(_design(matrix, columns, names), labels, counted, columns, penalty)
    return FittedAdditive(columns, sums, names)


def logits(fitted: FittedAdditive, matrix: np.ndarray) -> np.ndarray:
    """Log-odds of ``matrix``, shape (rows, columns fitted on), by the model of the sources that are there."""
    views = np.array([key.partition(":")[0] for key in fitted.keys])
    known = ~np.isnan(matrix)
    present = {name: known[:, views == name].any(axis=1) for name in dict.fromkeys(views.tolist())}
    return fitted.model.batch(matrix, present)


def _design(matrix: np.ndarray, columns: AdditiveSpec, names: tuple[str, ...]) -> np.ndarray:
    """The columns' values for the rows of ``matrix``, whose columns are ``names``; made some rows at a time."""
    place = {key: index for index, key in enumerate(names)}
    curves, categories = ([place[item.key] for item in of] for of in (columns.curves, columns.categories))
    table = np.empty((len(matrix), columns.width))
    for start in range(0, len(matrix), ROWS_AT_ONCE):
        rows = matrix[start : start + ROWS_AT_ONCE]
        table[start : start + ROWS_AT_ONCE] = design(columns, rows[:, curves], rows[:, categories])
    return table


def _sums(
    table: np.ndarray, labels: np.ndarray, counted: np.ndarray, columns: AdditiveSpec, penalty: float
) -> np.ndarray:
    """G and c of the last step of iterated least squares, shape (width, width + 1).

    The deviance falls at every step: a step that overshoots is halved.
    """
    signs, ridge = columns.signs, np.full(columns.width, penalty)
    ridge[0] = 1e-6
    weights = np.zeros(columns.width)
    defaults = (counted * labels).sum()
    weights[0] = np.log((defaults + 0.5) / (counted.sum() - defaults + 0.5))
    z = table @ weights
    loss = _loss(z, labels, counted, weights, ridge)
    gram, target = np.empty((columns.width, columns.width)), np.empty(columns.width)
    for _ in range(MOST_STEPS):
        probability = expit(z)
        spread = counted * np.maximum(probability * (1 - probability), 1e-6)
        gram = _squares(table, spread)
        target = table.T @ (spread * z + counted * (labels - probability))
        gram[np.diag_indices_from(gram)] += ridge
        found = solve(gram, target, signs, weights != 0)
        before, share = loss, 1.0
        while True:
            tried = weights + share * (found - weights)
            reached = table @ tried
            loss = _loss(reached, labels, counted, tried, ridge)
            if loss <= before or share < 1e-3:  # noqa: PLR2004
                break
            share /= 2
        weights, z = tried, reached
        if before - loss < CONVERGED * max(1.0, before):
            break
    return np.column_stack([gram, target])


def _squares(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``table.T @ diag(weights) @ table``, some rows at a time: no second table."""
    starts = range(0, len(table), ROWS_AT_ONCE)
    parts = ((table[i : i + ROWS_AT_ONCE], weights[i : i + ROWS_AT_ONCE, None]) for i in starts)
    return np.asarray(sum(rows.T @ (rows * spread) for rows, spread in parts))


def _loss(z: np.ndarray, labels: np.ndarray, counted: np.ndarray, weights: np.ndarray, ridge: np.ndarray) -> float:
    return float((counted * np.logaddexp(0.0, z)).sum() - (counted * labels) @ z + 0.5 * (ridge * weights**2).sum())


def _columns(matrix: np.ndarray, spec: ModelSpec) -> AdditiveSpec:
    """Curves and frequent values of every input that varies."""
    curves, categories = [], []
    for index, (key, item) in enumerate(zip(keys(spec), spec.inputs, strict=True)):
        values = matrix[:, index]
        values = values[~np.isnan(values)]
        if item.category:
            codes, counts = np.unique(values[values >= 0], return_counts=True)
            frequent = [(int(code), int(n)) for code, n in zip(codes, counts, strict=True) if n >= FREQUENT]
            if len(frequent) > 1:
                means = tuple(count / len(values) for _, count in frequent)
                categories.append(Levels(key, tuple(code for code, _ in frequent), means))
        elif (curve := _curve(key, item.monotone, values)) is not None:
            curves.append(curve)
    return AdditiveSpec(tuple(curves), tuple(categories))


def _curve(key: str, sign: int, values: np.ndarray) -> Curve | None:
    """Both curves of a number, of mean 0 and deviation 1 over ``values``; ``None`` where it does not vary."""
    if not len(values):
        return None
    ordered = np.sort(values)
    knots = np.unique(np.quantile(ordered, np.linspace(USUAL, 1 - USUAL, KNOTS)))
    if len(knots) == 1:
        # Nearly always the same: the rest of the range is what it may tell.
        knots = np.unique(ordered[[0, -1]])
        if len(knots) == 1:
            return None
    middle = (np.searchsorted(ordered, knots, "left") + np.searchsorted(ordered, knots, "right")) / 2 / len(ordered)
    rank = np.clip(ndtri(np.clip(middle, 1e-6, 1 - 1e-6)), -FARTHEST, FARTHEST)
    scaled = []
    for heights in (knots, rank):
        at = np.interp(ordered, knots, heights)
        deviation = float(at.std())
        if deviation == 0:
            return None
        scaled.append(tuple(((heights - at.mean()) / deviation).tolist()))
    return Curve(key, sign, tuple(knots.tolist()), scaled[0], scaled[1])
