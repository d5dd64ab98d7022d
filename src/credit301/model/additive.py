"""The additive model: log-odds as a sum of one function of each feature, which can do without any set of sources.

``z = intercept + sum(f(x))``, where the function of a number is a weighted sum of two rising curves (the value itself
within its usual range, and its rank as a normal score) and that of a category one number for each of its values. The
functions have the mean 0 over the training rows, and a value that is not known gives 0. Both weights of a feature have
the sign that its contract allows, so the function rises or falls as the contract says. Method: penalised logistic
regression (le Cessie and van Houwelingen 1992) by iterated least squares, with signs as in non-negative garrote.

The model carries what its weights are computed from: the sums of squares and products of the last step. The weights
without some sources are the solution of the same equations without their columns, one step of the same iteration: the
model without a source is, to that step, the one that training without it would have given.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from credit301.errors import ModelError
from credit301.model.booster import FloatArray
from credit301.model.bounded import Nearby, solve

CURVES = 2
ROWS_AT_ONCE = 20_000
REMEMBERED = 256
"""Sets of missing sources whose weights are kept, some 100 KB each; the reference city knows some sixty."""

SOLUTIONS = 10_000
"""Those of which the weights of the columns are kept, some 2 KB each, for many rows at once."""


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number: both curves at ``knots``, linear between them and constant outside; ``sign`` of the weights."""

    key: str
    sign: int
    knots: tuple[float, ...]
    value: tuple[float, ...]
    rank: tuple[float, ...]


class Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A category: an indicator less its mean for each of ``codes``, the values that were frequent in training."""

    key: str
    codes: tuple[int, ...]
    means: tuple[float, ...]


class AdditiveSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the columns of the sums in the model's other file are: the constant, two a curve, then one a code."""

    curves: tuple[Curve, ...]
    categories: tuple[Levels, ...]

    @property
    def width(self) -> int:
        """Number of columns, the constant among them."""
        return 1 + CURVES * len(self.curves) + sum(len(item.codes) for item in self.categories)

    @property
    def owners(self) -> tuple[str, ...]:
        """The source (the view) of each column, empty for the constant."""
        curves = [_view(curve.key) for curve in self.curves for _ in range(CURVES)]
        return ("", *curves, *(_view(item.key) for item in self.categories for _ in item.codes))

    @property
    def signs(self) -> NDArray[np.int8]:
        """Sign that each column's weight may have, shape (width,)."""
        curves = [curve.sign for curve in self.curves for _ in range(CURVES)]
        free = [0] * (self.width - len(curves) - 1)
        return np.array([0, *curves, *free], dtype=np.int8)


@dataclass(frozen=True)
class Weights:
    """The model without some sources: the weight of each column, and its functions.

    ``base`` and ``slope`` are of every piece of every number's function, one after the other; ``tables`` say what each
    code of each category adds, and last what a code adds that is none of them.
    """

    columns: FloatArray
    base: FloatArray
    slope: FloatArray
    tables: tuple[FloatArray, ...]

    @property
    def intercept(self) -> float:
        """The log-odds where every function is 0: the average enterprise's."""
        return float(self.columns[0])


