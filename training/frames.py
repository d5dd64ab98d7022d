"""Data frames of raw features to matrices: of one model's columns, and of all of a scorer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from credit301.model.scorer import UNKNOWN_CATEGORY
from training.specs import column

if TYPE_CHECKING:
    import pandas as pd

    from credit301.model.scorer import Scorer
    from training.dataset import Categories
    from training.specs import ModelSpec


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


def matrix(scorer: Scorer, features: pd.DataFrame) -> np.ndarray:
    """``features`` (columns ``<view>__<feature>``) in the scorer's plan and codes, shape (rows, len(plan)).

    A column that is not given is a feature that is not known; columns that the plan does not have are left out.
    """
    wanted = features.reindex(columns=columns(scorer.plan)).astype(object)
    wanted = wanted.where(wanted.notna(), None)
    if wanted.empty:
        return np.empty((0, len(scorer.plan)))
    return np.vstack([scorer.encode_row(row) for row in wanted.itertuples(index=False, name=None)])


def columns(plan: tuple[str, ...]) -> list[str]:
    """Data frame columns of a plan's keys ``<view>:<feature>``."""
    return [column(*key.split(":", 1)) for key in plan]
