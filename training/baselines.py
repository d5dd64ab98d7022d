"""What the ensemble is held against: one LightGBM on every column, also without a source, and a logistic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

from training import submodels
from training.dataset import TrainingSet, evenly
from training.specs import ModelSpec, pooled_spec
from training.splits import Fold, Plan, inner_folds

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

ONE_LIGHTGBM = "one_lightgbm"
LOGISTIC = "logistic"
MOST_ROWS = 100_000
"""Rows that a logistic regression is fitted on."""


def one_lightgbm(
    data: TrainingSet,
    fold: Fold,
    plan: Plan,
    specs: tuple[ModelSpec, ...],
    *,
    threads: int,
    cluster: Client | None = None,
) -> tuple[np.ndarray, int]:
    """One LightGBM on all columns, fitted as a sub-model is: probabilities on ``fold.test``, and its number of trees.

    Where it can learn nothing, the training rows' rate of defaults, and no tree.
    """
    spec = pooled_spec(ONE_LIGHTGBM, specs)
    folds = inner_folds(data, fold.train, plan)
    fitted = submodels.fit(data, fold.train, folds, spec, seed=plan.seed, threads=threads, cluster=cluster)
    return _probability(data, fold, None if fitted is None else fitted.model), fitted.model.trees if fitted else 0


def retrained(
    data: TrainingSet, fold: Fold, specs: tuple[ModelSpec, ...], *, trees: int, seed: int, threads: int
) -> np.ndarray:
    """Probabilities on ``fold.test`` of one LightGBM on the columns of ``specs`` with a given number of trees."""
    spec = pooled_spec(ONE_LIGHTGBM, specs)
    model = submodels.refit(data, fold.train, spec, trees=trees, seed=seed, threads=threads) if trees else None
    return _probability(data, fold, model)


def _probability(data: TrainingSet, fold: Fold, model: submodels.SubModel | None) -> np.ndarray:
    rate = float(data.labels[fold.train].mean())
    if model is None:
        return np.full(len(fold.test), rate)
    columns = [item.column for item in model.spec.inputs]
    probability = expit(np.concatenate([model.logits(frame) for _, frame in data.batches(columns, fold.test)]))
    return np.where(np.isnan(probability), rate, probability)


def logistic(data: TrainingSet, fold: Fold, specs: tuple[ModelSpec, ...], seed: int) -> np.ndarray:
    """Probabilities on ``fold.test`` of a ridge logistic regression on at most 100,000 rows of ``fold.train``.

    Numbers become normal scores (heavy tails are the rule in money), a missing one the median and a flag; categories
    become indicators.
    """
    inputs = pooled_spec(LOGISTIC, specs).inputs
    rows = evenly(fold.train, MOST_ROWS)
    train = data.take([item.column for item in inputs], rows)
    numbers = [item.column for item in inputs if not item.category and train[item.column].notna().any()]
    categories = [item.column for item in inputs if item.category]
    scores = QuantileTransformer(
        n_quantiles=min(100, len(train)), output_distribution="normal", subsample=None, random_state=seed
    )
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), scores), numbers),
            (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10), categories),
        ),
        LogisticRegression(C=0.1, max_iter=1_000, random_state=seed),
    )

    def wanted(frame: pd.DataFrame) -> pd.DataFrame:
        typed = frame.astype({**dict.fromkeys(numbers, "float64"), **dict.fromkeys(categories, "object")})
        # scikit-learn tells None and NaN apart; a missing category is one value here.
        typed[categories] = typed[categories].fillna("(none)")
        return typed

    names = [*numbers, *categories]
    model.fit(wanted(train[names]), data.labels[rows])
    tested = data.batches(names, fold.test)
    return np.concatenate([np.asarray(model.predict_proba(wanted(frame))[:, 1]) for _, frame in tested])
