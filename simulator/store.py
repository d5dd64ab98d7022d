"""A city on disk: one Parquet file per source, in the order of its stream, written and read piece by piece."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.columns import MICROSECONDS
from simulator.schema import SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from simulator.config import Ints

ROW_GROUP = 16_384
_CACHED_GROUPS = 16


def write_rows(path: Path, schema: pa.Schema, pieces: Iterable[pa.Table]) -> int:
    """Write `pieces` as one file of full row groups, whatever the pieces' sizes, and return the number of rows."""
    rows, pending = 0, schema.empty_table()
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        for piece in pieces:
            pending = pa.concat_tables([pending, piece])
            full = pending.num_rows // ROW_GROUP * ROW_GROUP
            if full:
                writer.write_table(pending.slice(0, full), row_group_size=ROW_GROUP)
                pending = pending.slice(full).combine_chunks()
                rows += full
        if pending.num_rows or not rows:
            writer.write_table(pending, row_group_size=ROW_GROUP)
    return rows + int(pending.num_rows)


def seconds_of(table: pa.Table) -> Ints:
    """`available_at` (n) in seconds since 1970-01-01."""
    seconds: Ints = table["available_at"].cast(pa.int64()).to_numpy() // MICROSECONDS
    return seconds


def in_stream_order(pieces: list[pa.Table], first: int) -> pa.Table:
    """Pieces put together by available_at (earlier pieces first where equal), numbered from `first` on."""
    whole = pa.concat_tables(pieces)
    whole = whole.take(pa.array(np.argsort(seconds_of(whole), kind="stable")))
    return whole.append_column(SEQUENCE, pa.array(np.arange(first, first + whole.num_rows, dtype=np.int64)))


class Stream:
    """Random access to the rows of one written source by position, holding at most a few row groups.

    Positions are the `_sequence` numbers 0 .. len-1. Safe to use from several threads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._metadata = pq.read_metadata(path)
        sizes = [self._metadata.row_group(group).num_rows for group in range(self._metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.schema = pq.read_schema(path)
        self._column = self.schema.get_field_index("available_at")
        self._lock = threading.Lock()
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        self._file = pq.ParquetFile(path, metadata=self._metadata)

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._starts[-1])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _group(self, number: int) -> pa.Table:
        with self._lock:
            if number in self._groups:
                self._groups.move_to_end(number)
                return self._groups[number]
            table = self._file.read_row_group(number, use_threads=False)
            self._groups[number] = table
            if len(self._groups) > _CACHED_GROUPS:
                self._groups.popitem(last=False)
            return table

    def rows(self, start: int, stop: int) -> pa.Table:
        """Rows at positions start .. stop-1, clipped to what there is."""
        start, stop = max(start, 0), min(stop, len(self))
        if start >= stop:
            return self.schema.empty_table()
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        pieces = []
        for number in range(first, last):
            begin = int(self._starts[number])
            low = max(start - begin, 0)
            pieces.append(self._group(number).slice(low, min(stop - begin, ROW_GROUP) - low))
        return pa.concat_tables(pieces).combine_chunks()

    def visible(self, clock: int) -> int:
        """Number of rows with available_at <= `clock` (seconds): a prefix, as the rows are in that order."""
        groups = self._metadata.num_row_groups
        low, high = 0, groups
        while low < high:
            middle = (low + high) // 2
            latest = self._metadata.row_group(middle).column(self._column).statistics
            if latest is not None and _seconds(latest.max) <= clock:
                low = middle + 1
            else:
                high = middle
        if low == groups:
            return len(self)
        inside = int(np.searchsorted(seconds_of(self._group(low)), clock, side="right"))
        return int(self._starts[low]) + inside

    def batches(self) -> Iterator[pa.Table]:
        """All rows, a row group at a time."""
        for number in range(self._metadata.num_row_groups):
            yield self._file.read_row_group(number, use_threads=False)


def _seconds(moment: object) -> int:
    return int(np.datetime64(moment, "s").astype(np.int64))  # type: ignore[call-overload]
