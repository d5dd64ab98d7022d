"""One implementation of scoring, used by the gate, the MLflow model and the serving endpoint alike.

A vector holds the features of every view in the manifest's order (the *plan*), as float64: NaN where the value is not
known, a category as its code, and ``-1`` for a category that training never saw, which LightGBM sends the way of a
missing one. The answer is

``z = intercept + sum(weight * (raw + shift)) + weight * additive``, with ``missing_logit`` in place of a source without
data, then calibrated. The additive model is the one of the sources that are there (:mod:`credit301.model.additive`).

As ``z`` is linear in the sub-models, their TreeSHAP values add up and the additive model is a sum, contributions are
exact: ``baseline + sum(contributions of sources) = z``, where the baseline is ``z`` at every model's expected value. By
what the additive model's average changes for want of some sources, that is shared among these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from credit301.domain import scale
from credit301.errors import ModelError
from credit301.model.additive import Additive
from credit301.model.additive import read as read_additive
from credit301.model.booster import Booster, FloatArray
from credit301.model.bundle import Bundle, Calibration, Isotonic, Platt, SubModel
from credit301.model.forest import Forest, Member, fits

UNKNOWN_CATEGORY = -1.0
Scalar = float | int | str | bool | None


class NothingKnown(ModelError):
    """No source has any data, so there is nothing to score."""


class SourceScore(msgspec.Struct, frozen=True):
    """What one source's model says; without data only ``contribution`` (the price of not knowing) is a number.

    ``contribution`` is in log-odds of default against the model's baseline.
    """

    source: str
    dimension: str
    has_data: bool
    probability: float | None
    score: int | None
    contribution: float


class DimensionScore(msgspec.Struct, frozen=True):
    """A dimension's sub-score: what the whole model would say if only this dimension left the baseline."""

    dimension: str
    has_data: bool
    probability: float | None
    score: int | None
    contribution: float


class Score(msgspec.Struct, frozen=True):
    """One scored vector.

    ``log_odds`` is the ensemble's uncalibrated z; ``baseline + sum(source contributions) = log_odds``.
    ``contributions`` is keyed ``<view>:<feature>``, in log-odds; positive raises the probability of default.
    """

    probability: float
    score: int
    log_odds: float
    baseline: float
    sources: tuple[SourceScore, ...]
    dimensions: tuple[DimensionScore, ...]
    contributions: dict[str, float]
    missing_sources: tuple[str, ...]


@dataclass(frozen=True)
class BatchScore:
    """Scores of many rows, one entry a row; ``sources`` has the log-odds by sub-model, NaN where it has no data."""

    probability: FloatArray
    log_odds: FloatArray
    score: NDArray[np.int64]
    sources: dict[str, FloatArray]


@dataclass(frozen=True)
class _Part:
    """A sub-model ready to run. ``columns`` are its features' places in the plan, ``view`` all of its view's.

    ``own`` is its features' part of what is contributed by the features of all sub-models, one behind the other.
    ``member`` is its number in the forest, or ``None`` where its trees are too large for one.
    """

    spec: SubModel
    booster: Booster
    member: int | None
    columns: NDArray[np.intp]
    view: slice
    own: slice
    keys: tuple[str, ...]
    weight: float
    missing_logit: float
    expected: float


