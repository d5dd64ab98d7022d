"""What the ensemble is held against: one LightGBM on every column, also without a source, and a logistic regression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

from training import submodels
from training.dataset import TrainingSet
from training.frames import filled
from training.specs import ModelSpec, pooled_spec
from training.splits import Fold, Plan, inner_folds

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

ONE_LIGHTGBM = "one_lightgbm"
LOGISTIC = "logistic"


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
    """Probabilities on ``fold.test`` of a ridge logistic regression on a sample of ``fold.train``.

    Numbers become normal scores (heavy tails are the rule in money), a missing one the median and a flag; categories
    become indicators. What each column becomes is learnt source by source, and the matrix is filled batch by batch:
    beside it, little is in memory.
    """
    rows = data.sample(fold.train)
    learnt = (_Part.learnt(data, rows, spec, seed) for spec in specs)
    parts = tuple(part for part in learnt if part is not None)
    columns = [name for part in parts for name in part.columns]

    def wanted(frame: pd.DataFrame) -> np.ndarray:
        return np.hstack([part.of(frame) for part in parts])

    train = (wanted(frame) for _, frame in data.batches(columns, rows))
    matrix = filled((len(rows), sum(part.width for part in parts)), train)
    model = LogisticRegression(C=0.1, max_iter=1_000, random_state=seed).fit(matrix, data.labels[rows])
    tested = data.batches(columns, fold.test)
    return np.concatenate([np.asarray(model.predict_proba(wanted(frame))[:, 1]) for _, frame in tested])


@dataclass(frozen=True)
class _Part:
    """The columns of one source as a regression takes them."""

    numbers: list[str]
    categories: list[str]
    made: Any
    width: int = 0

    @property
    def columns(self) -> list[str]:
        """What it reads."""
        return [*self.numbers, *self.categories]

    @classmethod
    def learnt(cls, data: TrainingSet, rows: np.ndarray, spec: ModelSpec, seed: int) -> _Part | None:
        """Medians, quantiles and categories from ``rows``; ``None`` where nothing is known on them."""
        train = data.take([item.column for item in spec.inputs], rows)
        numbers = [item.column for item in spec.inputs if not item.category and train[item.column].notna().any()]
        categories = [item.column for item in spec.inputs if item.category]
        scores = QuantileTransformer(
            n_quantiles=min(100, len(train)), output_distribution="normal", subsample=None, random_state=seed
        )
        made = make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), scores), numbers),
            (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10, sparse_output=False), categories),
        )
        part = cls(numbers, categories, made)
        if not part.columns:
            return None
        made.fit(part._typed(train))
        return replace(part, width=part.of(train[:1]).shape[1])

    def of(self, frame: pd.DataFrame) -> np.ndarray:
        """Its columns of ``frame`` as numbers, shape (rows, those of the regression)."""
        return np.asarray(self.made.transform(self._typed(frame)))

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        kinds = {**dict.fromkeys(self.numbers, "float64"), **dict.fromkeys(self.categories, "object")}
        typed = frame[self.columns].astype(kinds)
        # scikit-learn tells None and NaN apart; a missing category is one value here.
        typed[self.categories] = typed[self.categories].fillna("(none)")
        return typed
