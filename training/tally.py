"""Counts and sums by group, taken some rows at a time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pandas as pd


CENTS, MILLIONTHS = 100, 10**6
"""Limits are whole cents and rates have six decimals, so that their sums are exact."""


class Tally:
    """Sums of columns by group. They are of whole numbers, so that neither order nor batches change them."""

    def __init__(self) -> None:
        self._sums: dict[Hashable, Counter[str]] = {}

    def add(self, groups: np.ndarray, counted: pd.DataFrame) -> None:
        """Add the rows of ``counted``, int64, each to its group of ``groups``, shape (rows,)."""
        for group, row in counted.groupby(groups).sum().to_dict("index").items():
            # Integers of Python's, which do not overflow, however many batches there are.
            self._sums.setdefault(group, Counter()).update({str(name): int(value) for name, value in row.items()})

    def of(self, group: Hashable) -> Counter[str]:
        """The sums of ``group`` by column; 0 each where it has no rows."""
        return self._sums.get(group, Counter())

    @property
    def total(self) -> Counter[str]:
        """The sums of all groups by column."""
        found: Counter[str] = Counter()
        for sums in self._sums.values():
            found.update(sums)
        return found

    @property
    def groups(self) -> list[str]:
        """The groups that have rows, in order."""
        return sorted(map(str, self._sums))


def whole(values: np.ndarray, parts: int) -> np.ndarray:
    """``values`` in whole numbers of their ``parts``-th (100: yuan in cents), NaN as 0; shape (rows,), int64."""
    rounded: np.ndarray = np.rint(np.nan_to_num(values) * parts).astype(np.int64)
    return rounded