class Scorer:
    """Scores vectors with a bundle. Loading builds everything; scoring allocates little and takes no network or disk.

    Args:
        bundle: a verified bundle.

    Raises:
        ModelError: a model file does not load, or does not fit the manifest.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.plan: tuple[str, ...] = tuple(f"{v.name}:{f.name}" for v in manifest.views for f in v.features)
        place = {key: index for index, key in enumerate(self.plan)}
        self._codes: list[dict[str, float] | None] = [
            None if f.categories is None else {value: float(code) for code, value in enumerate(f.categories)}
            for v in manifest.views
            for f in v.features
        ]
        views: dict[str, slice] = {}
        start = 0
        for view in manifest.views:
            views[view.name] = slice(start, start + len(view.features))
            start += len(view.features)
        terms = {term.submodel: term for term in manifest.ensemble.terms}
        self._parts: list[_Part] = []
        members: list[Member] = []
        end = 0
        for spec in manifest.submodels:
            keys = tuple(f"{spec.view}:{name}" for name in spec.features)
            text = _text(bundle, spec.file)
            booster = Booster(text, len(keys))
            columns = [place[key] for key in keys]
            start, end = end, end + len(keys)
            member = len(members) if fits(text) else None
            if member is not None:
                members.append(Member(text, columns))
            self._parts.append(
                _Part(
                    spec=spec,
                    booster=booster,
                    member=member,
                    columns=np.array(columns, dtype=np.intp),
                    view=views[spec.view],
                    own=slice(start, end),
                    keys=keys,
                    weight=terms[spec.name].weight,
                    missing_logit=terms[spec.name].missing_logit,
                    # The last contribution is the expected value: a constant of the model, the same for every row.
                    expected=float(booster.contributions(np.full(len(keys), np.nan))[-1]) + spec.logit_shift,
                )
            )
        self._forest = Forest(members, len(self.plan))
        self._columns = np.concatenate([part.columns for part in self._parts])
        self._weights = np.concatenate([np.full(len(part.keys), part.weight) for part in self._parts])
        self._alone = [part for part in self._parts if part.member is None]
        # Where in the forest's sums each of these stands; those of a sub-model that is alone are filled in later.
        self._in_sums = np.zeros(len(self._columns), dtype=np.intp)
        for part in self._parts:
            if part.member is not None:
                shares = self._forest.shares(part.member)
                self._in_sums[part.own] = np.arange(shares.start, shares.stop)
        self._points = scale.pointed(
            base_score=manifest.scale.base_score,
            base_odds=manifest.scale.base_odds,
            to_double=manifest.scale.points_to_double_odds,
        )
        self._texts = [(place, codes) for place, codes in enumerate(self._codes) if codes is not None]
        self._intercept = manifest.ensemble.intercept
        self._additive, self._additive_weight = _additive(bundle, self.plan)
        self.baseline = self._intercept + math.fsum(part.weight * part.expected for part in self._parts)
        if self._additive is not None:
            self.baseline += self._additive_weight * self._additive.intercept

    def encode(self, values: Mapping[str, Scalar]) -> FloatArray:
        """The vector, shape (len(plan),), of values keyed ``<view>:<feature>``; a key not given is not known.

        Raises:
            ModelError: a key is not in the plan, or a number is expected and something else given.
        """
        unknown = sorted(set(values).difference(self.plan))
        if unknown:
            raise ModelError(f"Not features of the model {self.bundle.version}: {', '.join(unknown)}.")
        return self.encode_row([values.get(key) for key in self.plan])

    def encode_row(self, values: Sequence[Scalar]) -> FloatArray:
        """The vector of values in plan order, ``None`` where not known.

        Raises:
            ModelError: as :meth:`encode`, or the number of values is not the plan's.
        """
        if len(values) != len(self.plan):
            raise ModelError(
                f"The model {self.bundle.version} reads {len(self.plan)} values; {len(values)} were given."
            )
        numbers = [math.nan if value is None else value for value in values]
        for place, codes in self._texts:
            value = numbers[place]
            # NaN alone is not equal to itself.
            if value == value:  # noqa: PLR0124
                numbers[place] = codes.get(str(value), UNKNOWN_CATEGORY)
        for key, value in zip(self.plan, numbers, strict=True):
            if isinstance(value, str):
                raise ModelError(f"{key} is a number; the online store has text ({value[:20]!r}).")
        return np.array(numbers, dtype=np.float64)

    def present(self, matrix: FloatArray) -> dict[str, NDArray[np.bool_]]:
        """By sub-model: which rows of ``matrix``, shape (rows, len(plan)), have any value of its view."""
        known = ~np.isnan(matrix)
        return {part.spec.name: np.logical_or.reduce(known[:, part.view], axis=1) for part in self._parts}

    def known(self, matrix: FloatArray) -> NDArray[np.bool_]:
        """Which rows of ``matrix``, shape (rows, len(plan)), any source has data on: those that can be scored."""
        return _any_of(self.present(matrix))

    def probabilities(self, matrix: FloatArray) -> FloatArray:
        """Probability of default of each row of ``matrix``, shape (rows,); NaN where no source has any data."""
        known = self.known(matrix)
        result = np.full(len(matrix), np.nan)
        if known.any():
            result[known] = self.score_batch(matrix[known]).probability
        return result

    def score(self, vector: Mapping[str, Scalar] | FloatArray) -> Score:
        """Score one applicant.

        Args:
            vector: values by ``<view>:<feature>``, or an array in plan order as :meth:`encode` makes it.

        Raises:
            NothingKnown: every source is without data.
            ModelError: the vector does not fit the plan.
        """
        row = vector if isinstance(vector, np.ndarray) else self.encode(vector)
        if row.shape != (len(self.plan),):
            raise ModelError(
                f"The vector has shape {row.shape}; the model {self.bundle.version} reads {len(self.plan)}."
            )
        known = (~np.isnan(row)).tolist()
        present = [any(known[part.view]) for part in self._parts]
        if not any(present):
            raise _nothing_known(1)
        sums = self._forest.sums(row)
        moved, average, price = self._of_additive(row, present)
        shares = sums.take(self._in_sums)
        for part in self._alone:
            if any(known[part.view]):
                shares[part.own] = part.booster.contributions(row[part.columns])[:-1]
        weighted = (self._weights * shares + moved.take(self._columns)).tolist()
        logits: list[float | None] = []
        contributions: dict[str, float] = {}
        by_source: list[float] = []
        for part, there in zip(self._parts, present, strict=True):
            if not there:
                logits.append(None)
                by_source.append(part.missing_logit - part.weight * part.expected + price)
                continue
            member = part.member
            raw = part.booster.raw(row[part.columns]) if member is None else self._forest.raw(sums, member)
            logits.append(raw + part.spec.logit_shift)
            own = weighted[part.own]
            contributions.update(zip(part.keys, own, strict=True))
            by_source.append(math.fsum(own))
        z = self._intercept + math.fsum(
            part.missing_logit if logit is None else part.weight * logit
            for part, logit in zip(self._parts, logits, strict=True)
        )
        z += average + float(moved.sum())
        calibrated = self._calibrate(z)
        return Score(
            probability=scale.probability(calibrated),
            score=self._points(calibrated),
            log_odds=z,
            baseline=self.baseline,
            sources=tuple(
                SourceScore(
                    source=part.spec.name,
                    dimension=part.spec.dimension,
                    has_data=logit is not None,
                    probability=None if logit is None else scale.probability(logit),
                    score=None if logit is None else self._points(logit),
                    contribution=contribution,
                )
                for part, logit, contribution in zip(self._parts, logits, by_source, strict=True)
            ),
            dimensions=self._dimensions(logits, by_source),
            contributions=contributions,
            missing_sources=tuple(
                part.spec.name for part, logit in zip(self._parts, logits, strict=True) if logit is None
            ),
        )

    def score_batch(self, matrix: FloatArray, *, threads: int = 1) -> BatchScore:
        """Score many rows, shape (rows, len(plan)), to the same numbers as :meth:`score`, row by row.

        Raises:
            NothingKnown: some rows have no data at all; leave them out first (:meth:`known`).
            ModelError: the matrix does not fit the plan.
        """
        if matrix.shape != (len(matrix), len(self.plan)):
            raise ModelError(f"The matrix has shape {matrix.shape}; the plan has {len(self.plan)} columns.")
        present = self.present(matrix)
        empty = int(np.count_nonzero(~_any_of(present)))
        if empty:
            raise _nothing_known(empty)
        z = np.full(len(matrix), self._intercept)
        sources = {}
        for part in self._parts:
            rows = present[part.spec.name]
            logits = np.full(len(matrix), np.nan)
            logits[rows] = part.booster.raw_batch(matrix[rows][:, part.columns], threads) + part.spec.logit_shift
            z += np.where(rows, part.weight * logits, part.missing_logit)
            sources[part.spec.name] = logits
        if self._additive is not None:
            by_view = {part.spec.view: present[part.spec.name] for part in self._parts}
            z += self._additive_weight * self._additive.batch(matrix, by_view)
        calibrated = [self._calibrate(value) for value in z.tolist()]
        return BatchScore(
            probability=np.array([scale.probability(value) for value in calibrated], dtype=np.float64),
            log_odds=z,
            score=np.array([self._points(value) for value in calibrated], dtype=np.int64),
            sources=sources,
        )

    def _of_additive(self, row: FloatArray, present: Sequence[bool]) -> tuple[FloatArray, float, float]:
        """What the additive model adds by each feature, on average, and of that for want of each missing source."""
        moved = np.zeros(len(row))
        if self._additive is None:
            return moved, 0.0, 0.0
        missing = [part.spec.view for part, there in zip(self._parts, present, strict=True) if not there]
        weights = self._additive.weights(frozenset(missing))
        moved[self._additive.places] = self._additive_weight * self._additive.functions(row, weights)
        average = self._additive_weight * weights.intercept
        return moved, average, (average - self._additive_weight * self._additive.intercept) / max(1, len(missing))

    def _dimensions(self, logits: Sequence[float | None], by_source: Sequence[float]) -> tuple[DimensionScore, ...]:
        sums: dict[str, float] = {}
        known: dict[str, bool] = {}
        for part, logit, contribution in zip(self._parts, logits, by_source, strict=True):
            name = part.spec.dimension
            sums[name] = sums.get(name, 0.0) + contribution
            known[name] = known.get(name, False) or logit is not None
        result = []
        for name, contribution in sums.items():
            calibrated = self._calibrate(self.baseline + contribution)
            result.append(
                DimensionScore(
                    dimension=name,
                    has_data=known[name],
                    probability=scale.probability(calibrated) if known[name] else None,
                    score=self._points(calibrated) if known[name] else None,
                    contribution=contribution,
                )
            )
        return tuple(result)

    def _calibrate(self, z: float) -> float:
        return calibrate(self.bundle.manifest.calibration, z)


def calibrate(calibration: Calibration, z: float) -> float:
    """Calibrated log-odds of the ensemble's log-odds ``z``."""
    match calibration:
        case Platt(a=a, b=b):
            return a * z + b
        case Isotonic(z=points, log_odds=values):
            return float(np.interp(z, points, values))
    return z


def _additive(bundle: Bundle, plan: tuple[str, ...]) -> tuple[Additive | None, float]:
    """The additive model of the bundle and its weight in the ensemble, if there is one.

    Raises:
        ModelError: it reads a source that has no sub-model, of which nothing would be said.
    """
    term = bundle.manifest.ensemble.additive
    if term is None:
        return None, 0.0
    model = read_additive(bundle.files[term.columns], bundle.files[term.sums], plan)
    unexplained = model.sources - {spec.view for spec in bundle.manifest.submodels}
    if unexplained:
        raise ModelError(f"The additive model reads {', '.join(sorted(unexplained))}, which have no sub-model.")
    return model, term.weight


def _any_of(present: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    any_of: NDArray[np.bool_] = np.logical_or.reduce(list(present.values()))
    return any_of


def _text(bundle: Bundle, file: str) -> str:
    try:
        return bundle.files[file].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{file} in the bundle {bundle.version} is not a text model.") from error


def _nothing_known(rows: int) -> NothingKnown:
    return NothingKnown(
        "No source has any data on this enterprise." if rows == 1 else f"No source has any data on {rows} rows.",
        hint="Materialize its features first; a row without data is not scored.",
    )
