"""A city as files of deliveries: each source's records by the month in which they became known, in one pass."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.city import finish, fresh, make_block
from simulator.schema import SCHEMAS
from simulator.store import seconds_of

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.config import CityConfig, Ints

INCREMENT = 0.01
"""Size of the increment at the end of the history, as a share of a source's records."""


class _Deliveries:
    """Open files of one source, one per month of the history, and the last part; a block adds a row group to each."""

    def __init__(self, directory: Path, source: str, months: Ints, *, increment: bool) -> None:
        self.rows = 0
        self._files = ExitStack()
        self._schema = SCHEMAS[source]
        directory.mkdir(parents=True)
        # What was known before the history comes with its first month.
        self._edges = months[1:].astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)
        names = np.datetime_as_string(months.astype("datetime64[M]"), unit="M").tolist()
        if not increment:
            names.pop()
        self._writers = [self._open(directory / f"{source}_{name}.parquet") for name in names]
        self._undecided = increment

    def _open(self, path: Path) -> pq.ParquetWriter:
        writer = pq.ParquetWriter(path, self._schema, compression="zstd", compression_level=1)
        return self._files.enter_context(writer)

    def add(self, table: pa.Table) -> None:
        """Write one block's records, in the order in which they became known."""
        seconds = seconds_of(table)
        order = np.argsort(seconds, kind="stable")
        seconds = seconds[order]
        if self._undecided:
            self._undecided = False
            # The first block tells when the last records of this source begin to become known.
            end = int(np.searchsorted(seconds, self._edges[-1]))
            begin = seconds[int(end * (1 - INCREMENT))] if end else self._edges[-1]
            self._edges = np.append(np.minimum(self._edges, begin), self._edges[-1])
        cuts = [0, *np.searchsorted(seconds, self._edges).tolist()]
        table = table.take(pa.array(order[: cuts[-1]]))
        for writer, (low, high) in zip(self._writers, pairwise(cuts), strict=True):
            writer.write_table(table.slice(low, high - low), row_group_size=max(high - low, 1))
        self.rows += table.num_rows

    def close(self) -> None:
        """Close every file."""
        self._files.close()


def write_drops(config: CityConfig, directory: Path, *, increment: bool = False) -> dict[str, Any]:
    """Make a city of any size as files of deliveries in `directory` (replaced if it exists); return its manifest.

    `<directory>/<source>/<source>_2023-10.parquet` holds what became known in that month, in the contract's columns
    and types: the lexical order of the names is the order of delivery. With `increment` the last of them, about 1 % of
    a source's records, stand in one more file named by the month after the history. Beside the sources lie
    `manifest.json` and what nobody is delivered, `truth.parquet` and `rings.parquet`. Memory is bounded by one block.
    """
    months = np.arange(config.month0, config.month0 + config.months + 1)
    with fresh(directory) as (target, _), ExitStack() as stack:
        deliveries = {name: _Deliveries(target / name, name, months, increment=increment) for name in SCHEMAS}
        for delivery in deliveries.values():
            stack.callback(delivery.close)
        hidden = [_deliver(config, block, deliveries) for block in range(len(config.blocks))]
        stack.close()
        truth, rings = (pa.concat_tables(tables) for tables in zip(*hidden, strict=True))
        rows = {name: delivery.rows for name, delivery in deliveries.items()}
        return finish(target, config, rows, truth, rings, increment=increment)


def _deliver(config: CityConfig, block: int, deliveries: dict[str, _Deliveries]) -> tuple[pa.Table, pa.Table]:
    """Make and write one block, and return what nobody is delivered: nothing else of it stays in memory."""
    made = make_block(config, block, config.blocks[block])
    for name in list(made.records):
        deliveries[name].add(made.records.pop(name))
    return made.truth, made.rings
