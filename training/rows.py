"""Where the rows of a training set lie, and how they are read: so many at a time, with the columns that are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

VALUES_AT_ONCE = 1_000_000
"""Values in one batch: 8 MB as numbers. How many rows that is depends on the columns; no result depends on it."""

READ_AHEAD = 2**18
"""Bytes of a column that are read from a file at once."""


class Rows(Protocol):
    """Rows in a fixed order."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""

    def __len__(self) -> int: ...

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """Names and kinds of ``columns``, as a file of them has it."""

    def batches(self, columns: Sequence[str], chosen: np.ndarray | None, size: int) -> Iterator[pd.DataFrame]:
        """``columns`` of the ``chosen`` rows (ascending numbers; all where not given), ``size`` rows at a time."""

    def where(self, kept: np.ndarray) -> Rows:
        """The rows with these ascending numbers, as if there were no others."""


@dataclass(frozen=True)
class InMemory:
    """Rows of a frame."""

    frame: pd.DataFrame

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(map(str, self.frame.columns))

    def __len__(self) -> int:
        return len(self.frame)

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """As :meth:`Rows.schema`."""
        return pa.Schema.from_pandas(self.frame[list(columns)], preserve_index=False).remove_metadata()

    def batches(self, columns: Sequence[str], chosen: np.ndarray | None, size: int) -> Iterator[pd.DataFrame]:
        """As :meth:`Rows.batches`."""
        wanted = self.frame[list(columns)]
        count = len(wanted) if chosen is None else len(chosen)
        for start in range(0, count, size):
            yield wanted.iloc[start : start + size] if chosen is None else wanted.iloc[chosen[start : start + size]]

    def where(self, kept: np.ndarray) -> InMemory:
        """As :meth:`Rows.where`."""
        return InMemory(self.frame.iloc[kept].reset_index(drop=True))


@dataclass(frozen=True)
class OnDisk:
    """Rows of a Parquet file: those with the numbers ``kept``, ascending, or all; texts come as categories."""

    path: Path
    kept: np.ndarray | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(pq.read_schema(self.path).names)

    def __len__(self) -> int:
        return int(pq.read_metadata(self.path).num_rows) if self.kept is None else len(self.kept)

    def schema(self, columns: Sequence[str]) -> pa.Schema:
        """As :meth:`Rows.schema`."""
        there = pq.read_schema(self.path)
        return pa.schema([there.field(name) for name in columns])

    def places(self, chosen: np.ndarray | None) -> np.ndarray | None:
        """Numbers within the file of the ``chosen`` rows; ``None`` for all rows of the file."""
        if self.kept is None:
            return chosen
        return self.kept if chosen is None else self.kept[chosen]

    def batches(self, columns: Sequence[str], chosen: np.ndarray | None, size: int) -> Iterator[pd.DataFrame]:
        """As :meth:`Rows.batches`; of a file's parts that hold no chosen row nothing is read."""
        waiting: list[pa.Table] = []
        count = 0
        for table in self._tables(list(columns), self.places(chosen), size):
            waiting.append(table)
            count += len(table)
            while count >= size:
                joined = pa.concat_tables(waiting)
                yield _frame(joined.slice(0, size))
                waiting, count = [joined.slice(size)], count - size
        if count:
            yield _frame(pa.concat_tables(waiting))
        # Arrow keeps what it has read with for the next time: some 300 MB, while a model is fitted.
        waiting.clear()
        pa.default_memory_pool().release_unused()

    def where(self, kept: np.ndarray) -> OnDisk:
        """As :meth:`Rows.where`."""
        return OnDisk(self.path, kept if self.kept is None else self.kept[kept])

    def _tables(self, columns: list[str], places: np.ndarray | None, size: int) -> Iterator[pa.Table]:
        schema = pq.read_schema(self.path)
        texts = [name for name in columns if _is_text(schema.field(name).type)]
        with pq.ParquetFile(self.path, read_dictionary=texts, buffer_size=READ_AHEAD, pre_buffer=False) as file:
            first = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if places is None or _within(places, first, first + rows).size:
                    for batch in file.iter_batches(size, row_groups=[group], columns=columns):
                        table = pa.table(batch)
                        last = first + len(table)
                        wanted = None if places is None else _within(places, first, last) - first
                        if wanted is None or len(wanted) == len(table):
                            yield table
                        elif len(wanted):
                            yield table.take(pa.array(wanted))
                        first = last
                else:
                    first += rows


def _within(places: np.ndarray, first: int, last: int) -> np.ndarray:
    """Those of the ascending ``places`` from ``first`` on and before ``last``."""
    start, end = np.searchsorted(places, [first, last])
    return places[start:end]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _frame(table: pa.Table) -> pd.DataFrame:
    # Parts of one table may have dictionaries of their own.
    return table.unify_dictionaries().to_pandas(ignore_metadata=True)