class Additive:
    """The model ready to run. Safe to use from several threads.

    Args:
        spec: its columns.
        sums: shape (width, width + 1): G with the penalties on its diagonal, and c as the last column.
        plan: keys of the vectors that it will be given, in order.

    Raises:
        ModelError: the sums are not of the columns, or the plan lacks a feature.
    """

    def __init__(self, spec: AdditiveSpec, sums: FloatArray, plan: tuple[str, ...]) -> None:
        if sums.shape != (spec.width, spec.width + 1) or not np.isfinite(sums).all():
            raise ModelError(f"The additive model has {spec.width} columns; its sums have the shape {sums.shape}.")
        place = {key: index for index, key in enumerate(plan)}
        keys = [*(curve.key for curve in spec.curves), *(item.key for item in spec.categories)]
        unknown = [key for key in keys if key not in place]
        if unknown:
            raise ModelError(f"The additive model reads what is not in the plan: {', '.join(unknown[:5])}.")
        self.spec = spec
        self._sums = sums
        self.places = np.array([place[key] for key in keys], dtype=np.intp)
        self._curves = self.places[: len(spec.curves)]
        self._categories = self.places[len(spec.curves) :]
        self._of_categories = self._categories.tolist()
        self._knots, self._base, self._slope = _pieces(spec.curves)
        self._first = np.arange(len(spec.curves)) * self._base.shape[2]
        self._least = np.array([curve.knots[0] for curve in spec.curves])
        self._most = np.array([curve.knots[-1] for curve in spec.curves])
        self._owners = np.array(spec.owners)
        self.sources = frozenset(spec.owners) - {""}
        self._ordered = sorted(self.sources)
        self._known: OrderedDict[frozenset[str], Weights] = OrderedDict()
        self._solutions: dict[bytes, FloatArray] = {}
        self._lock = threading.Lock()
        self._full = solve(sums[:, :-1], sums[:, -1], spec.signs)
        self.intercept = self.weights(frozenset()).intercept

    def weights(self, missing: frozenset[str]) -> Weights:
        """The weights without the ``missing`` sources, as training without them would give them."""
        missing &= self.sources
        with self._lock:
            found = self._known.get(missing)
            if found is not None:
                self._known.move_to_end(missing)
                return found
        made = self._solved(missing)
        with self._lock:
            self._known[missing] = made
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return made

    def functions(self, row: FloatArray, weights: Weights) -> FloatArray:
        """What each feature adds to the log-odds of ``row``, shape (len(plan),), in the order of ``places``."""
        values = row[self._curves].clip(self._least, self._most)
        piece = np.count_nonzero(self._knots <= values[:, None], axis=1) + self._first
        result = np.empty(len(self.places))
        numbers = result[: len(values)]
        np.multiply(weights.slope.take(piece), values, out=numbers)
        numbers += weights.base.take(piece)
        numbers[np.isnan(values)] = 0.0
        for index, (table, place) in enumerate(zip(weights.tables, self._of_categories, strict=True), len(values)):
            result[index] = _looked_up(table, float(row[place]))
        return result

    def batch(self, matrix: FloatArray, present: dict[str, NDArray[np.bool_]]) -> FloatArray:
        """Log-odds of ``matrix``, shape (rows, len(plan)); ``present`` says by source which rows have data of it.

        To the last digits but a few what :meth:`weights` and :meth:`functions` say of one row.
        """
        there = np.column_stack([present[name] for name in self._ordered])
        packed = np.packbits(there, axis=1)
        # Rows of one set after the other: each set's weights are looked up once, and each row's columns made once.
        order = np.lexsort(packed.T)
        first = np.ones(len(order), dtype=bool)
        first[1:] = (packed[order[1:]] != packed[order[:-1]]).any(axis=1)
        columns = self._columns(there[order[first]])
        which = np.cumsum(first) - 1
        result = np.empty(len(matrix))
        for start in range(0, len(matrix), ROWS_AT_ONCE):
            rows, own = order[start : start + ROWS_AT_ONCE], which[start : start + ROWS_AT_ONCE]
            table = self.design(matrix[rows])
            ends = np.append(np.flatnonzero(np.diff(own)) + 1, len(own))
            for begin, end in zip(np.append(0, ends[:-1]), ends, strict=True):
                result[rows[begin:end]] = np.einsum("rc,c->r", table[begin:end], columns[own[begin]])
        return result

    def design(self, matrix: FloatArray) -> FloatArray:
        """Columns of :class:`AdditiveSpec` for the rows of ``matrix``, shape (rows, width)."""
        return design(self.spec, matrix[:, self._curves], matrix[:, self._categories])

    @cached_property
    def _nearby(self) -> Nearby:
        return Nearby(self._sums[:, :-1], self._sums[:, -1], self.spec.signs, self._full)

    def _columns(self, there: NDArray[np.bool_]) -> FloatArray:
        """Weights of the columns, shape (sets, width), where the sources in order are ``there``, shape (sets, sources).

        They are kept for more sets than those of :meth:`weights`, and solved together.
        """
        keys = [key.tobytes() for key in np.packbits(there, axis=1)]
        new = [number for number, key in enumerate(keys) if key not in self._solutions]
        result = np.empty((len(keys), self.spec.width))
        if new:
            kept = np.ones((len(new), self.spec.width), dtype=bool)
            for name, known in zip(self._ordered, there[new].T, strict=True):
                kept[:, self._owners == name] = known[:, None]
            result[new] = self._nearby.solve(kept)
        asked = set(new)
        for number, key in enumerate(keys):
            if number not in asked:
                result[number] = self._solutions[key]
            elif len(self._solutions) < SOLUTIONS:
                self._solutions[key] = result[number].copy()
        return result

    def _solution(self, missing: frozenset[str]) -> FloatArray:
        kept = ~np.isin(self._owners, list(missing)) if missing else np.ones(len(self._owners), dtype=bool)
        if kept.all():
            return self._full
        weights, places = np.zeros(len(kept)), np.flatnonzero(kept)
        gram, target = self._sums[np.ix_(places, places)], self._sums[places, -1]
        weights[places] = solve(gram, target, self.spec.signs[places], self._full[places] != 0)
        return weights

    def _solved(self, missing: frozenset[str]) -> Weights:
        weights = self._solution(missing)
        tables, start = [], 1 + CURVES * len(self.spec.curves)
        numbers = weights[1:start].reshape(-1, CURVES).T[:, :, None]
        for item in self.spec.categories:
            own = weights[start : start + len(item.codes)]
            table = np.full(max(item.codes, default=-1) + 2, -float(np.dot(own, item.means)))
            table[list(item.codes)] += own
            tables.append(table)
            start += len(item.codes)
        base, slope = ((numbers * pieces).sum(axis=0).ravel() for pieces in (self._base, self._slope))
        return Weights(weights, base, slope, tuple(tables))


