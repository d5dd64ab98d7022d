"""One LightGBM per source: fitted small, ordered by its contract's monotone constraints, stopped out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from credit301.model.booster import Booster
from training.dataset import Categories, TrainingSet
from training.frames import encode
from training.learners import Binned, Spread, first_trees
from training.splits import MINIMUM_PER_CLASS, Fold, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from distributed import Client

    from training.learners import Learner
    from training.specs import ModelSpec

FEW_POSITIVES, SOME_POSITIVES = 60, 600
"""Defaults below which trees are kept very small, and small."""

LEAVES = 9
"""Most leaves of a tree: with eight questions it is looked up when scored (:mod:`credit301.model.forest`)."""

STUMP = 2
MANY_ROWS = 50_000
CLASSES = 2


@dataclass(frozen=True)
class SubModel:
    """A fitted model: LightGBM's text, its categories by column in code order, and how it came about."""

    spec: ModelSpec
    text: str
    categories: Categories
    trees: int
    rows: int
    positives: int
    parameters: dict[str, Any]

    def logits(self, frame: pd.DataFrame) -> np.ndarray:
        """Log-odds of default, shape (rows,); NaN where the source has no data on the row."""
        matrix = encode(frame, self.spec, self.categories)
        present = ~np.isnan(matrix).all(axis=1)
        result = np.full(len(matrix), np.nan)
        result[present] = Booster(self.text, matrix.shape[1]).raw_batch(matrix[present])
        return result


@dataclass(frozen=True)
class Fitted:
    """A sub-model with its out-of-fold log-odds, shape (rows of the training set,); NaN where no fold scored.

    ``loss`` is the mean log-loss over the folds' tests; NaN where there was none.
    """

    model: SubModel
    out_of_fold: np.ndarray
    loss: float = float("nan")


