"""How well every level of the model does on rows that it has never seen.

Split by time or by the sides of a column: one fit on the training side, measured on the test side; that is the model
that ships.
Split by folds: every row is scored in each repeat by a model whose sub-models, stack and calibration were all fitted on
the other folds (nested), measures are means over the repeats, and the model that ships is fitted on all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

from credit301.errors import ModelError
from credit301.model.scorer import Scorer
from training import baselines, bundling, fitting, metrics, subsets
from training.dataset import Categories, TrainingSet, evenly
from training.ensemble import neutral
from training.frames import columns, matrix
from training.metrics import Metrics
from training.scorecard import SCORECARD, scorecard
from training.specs import ModelSpec, column
from training.splits import Fold, Plan
from training.submodels import CLASSES, MANY_ROWS
from training.subsets import Lessened, Reduced, Whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from distributed import Client

    from credit301.workspace import Workspace
    from training.fitting import FittedEnsemble

Scored = dict[tuple[str, str], np.ndarray]
"""Probabilities by (level, name) of a model."""

ENSEMBLE = "ensemble"
LEVELS = ("source", "dimension", "ensemble", "baseline")


@dataclass(frozen=True)
class Model:
    """One row of the table of models. ``probability`` is of the tested rows: shape (repeats, tested rows)."""

    name: str
    level: str
    metrics: Metrics
    probability: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """The table of models, the tested rows (numbers in the training set) and the model that ships.

    ``reduced`` to fewer sources the ensemble is measured as the ``models`` are, and so is the ``whole`` beside it.
    """

    models: tuple[Model, ...]
    whole: Whole
    reduced: tuple[Reduced, ...]
    rows: np.ndarray
    labels: np.ndarray
    fitted: FittedEnsemble
    categories: Categories
    plan: Plan

    def model(self, name: str, level: str) -> Model:
        """The model called ``name`` of ``level``."""
        return next(model for model in self.models if (model.name, model.level) == (name, level))

    @property
    def ensemble(self) -> Model:
        """The final model's row."""
        return self.model(ENSEMBLE, "ensemble")


def evaluate(
    workspace: Workspace,
    data: TrainingSet,
    plan: Plan,
    specs: tuple[ModelSpec, ...],
    *,
    threads: int,
    tuned: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    cluster: Client | None = None,
) -> Evaluation:
    """Fit and measure sub-models, dimensions, ensemble and baselines on ``data`` as ``plan`` says.

    Trees are grown here, or on a ``cluster``.
    """
    # On small matrices the threads of BLAS and OpenMP spend their time waiting for one another (30 times slower here).
    with threadpool_limits(threads if len(data) >= MANY_ROWS else 1):
        return _evaluate(workspace, data, plan, specs, threads, tuned, cluster)


def _evaluate(
    workspace: Workspace,
    data: TrainingSet,
    plan: Plan,
    specs: tuple[ModelSpec, ...],
    threads: int,
    tuned: Mapping[str, Mapping[str, Any]],
    cluster: Client | None,
) -> Evaluation:
    fit = partial(fitting.fit, plan=plan, specs=specs, threads=threads, tuned=tuned, cluster=cluster)
    repeats: list[Scored] = []
    lessened: list[Lessened] = []
    shipped = None
    for folds in plan.repeats:
        scored: Scored = {}
        fewer: list[Lessened] = []
        for fold in folds:
            shipped = fit(data, fold.train)
            parts = _score(workspace, data, fold, shipped)
            whole, trees = baselines.one_lightgbm(data, fold, plan, specs, threads=threads, cluster=cluster)
            parts["baseline", baselines.ONE_LIGHTGBM] = whole
            seen = Fold(data.observed(fold.train), fold.test)
            parts["baseline", baselines.LOGISTIC] = baselines.logistic(data, seen, specs, plan.seed)
            parts["baseline", SCORECARD] = scorecard(data, seen, specs)
            fewer.append(_lessened(workspace, data, fold, shipped, plan, trees=trees, threads=threads))
            for key, values in parts.items():
                scored.setdefault(key, np.full(len(data), np.nan))[fold.test] = values
        repeats.append(scored)
        lessened.append(subsets.together(fewer))
    learnt = np.arange(len(data)) if plan.nested else plan.repeats[0][0].train
    if plan.nested or shipped is None:
        shipped = fit(data, learnt)
    # A row on which the shipped sources know nothing is not scored, in production neither.
    rows = np.flatnonzero(~np.isnan(np.vstack([scored["ensemble", ENSEMBLE] for scored in repeats])).any(axis=0))
    labels = data.labels[rows]
    if len(np.unique(labels)) < CLASSES:
        raise ModelError(
            f"Of the {len(rows)} tested rows that a source with a model knows, all have the same outcome.",
            hint="Wait for more outcomes, or choose another split in workspace.yaml.",
        )
    found = {key for scored in repeats for key in scored if key[0] in LEVELS}
    keys = sorted(found, key=lambda key: (LEVELS.index(key[0]), key[1]))
    rate = float(data.labels[learnt].mean())
    models = tuple(_model(key, repeats, rows, labels, learnt_rate=rate) for key in keys)
    said = [scored["ensemble", ENSEMBLE] for scored in repeats]
    all_there, reduced = subsets.table(list(zip(said, lessened, strict=True)), data.labels, rows, rate)
    return Evaluation(models, all_there, reduced, rows, labels, shipped, _categories(workspace, data, learnt), plan)


