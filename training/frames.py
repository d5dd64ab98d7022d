"""Data frames of raw features to the scorer's matrix; used by the evaluation, the gate and the MLflow model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.specs import column

if TYPE_CHECKING:
    import pandas as pd

    from credit301.model.scorer import Scorer


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
