"""How well every level of the model does on rows that it has never seen.

Split by time or by the sides of a column: one fit on the training side, measured on the test side; that is the model
that ships.
Split by folds: every row is scored in each repeat by a model whose sub-models, stack and calibration were all fitted on
the other folds (nested), measures are means over the repeats, and the model that ships is fitted on all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from credit301.errors import ModelError
from credit301.model.scorer import Scorer
from training import baselines, bundling, fitting, metrics
from training.dataset import TrainingSet
from training.ensemble import neutral
from training.frames import matrix
from training.metrics import Metrics
from training.scorecard import SCORECARD, scorecard
from training.specs import ModelSpec, column
from training.splits import Fold, Plan
from training.submodels import CLASSES, MANY_ROWS, Categories, categories_of
from training.subsets import Subset, probability, subsets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from credit301.workspace import Workspace
    from training.fitting import FittedEnsemble

Scored = dict[tuple[str, str], np.ndarray]
"""Probabilities by (level, name) of a model."""

ENSEMBLE = "ensemble"
LEVELS = ("source", "dimension", "ensemble", "baseline")
REDUCED, PEER = "reduced", "peer"
"""Levels of :data:`Scored` for subsets of the sources, named by those that are there: the ensemble's, the peer's."""


@dataclass(frozen=True)
class Model:
    """One row of the table of models. ``probability`` is of the tested rows: shape (repeats, tested rows)."""

    name: str
    level: str
    metrics: Metrics
    probability: np.ndarray


@dataclass(frozen=True)
class Reduced:
    """The ensemble on the tested rows when only the sources ``kept`` have data.

    ``peer`` is one LightGBM trained without the one source that is lost; ``None`` where more are.
    """

    kept: Subset
    auc: float
    peer: float | None


@dataclass(frozen=True)
class Evaluation:
    """The table of models, the tested rows (numbers in the training set) and the model that ships.

    ``reduced`` is measured in the first repeat.
    """

    models: tuple[Model, ...]
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
) -> Evaluation:
    """Fit and measure sub-models, dimensions, ensemble and baselines on ``data`` as ``plan`` says."""
    # On small matrices the threads of BLAS and OpenMP spend their time waiting for one another (30 times slower here).
    with threadpool_limits(threads if len(data) >= MANY_ROWS else 1):
        return _evaluate(workspace, data, plan, specs, threads, tuned)


def _evaluate(
    workspace: Workspace,
    data: TrainingSet,
    plan: Plan,
    specs: tuple[ModelSpec, ...],
    threads: int,
    tuned: Mapping[str, Mapping[str, Any]],
) -> Evaluation:
    repeats: list[Scored] = []
    shipped = None
    for folds in plan.repeats:
        scored: Scored = {}
        for fold in folds:
            shipped = fitting.fit(data, fold.train, plan, specs, threads=threads, tuned=tuned)
            parts = _score(workspace, data, fold, shipped)
            whole, trees = baselines.one_lightgbm(data, fold, plan, specs, threads=threads)
            parts["baseline", baselines.ONE_LIGHTGBM] = whole
            parts["baseline", baselines.LOGISTIC] = baselines.logistic(data, fold, specs, plan.seed)
            parts["baseline", SCORECARD] = scorecard(data, fold, specs)
            if not repeats:
                parts |= _reduced(workspace, data, fold, shipped, trees, seed=plan.seed, threads=threads)
            for key, values in parts.items():
                scored.setdefault(key, np.full(len(data), np.nan))[fold.test] = values
        repeats.append(scored)
    learnt = np.arange(len(data)) if plan.nested else plan.repeats[0][0].train
    if plan.nested or shipped is None:
        shipped = fitting.fit(data, learnt, plan, specs, threads=threads, tuned=tuned)
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
    reduced = _table_of_reduced(repeats[0], rows, labels, rate)
    return Evaluation(models, reduced, rows, labels, shipped, _categories(workspace, data, learnt), plan)


def _table_of_reduced(scored: Scored, rows: np.ndarray, labels: np.ndarray, rate: float) -> tuple[Reduced, ...]:
    """AUC of each subset of sources in the order in which they were scored; who is unknown to all is average."""

    def auc(level: str, name: str) -> float | None:
        if (level, name) not in scored:
            return None
        values = scored[level, name][rows]
        return float(roc_auc_score(labels, np.where(np.isnan(values), rate, values)))

    found = ((name, auc(REDUCED, name)) for level, name in scored if level == REDUCED)
    return tuple(Reduced(tuple(name.split()), value, auc(PEER, name)) for name, value in found if value is not None)


def _reduced(
    workspace: Workspace,
    data: TrainingSet,
    fold: Fold,
    fitted: FittedEnsemble,
    trees: int,
    *,
    seed: int,
    threads: int,
) -> Scored:
    """Probabilities on the test rows with every subset of the sources, and of the peer without each of them."""
    specs = {source.model.spec.name: source.model.spec for source in fitted.sources}
    scorer, vectors = _scorer(workspace, data, fold, fitted)
    result: Scored = {}
    for kept in subsets(tuple(specs)):
        name = " ".join(kept)
        result[REDUCED, name] = probability(scorer, vectors, kept)
        if len(kept) == len(specs) - 1:
            others = tuple(specs[source] for source in kept)
            result[PEER, name] = baselines.retrained(data, fold, others, trees=trees, seed=seed, threads=threads)
    return result


def _scorer(workspace: Workspace, data: TrainingSet, fold: Fold, fitted: FittedEnsemble) -> tuple[Scorer, np.ndarray]:
    """The scorer of ``fitted``, and the test rows as it reads them."""
    categories = _categories(workspace, data, fold.train)
    manifest, files = bundling.assemble(workspace, fitted, categories, version="-", created_at="-")
    scorer = Scorer(bundling.in_memory(manifest, files))
    return scorer, matrix(scorer, data.frame.iloc[fold.test])


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
    scorer, vectors = _scorer(workspace, data, fold, fitted)
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
    return categories_of(data.frame.iloc[rows], names)
