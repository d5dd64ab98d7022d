"""How far a distribution has moved: the population stability index, beyond what chance alone makes of it.

``PSI = sum((q - p) * ln(q / p))`` over ten groups of equal size of the reference (missing values and categories are
groups of their own). Of two samples of n and m rows from one population it is ``1/n + 1/m`` times a chi-square of as
many degrees of freedom as there are groups but one (Yurdakul and Naranjo 2020): small samples look moved. What 99 of
100 such samples stay below is taken off. Unlike a test of significance this does not cry wolf on large samples either,
where every difference is significant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import chi2

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUPS = 10
CONFIDENCE = 0.99
CATEGORIES = 20
OTHER = "\u0000other"


@dataclass(frozen=True)
class Psi:
    """``value`` as defined; ``excess`` is what is left of it beyond chance."""

    value: float
    excess: float


def psi(reference: np.ndarray, current: np.ndarray) -> Psi:
    """PSI of ``current`` against ``reference``: numbers, NaN where not known; shapes (rows,)."""
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, GROUPS + 1)[1:-1])) if len(known) else np.array([])

    def groups(values: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(values), -1, np.searchsorted(edges, np.nan_to_num(values), side="right"))

    return _psi(groups(reference), groups(current))


def psi_of_categories(reference: pd.Series, current: pd.Series) -> Psi:
    """PSI of the shares of values; all but the most frequent values of the reference are one group."""
    frequent = set(reference.value_counts().index[:CATEGORIES])

    def groups(values: pd.Series) -> np.ndarray:
        return values.map(lambda value: "" if pd.isna(value) else value if value in frequent else OTHER).to_numpy(str)

    return _psi(groups(reference), groups(current))


def of_features(reference: pd.DataFrame, current: pd.DataFrame, columns: Iterable[str]) -> dict[str, Psi]:
    """PSI of each of ``columns`` that both frames have."""
    found = {}
    for name in columns:
        if name not in reference or name not in current:
            continue
        before, now = reference[name], current[name]
        if pd.api.types.is_numeric_dtype(before) and pd.api.types.is_numeric_dtype(now):
            found[name] = psi(before.to_numpy(dtype=float), now.to_numpy(dtype=float))
        else:
            found[name] = psi_of_categories(before, now)
    return found


def _psi(reference: np.ndarray, current: np.ndarray) -> Psi:
    names = np.unique(np.concatenate([reference, current]))
    # Half a row more in each group: an empty one is no proof that nobody can be there.
    before = np.array([(reference == name).sum() + 0.5 for name in names])
    now = np.array([(current == name).sum() + 0.5 for name in names])
    p, q = before / before.sum(), now / now.sum()
    value = float(((q - p) * np.log(q / p)).sum())
    usual = float(chi2.ppf(CONFIDENCE, max(len(names) - 1, 1)))
    chance = usual * (1 / max(len(reference), 1) + 1 / max(len(current), 1))
    return Psi(value, max(0.0, value - chance))
