"""One LightGBM per source: fitted small, ordered by its contract's monotone constraints, stopped out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np

from credit301.model.booster import Booster
from credit301.model.scorer import UNKNOWN_CATEGORY
from training.dataset import TrainingSet
from training.splits import MINIMUM_PER_CLASS, Fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from training.specs import ModelSpec

FEW_POSITIVES, SOME_POSITIVES = 60, 600
"""Defaults below which trees are kept very small, and small."""

LEAVES = 9
"""Most leaves of a tree: with eight questions it is looked up when scored (:mod:`credit301.model.forest`)."""

STUMP = 2
PATIENCE = 50
"""Trees without a better loss on a fold's test after which no more are tried there."""

MANY_ROWS = 50_000
CLASSES = 2

Categories = dict[str, tuple[str, ...]]


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


def encode(frame: pd.DataFrame, spec: ModelSpec, categories: Categories) -> np.ndarray:
    """Columns of ``spec`` as float64, shape (rows, inputs): coded as the scorer codes them."""
    matrix = np.empty((len(frame), len(spec.inputs)))
    for index, item in enumerate(spec.inputs):
        values = frame[item.column]
        if item.category:
            codes = {value: float(code) for code, value in enumerate(categories[item.column])}
            coded = values.map(codes).astype(np.float64)
            matrix[:, index] = coded.where(coded.notna() | values.isna(), UNKNOWN_CATEGORY)
        else:
            matrix[:, index] = values.astype(np.float64)
    return matrix


def categories_of(frame: pd.DataFrame, columns: Iterable[str]) -> Categories:
    """Values of each of the categorical ``columns`` seen in ``frame``, sorted."""
    return {name: tuple(sorted(map(str, frame[name].dropna().unique()))) for name in columns}


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
) -> Fitted | None:
    """Fit ``spec`` on ``rows``; its number of trees is the one with the least log-loss over the ``folds``.

    Rows on which the source has no data are not trained on. The out-of-fold log-odds of a row come from a model that
    saw neither it nor any other row of its entity (the folds see to that). ``changed`` are parameters that are to
    differ from the usual ones.

    Returns:
        ``None`` where the source has data on fewer than five defaults or five others, or where the folds could score
        only one kind of them: nothing can be learnt from it, or not be told how well.
    """
    frame, labels = data.frame, data.labels
    categories = categories_of(frame.iloc[rows], (item.column for item in spec.inputs if item.category))
    matrix = encode(frame, spec, categories)
    present = ~np.isnan(matrix).all(axis=1)
    mine = rows[present[rows]]
    positives = int(labels[mine].sum())
    if min(positives, len(mine) - positives) < MINIMUM_PER_CLASS:
        return None
    chosen = {**parameters(positives, len(mine), spec, seed, threads), **changed}
    most = rounds(positives)
    loss, weight = np.zeros(most), 0
    members: list[tuple[lightgbm.Booster, np.ndarray]] = []
    for fold in folds:
        train, test = fold.train[present[fold.train]], fold.test[present[fold.test]]
        if not len(test) or not 0 < labels[train].sum() < len(train):
            continue
        booster, curve = _train(matrix, labels, train, test, spec, chosen, most)
        loss += curve * len(test)
        weight += len(test)
        members.append((booster, test))
    trees = int(np.argmin(loss)) + 1 if weight else most // 4
    out_of_fold = np.full(len(frame), np.nan)
    for booster, test in members:
        text = booster.model_to_string(num_iteration=trees)
        out_of_fold[test] = Booster(text, matrix.shape[1]).raw_batch(matrix[test])
    if len(np.unique(labels[~np.isnan(out_of_fold)])) < CLASSES:
        return None
    final, _ = _train(matrix, labels, mine, mine[:0], spec, chosen, trees)
    model = SubModel(spec, final.model_to_string(), categories, trees, len(mine), positives, chosen)
    return Fitted(model, out_of_fold, float(loss[trees - 1] / weight) if weight else float("nan"))


def refit(
    data: TrainingSet, rows: np.ndarray, spec: ModelSpec, *, trees: int, seed: int, threads: int
) -> SubModel | None:
    """Fit ``spec`` on ``rows`` with a number of trees that is known; ``None`` where :func:`fit` gives none."""
    labels = data.labels
    categories = categories_of(data.frame.iloc[rows], (item.column for item in spec.inputs if item.category))
    matrix = encode(data.frame, spec, categories)
    mine = rows[~np.isnan(matrix[rows]).all(axis=1)]
    positives = int(labels[mine].sum())
    if min(positives, len(mine) - positives) < MINIMUM_PER_CLASS:
        return None
    chosen = parameters(positives, len(mine), spec, seed, threads)
    final, _ = _train(matrix, labels, mine, mine[:0], spec, chosen, trees)
    return SubModel(spec, final.model_to_string(), categories, trees, len(mine), positives, chosen)


def _train(
    matrix: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    spec: ModelSpec,
    chosen: dict[str, Any],
    trees: int,
) -> tuple[lightgbm.Booster, np.ndarray]:
    """A booster and its log-loss on ``test`` after each tree, shape (trees,); zeros where ``test`` is empty."""
    names = [item.column for item in spec.inputs]
    codes = [index for index, item in enumerate(spec.inputs) if item.category]
    learn = lightgbm.Dataset(
        matrix[train], labels[train], feature_name=names, categorical_feature=codes, params={"verbosity": -1}
    )
    if not len(test):
        return lightgbm.train(chosen, learn, num_boost_round=trees), np.zeros(trees)
    record: dict[str, Any] = {}
    booster = lightgbm.train(
        chosen,
        learn,
        num_boost_round=trees,
        valid_sets=[lightgbm.Dataset(matrix[test], labels[test], reference=learn)],
        valid_names=["test"],
        callbacks=[lightgbm.record_evaluation(record), lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    curve = np.asarray(record["test"]["binary_logloss"])
    # It stopped because no split is left, or because the loss rises: from there on it counts as it is then.
    return booster, np.concatenate([curve, np.full(trees - len(curve), curve[-1])])
