"""Retention: records older than their contract allows leave the inbox, the quarantine and the landing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from credit301.governance.erasure.parquet import rewrite
from credit301.governance.erasure.target import Counts
from credit301.sources.batches import SUFFIX, Store
from credit301.sources.typed import value_expression

if TYPE_CHECKING:
    from credit301.contracts.model import Column, Contract
    from credit301.workspace import Workspace

_CITY = timedelta(hours=8)


def time_column(contract: Contract) -> Column | None:
    """The column that says how old a record is: when it was true, else when it could be known."""
    name = contract.time.event_time or contract.time.available_at
    return contract.column(name) if name else None


def apply(workspace: Workspace, source: str, now: datetime | None = None) -> Counts:
    """Take every record of ``source`` that is older than its contract's retention out of its files.

    A record without a readable time, and a source without any, is as old as the file that it came in.
    """
    contract = workspace.source(source)
    found = Counts()
    if contract.retention is None:
        return found
    moment = now or datetime.now(UTC)
    # Times of records are the city's wall clock.
    oldest = (moment + _CITY - timedelta(days=contract.retention)).replace(tzinfo=None)
    store = Store(workspace, source)
    with store.locked():
        waiting = store.pending()
        for path in _files(store):
            if waiting is not None and waiting.pull_id in (path.stem, path.parent.name):
                # Its rows still need their numbers; they are due as soon as it has landed.
                continue
            expired = datetime.fromtimestamp(path.stat().st_mtime, UTC) < moment - timedelta(days=contract.retention)
            found.add(_expire(path, time_column(contract), oldest, all_of_it=expired))
    return found


def _files(store: Store) -> Iterator[Path]:
    for folder in (store.inbox, store.quarantine, store.landing):
        yield from sorted(folder.rglob(f"*{SUFFIX}"))


def _expire(path: Path, column: Column | None, oldest: datetime, *, all_of_it: bool) -> Counts:
    """Rewrite ``path`` without what is older than ``oldest``; the file stays, for it says that its batch has landed."""
    total = pq.read_metadata(path).num_rows
    there = pq.read_schema(path).names
    name = next((item for item in (column.name, column.physical_name) if item in there), None) if column else None
    found = Counts()

    def left(batch: pa.RecordBatch) -> pa.RecordBatch:
        if name is None or column is None:
            gone = pa.array([all_of_it] * batch.num_rows)
        else:
            gone = pc.less(_times(batch.column(name), column), pa.scalar(oldest, pa.timestamp("us")))
            gone = pc.fill_null(gone, all_of_it)
        kept = batch.filter(pc.invert(gone))
        found.rows += batch.num_rows - kept.num_rows
        return kept

    if total:
        for batch in pq.ParquetFile(path).iter_batches():
            left(batch)
        if found.rows:
            found.rows = 0
            rewrite(path, left)
            found.files = 1
    return found


def _times(values: pa.Array, column: Column) -> pa.Array:
    """Times as the contract reads them, null where a text is none."""
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return values.cast(pa.timestamp("us"), safe=False)
    texts = pa.table({"text": values.cast(pa.string())})
    with duckdb.connect() as connection:
        connection.register("texts", texts)
        expression = value_expression(column, "text")
        times = connection.sql(f"select cast({expression} as timestamp) as time from texts").to_arrow_table()
    return times.column("time").combine_chunks().cast(pa.timestamp("us"))