def design(spec: AdditiveSpec, numbers: FloatArray, categories: FloatArray) -> FloatArray:
    """Columns of ``spec``, shape (rows, width), of its curves' and categories' values, each shape (rows, features)."""
    knots, base, slope = _pieces(spec.curves)
    result = np.zeros((len(numbers), spec.width))
    result[:, 0] = 1.0
    for index in range(len(spec.curves)):
        values = numbers[:, index].clip(spec.curves[index].knots[0], spec.curves[index].knots[-1])
        known = ~np.isnan(values)
        piece = np.searchsorted(knots[index], values[known], side="right")
        for curve in range(CURVES):
            result[known, 1 + CURVES * index + curve] = (
                base[curve, index, piece] + slope[curve, index, piece] * values[known]
            )
    column = 1 + CURVES * len(spec.curves)
    for index, item in enumerate(spec.categories):
        values = categories[:, index]
        known = ~np.isnan(values)
        for code, mean in zip(item.codes, item.means, strict=True):
            result[known, column] = (values[known] == code) - mean
            column += 1
    return result


def read(columns: bytes, sums: bytes, plan: tuple[str, ...]) -> Additive:
    """The model of its two files in a bundle.

    Raises:
        ModelError: they are not what :func:`write` made.
    """
    try:
        spec = msgspec.json.decode(columns, type=AdditiveSpec)
        array = np.load(io.BytesIO(sums), allow_pickle=False)
    except (msgspec.DecodeError, ValueError, EOFError, OSError) as error:
        raise ModelError(f"The additive model cannot be read: {error}.", hint="Train again.") from error
    return Additive(spec, np.asarray(array, dtype=np.float64), plan)


def write(spec: AdditiveSpec, sums: FloatArray) -> tuple[bytes, bytes]:
    """The two files of a model: its columns as JSON, its sums as an array without pickles."""
    buffer = io.BytesIO()
    np.save(buffer, sums, allow_pickle=False)
    return msgspec.json.encode(spec, order="deterministic"), buffer.getvalue()


def _pieces(curves: tuple[Curve, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Knots (curves, most), and base and slope of every piece between them (2, curves, most + 1)."""
    most = max((len(curve.knots) for curve in curves), default=1)
    knots = np.full((len(curves), most), np.inf)
    base = np.zeros((CURVES, len(curves), most + 1))
    slope = np.zeros((CURVES, len(curves), most + 1))
    for index, curve in enumerate(curves):
        points = np.array(curve.knots)
        count = len(points)
        knots[index, :count] = points
        for kind, values in enumerate((curve.value, curve.rank)):
            heights = np.array(values)
            base[kind, index, 0] = heights[0]
            base[kind, index, count:] = heights[-1]
            steps = np.diff(heights) / np.diff(points)
            slope[kind, index, 1:count] = steps
            base[kind, index, 1:count] = heights[:-1] - steps * points[:-1]
    return knots, base, slope


def _looked_up(table: FloatArray, code: float) -> float:
    """What a category's code adds; a value that was rare or unknown in training is none of the frequent ones."""
    if code != code:  # noqa: PLR0124  (NaN, and faster than asking a library for one number)
        return 0.0
    return float(table[int(code)] if 0 <= code < len(table) - 1 else table[-1])


def _view(key: str) -> str:
    return key.partition(":")[0]
