"""How a model does on groups of enterprises, by size, industry or district: approvals, ranking, calibration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_auc_score

from training.metrics import auc_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from credit301.model.stewardship import Segment

UNKNOWN = "-"


@dataclass(frozen=True)
class Group:
    """One value of one segment.

    ``approved`` is the share with a probability up to the cut-off, ``good_approved`` that of those who paid (equal
    opportunity; Hardt, Price and Srebro 2016). ``auc`` is ``None`` without both outcomes, ``auc_error`` its standard
    error; ``error`` is the standard error of ``observed`` where the predictions are right.
    """

    segment: str
    value: str
    rows: int
    defaults: int
    approved: float
    good_approved: float | None
    auc: float | None
    auc_error: float
    observed: float
    expected: float
    error: float

    def row(self) -> dict[str, Any]:
        """Its fields as values."""
        return asdict(self)


def values_of(segment: Segment, features: pd.DataFrame) -> np.ndarray:
    """The group of each row, as text; ``-`` where it is not known. Shape (rows,)."""
    if segment.column not in features:
        return np.full(len(features), UNKNOWN, dtype=object)
    known = features[segment.column]
    text = known.astype(object).where(known.notna(), UNKNOWN).astype(str)
    return (text.str[: segment.prefix] if segment.prefix else text).to_numpy(dtype=object)


def groups(
    segments: Iterable[Segment], features: pd.DataFrame, labels: np.ndarray, probability: np.ndarray, cut_off: float
) -> list[Group]:
    """Every group of ``segments`` among the rows, largest first within a segment.

    Args:
        segments: by which features.
        features: shape (rows, columns).
        labels: 0 or 1, shape (rows,).
        probability: of default, shape (rows,).
        cut_off: the highest probability that is approved.
    """
    found = []
    for segment in segments:
        of = values_of(segment, features)
        named = [
            _group(segment.feature, str(value), labels[of == value], probability[of == value], cut_off)
            for value in np.unique(of)
        ]
        found += sorted(named, key=lambda group: -group.rows)
    return found


def _group(segment: str, value: str, labels: np.ndarray, probability: np.ndarray, cut_off: float) -> Group:
    approved, good = probability <= cut_off, labels == 0
    both = 0 < labels.sum() < len(labels)
    return Group(
        segment=segment,
        value=value,
        rows=len(labels),
        defaults=int(labels.sum()),
        approved=float(approved.mean()),
        good_approved=float(approved[good].mean()) if good.any() else None,
        auc=float(roc_auc_score(labels, probability)) if both else None,
        auc_error=auc_error(labels, probability) if both else float("nan"),
        observed=float(labels.mean()),
        expected=float(probability.mean()),
        error=float(np.sqrt((probability * (1 - probability)).sum()) / len(labels)),
    )
