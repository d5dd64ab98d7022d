"""Data frames of raw features to matrices: of one model's columns, and of all of a scorer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from credit301.errors import ModelError
from credit301.model.scorer import UNKNOWN_CATEGORY
from training.specs import column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from credit301.model.scorer import Scorer
    from training.dataset import Categories, TrainingSet
    from training.specs import ModelSpec


def encode(frame: pd.DataFrame, spec: ModelSpec, categories: Categories) -> np.ndarray:
    """Columns of ``spec`` as float64, shape (rows, inputs): coded as the scorer codes them."""
    matrix = np.empty((len(frame), len(spec.inputs)))
    for index, item in enumerate(spec.inputs):
        values = frame[item.column]
        matrix[:, index] = _coded(values, categories[item.column]) if item.category else values.astype(np.float64)
    return matrix


def encoded(data: TrainingSet, rows: np.ndarray, spec: ModelSpec, categories: Categories) -> np.ndarray:
    """As :func:`encode`, of ``rows`` (ascending) of ``data``: beside the matrix there is one batch in memory."""
    batches = data.batches([item.column for item in spec.inputs], rows)
    return filled((len(rows), len(spec.inputs)), (encode(frame, spec, categories) for _, frame in batches))


def filled(shape: tuple[int, int], batches: Iterable[np.ndarray]) -> np.ndarray:
    """``batches`` one below the other, float64; of them one is in memory at a time."""
    result, end = np.empty(shape), 0
    for batch in batches:
        start, end = end, end + len(batch)
        result[start:end] = batch
    return result


def matrix(scorer: Scorer, features: pd.DataFrame) -> np.ndarray:
    """``features`` (columns ``<view>__<feature>``) in the scorer's plan and codes, shape (rows, len(plan)).

    A column that is not given is a feature that is not known; columns that the plan does not have are left out.

    Raises:
        ModelError: a number is expected and text is given.
    """
    result = np.full((len(features), len(scorer.plan)), np.nan)
    read = (feature for view in scorer.bundle.manifest.views for feature in view.features)
    for index, (name, feature) in enumerate(zip(columns(scorer.plan), read, strict=True)):
        if name in features:
            values, categories = features[name], feature.categories
            result[:, index] = _numbers(values) if categories is None else _coded(values, categories)
    return result


def columns(plan: tuple[str, ...]) -> list[str]:
    """Data frame columns of a plan's keys ``<view>:<feature>``."""
    return [column(*key.split(":", 1)) for key in plan]


def _coded(values: pd.Series, categories: Iterable[str]) -> np.ndarray:
    """The code of each value, shape (rows,): NaN where it is not known, and that of no category where it is new."""
    codes = {value: float(code) for code, value in enumerate(categories)}
    places, found = pd.factorize(values)
    # What is not known has the place -1, the last one.
    return np.array([*(codes.get(str(value), UNKNOWN_CATEGORY) for value in found), np.nan])[places]


def _numbers(values: pd.Series) -> np.ndarray:
    """``values`` as float64, shape (rows,), NaN where not known."""
    if values.dtype == object and any(isinstance(value, str) for value in values):
        raise ModelError(f"{values.name} is a number; the data has text.")
    return values.to_numpy(dtype=np.float64, na_value=np.nan)