def parameters(positives: int, rows: int, spec: ModelSpec, seed: int, threads: int) -> dict[str, Any]:
    """LightGBM's parameters: the fewer the defaults, the smaller the trees and the stronger the shrinkage.

    With few defaults a tree is one split, because there is no learning how two features act together. Thresholds are
    drawn by lot and the best of the draws is taken (Geurts, Ernst and Wehenkel 2006): a threshold that is the best on
    this sample is mostly noise, and the sum over trees is smoother, which ranks better.

    Classes are not reweighted: the log-odds stay those of the population, and calibration has little left to do.
    """
    if positives < FEW_POSITIVES:
        size = {"num_leaves": 2, "max_depth": 1, "min_data_in_leaf": max(5, rows // 20), "lambda_l2": 5.0}
    elif positives < SOME_POSITIVES:
        size = {"num_leaves": 7, "max_depth": 4, "min_data_in_leaf": max(20, rows // 100), "lambda_l2": 5.0}
    else:
        size = {"num_leaves": LEAVES, "max_depth": 6, "min_data_in_leaf": max(40, rows // 500), "lambda_l2": 5.0}
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "learning_rate": 0.05,
        **size,
        "min_data_per_group": max(5, min(100, rows // 20)),
        "cat_smooth": 20.0,
        "extra_trees": positives < SOME_POSITIVES,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "monotone_constraints": [item.monotone for item in spec.inputs],
        "monotone_constraints_method": "intermediate",
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        # On small data threads cost more than they bring, and the model must not depend on how many there are.
        "num_threads": threads if rows >= MANY_ROWS else 1,
        "verbosity": -1,
    }


def rounds(positives: int) -> int:
    """Trees that are tried at most; explaining a score costs time for each of them."""
    return 200 if positives < SOME_POSITIVES else 300


def fit(
    data: TrainingSet,
    rows: np.ndarray,
    folds: tuple[Fold, ...],
    spec: ModelSpec,
    *,
    seed: int,
    threads: int,
    changed: Mapping[str, Any] = MappingProxyType({}),
    cluster: Client | None = None,
) -> Fitted | None:
    """Fit ``spec`` on ``rows``; its number of trees is the one with the least log-loss over the ``folds``.

    Rows on which the source has no data are not trained on. The out-of-fold log-odds of a row come from a model that
    saw neither it nor any other row of its entity (the folds see to that). ``changed`` are parameters that are to
    differ from the usual ones. Trees are grown here, or on a ``cluster``.

    Returns:
        ``None`` where the source has data on fewer than five defaults or five others, or where the folds could score
        only one kind of them: nothing can be learnt from it, or not be told how well.
    """
    task = _task(data, rows, spec, seed=seed, threads=threads, changed=changed)
    if task is None:
        return None
    learner, most = task.learner(cluster), rounds(task.positives)
    loss, weight = np.zeros(most), 0
    grown: list[tuple[str, np.ndarray]] = []
    for learnt, tested in joined(folds):
        train, test = learnt[task.present[learnt]], tested[task.present[tested]]
        if not len(test) or not 0 < data.labels[train].sum() < len(train):
            continue
        text, curve = learner.grow(train, test, most)
        loss += curve * len(test)
        weight += len(test)
        grown.append((text, test))
    trees = int(np.argmin(loss)) + 1 if weight else most // 4
    out_of_fold = _out_of_fold(data, task, [(first_trees(text, trees), test) for text, test in grown])
    if len(np.unique(data.labels[~np.isnan(out_of_fold)])) < CLASSES:
        return None
    model = task.model(learner.grow(task.rows, task.rows[:0], trees).text, trees)
    return Fitted(model, out_of_fold, float(loss[trees - 1] / weight) if weight else float("nan"))


def refit(
    data: TrainingSet,
    rows: np.ndarray,
    spec: ModelSpec,
    *,
    trees: int,
    seed: int,
    threads: int,
    cluster: Client | None = None,
) -> SubModel | None:
    """Fit ``spec`` on ``rows`` with a number of trees that is known; ``None`` where :func:`fit` gives none."""
    task = _task(data, rows, spec, seed=seed, threads=threads)
    if task is None:
        return None
    return task.model(task.learner(cluster).grow(task.rows, task.rows[:0], trees).text, trees)


@dataclass(frozen=True)
class _Task:
    """What one model is fitted on: ``rows`` are those on which the source knows something, ``present``, of all."""

    data: TrainingSet
    spec: ModelSpec
    categories: Categories
    present: np.ndarray
    rows: np.ndarray
    positives: int
    parameters: dict[str, Any]

    def learner(self, cluster: Client | None) -> Learner:
        if cluster is None:
            return Binned(self.data, self.rows, self.spec, self.categories, self.parameters)
        return Spread(cluster, self.data, self.spec, self.categories, self.parameters)

    def model(self, text: str, trees: int) -> SubModel:
        return SubModel(self.spec, text, self.categories, trees, len(self.rows), self.positives, self.parameters)


def _task(
    data: TrainingSet,
    rows: np.ndarray,
    spec: ModelSpec,
    *,
    seed: int,
    threads: int,
    changed: Mapping[str, Any] = MappingProxyType({}),
) -> _Task | None:
    """``None`` where there are too few outcomes to learn from."""
    present = data.known([item.column for item in spec.inputs])
    mine = rows[present[rows]]
    defaults, others = data.outcomes(mine)
    if min(defaults, others) < MINIMUM_PER_CLASS:
        return None
    positives = int(defaults)
    categories = data.categories((item.column for item in spec.inputs if item.category), rows)
    chosen = {**parameters(positives, len(mine), spec, seed, threads), **changed}
    return _Task(data, spec, categories, present, mine, positives, chosen)


def _out_of_fold(data: TrainingSet, task: _Task, members: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Log-odds of each row by the model that it was a test of, shape (len(data),); NaN where it was none's."""
    by = np.full(len(data), -1, dtype=np.int16)
    for number, (_, test) in enumerate(members):
        by[test] = number
    columns = [item.column for item in task.spec.inputs]
    boosters = [Booster(text, len(columns)) for text, _ in members]
    result = np.full(len(data), np.nan)
    for rows, frame in data.batches(columns, np.flatnonzero(by >= 0)):
        matrix = encode(frame, task.spec, task.categories)
        for number, booster in enumerate(boosters):
            mine = by[rows] == number
            result[rows[mine]] = booster.raw_batch(matrix[mine], task.parameters["num_threads"])
    return result
