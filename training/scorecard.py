"""The peer that banks know: a logistic scorecard on the weight of evidence of optimal bins (optbinning)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from training.specs import Input, ModelSpec, pooled_spec

if TYPE_CHECKING:
    from training.dataset import TrainingSet
    from training.splits import Fold

SCORECARD = "scorecard"
LEAST_INFORMATION = 0.005
"""Information value below which a column is left out; far below the usual 0.02, so that the peer is not held down."""

TRENDS = {1: "ascending", -1: "descending", 0: "auto_asc_desc"}
MOST_BINS, SMALLEST_BIN = 10, 0.05
NONE = "(none)"


def scorecard(data: TrainingSet, fold: Fold, specs: tuple[ModelSpec, ...]) -> np.ndarray:
    """Probabilities on ``fold.test``; bins, monotone where the contract says so, and weights from ``fold.train``.

    Where no column tells anything, the training rows' rate of defaults.
    """
    inputs = pooled_spec(SCORECARD, specs).inputs
    train = data.sample(fold.train)
    labels = data.labels[train]
    rate = np.full(len(fold.test), labels.mean())
    table = _table(data.take([item.column for item in inputs], train), inputs)
    inputs = tuple(item for item in inputs if len(table[item.column].unique()) > 1)
    if not inputs:
        return rate
    from optbinning import BinningProcess

    names = [item.column for item in inputs]
    table = table[names]
    process = BinningProcess(
        names,
        categorical_variables=[item.column for item in inputs if item.category],
        binning_fit_params={
            item.column: {"monotonic_trend": TRENDS[item.monotone]} for item in inputs if not item.category
        },
        selection_criteria={"iv": {"min": LEAST_INFORMATION}},
        max_n_prebins=MOST_BINS,
        min_prebin_size=SMALLEST_BIN,
    )
    with warnings.catch_warnings():
        # Of the solver's and the library's own insides, which nobody here can act on.
        warnings.simplefilter("ignore")
        process.fit(table, labels)
        if not len(process.get_support(names=True)):
            return rate
        # As optbinning's Scorecard does, which would find the bins once more.
        evidence = process.transform(table, metric="woe").to_numpy()
        del table
        model = LogisticRegression(C=0.05, max_iter=1_000).fit(evidence, labels)
        tested = (_table(frame, inputs) for _, frame in data.batches(names, fold.test))
        found = (process.transform(frame, metric="woe").to_numpy() for frame in tested)
        return np.concatenate([np.asarray(model.predict_proba(evidence)[:, 1]) for evidence in found])


def _table(frame: pd.DataFrame, inputs: tuple[Input, ...]) -> pd.DataFrame:
    """Numbers as floats; a category that is not known is a value of its own."""
    columns = {
        item.column: frame[item.column].astype(object).where(frame[item.column].notna(), NONE).astype(str)
        if item.category
        else frame[item.column].astype(np.float64)
        for item in inputs
    }
    return pd.DataFrame(columns, index=frame.index)