def _lessened(
    workspace: Workspace,
    data: TrainingSet,
    fold: Fold,
    fitted: FittedEnsemble,
    plan: Plan,
    *,
    trees: int,
    threads: int,
) -> Lessened:
    """What subsets of the sources say of the test rows of ``fold``.

    Of many test rows some are looked at, evenly spaced. On many training rows there is no peer, which would have to be
    trained once for each source.
    """
    scorer = scorer_of(workspace, data, fold, fitted)
    some = Fold(fold.train, evenly(fold.test, subsets.MOST_REDUCED // len(plan.repeats[0])))
    return subsets.lessened(
        data,
        some,
        scorer,
        np.vstack([vectors for _, vectors in vectors_of(data, scorer, some.test)]),
        {source.model.spec.name: source.model.spec for source in fitted.sources},
        trees=trees if len(fold.train) * len(plan.repeats) <= subsets.MOST_RETRAINED else None,
        seed=plan.seed,
        threads=threads,
    )


def scorer_of(workspace: Workspace, data: TrainingSet, fold: Fold, fitted: FittedEnsemble) -> Scorer:
    """The scorer of ``fitted``."""
    categories = _categories(workspace, data, fold.train)
    manifest, files = bundling.assemble(workspace, fitted, categories, version="-", created_at="-")
    return Scorer(bundling.in_memory(manifest, files))


def vectors_of(data: TrainingSet, scorer: Scorer, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """``rows`` as the ``scorer`` reads them, some at a time: their numbers, and a matrix."""
    there = set(data.feature_names)
    names = [name for name in columns(scorer.plan) if name in there]
    for numbers, frame in data.batches(names, rows):
        yield numbers, matrix(scorer, frame)


def _model(
    key: tuple[str, str], repeats: list[Scored], rows: np.ndarray, labels: np.ndarray, *, learnt_rate: float
) -> Model:
    """Measures of one model; where a fold could not fit it, it says the rate of defaults."""
    level, name = key
    unknown = np.full(len(rows), np.nan)
    probability = np.vstack([scored[key][rows] if key in scored else unknown for scored in repeats])
    probability = np.where(np.isnan(probability), learnt_rate, probability)
    measured = [metrics.measure(labels, values) for values in probability]
    if len(measured) == 1:
        return Model(name, level, measured[0], probability)
    means = (float(np.mean([getattr(m, field) for m in measured])) for field in Metrics.__dataclass_fields__)
    spread = float(np.std([m.auc for m in measured], ddof=1))
    return Model(name, level, replace(Metrics(*means), auc_spread=spread), probability)


def _score(workspace: Workspace, data: TrainingSet, fold: Fold, fitted: FittedEnsemble) -> Scored:
    """Probabilities on the test rows; NaN on rows without any data.

    A source that has no data on a row says there what it says on average, and a dimension what its stack makes of
    absence, so that every model is measured on the same rows.
    """
    scorer = scorer_of(workspace, data, fold, fitted)
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for _, vectors in vectors_of(data, scorer, fold.test):
        for key, values in _score_batch(scorer, vectors, fitted).items():
            found.setdefault(key, []).append(values)
    return {key: np.concatenate(values) for key, values in found.items()}


def _score_batch(scorer: Scorer, vectors: np.ndarray, fitted: FittedEnsemble) -> Scored:
    known = scorer.known(vectors)
    result: Scored = {}

    def put(level: str, name: str, values: np.ndarray) -> None:
        result[level, name] = np.full(len(known), np.nan)
        result[level, name][known] = values

    batch = scorer.score_batch(vectors[known])
    put("ensemble", ENSEMBLE, batch.probability)
    for source in fitted.sources:
        name = source.model.spec.name
        logits = batch.sources[name]
        put("source", name, expit(np.where(np.isnan(logits), neutral(source.out_of_fold[:, None])[0], logits)))
    for name, combined in fitted.dimensions.items():
        logits = np.column_stack([batch.sources[member] for member in combined.members])
        put("dimension", name, combined.probability(logits))
    return result


def _categories(workspace: Workspace, data: TrainingSet, rows: np.ndarray) -> Categories:
    """Known values of every categorical feature of the plan, from the rows that are learnt from."""
    names = [column(c.name, f.name) for c in workspace.featured() for f in c.features if f.kind == "category"]
    return data.categories(names, rows)
