"""Pulling: a connector's pages into one inbox file, all text exactly as sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from credit301 import console
from credit301.contracts.model import Contract
from credit301.errors import SourceError
from credit301.settings import Settings
from credit301.sources.batches import METADATA_KEY, Batch, Store, pull_id, replacing
from credit301.sources.connectors import Connector, Page, connector_for
from credit301.sources.connectors.base import as_text
from credit301.sources.connectors.files import MALFORMED
from credit301.sources.typed import EXTRA, ROW

GROUP_ROWS = 65_536
PROGRESS_ROWS = 100_000


def pull(
    store: Store, settings: Settings, *, maximum_rows: int, again: bool = False, connector: Connector | None = None
) -> Batch | None:
    """Bring the next batch of a source into its inbox, from the watermark on.

    A batch that starts at the watermark and is in the inbox already is returned as it is, unless ``again`` asks the
    source anew. The file appears whole, with its cursor in its metadata, so that a pull may be killed at any time.

    Returns:
        The batch, or ``None`` where the source has nothing new.

    Raises:
        SourceError: the source did not deliver, or delivered a batch without a column that the contract requires.
    """
    cursor = store.settle().cursor
    identity = pull_id(store.source, cursor)
    path = store.inbox_file(identity)
    if path.exists() and not again:
        return store.batch(identity)
    reader = connector or connector_for(store.contract, settings)
    with replacing(path) as temporary:
        writer = _Writer(store.contract, temporary)
        after, served_through, more = cursor, "", False
        origins: list[str] = []
        try:
            for page in reader.read(cursor):
                writer.add(page)
                after, served_through, more = page.cursor_after, page.served_through, page.has_more
                origins += [page.origin] if page.origin else []
                if writer.rows >= maximum_rows or page.origin:
                    break
            batch = Batch(
                source=store.source,
                pull_id=identity,
                cursor=cursor,
                cursor_after=after,
                served_through=served_through,
                has_more=more,
                rows=writer.rows,
                drift=writer.drift,
                absent=writer.absent(),
                origins=origins,
            )
            if writer.rows == 0 and not origins:
                writer.abandon()
                temporary.unlink()
                return None
            writer.finish(batch)
        except BaseException:
            writer.abandon()
            raise
        store.forget(identity)
    return batch


class _Writer:
    """Writes pages to one Parquet file in groups, never holding more than one group."""

    def __init__(self, contract: Contract, path: Path) -> None:
        self.contract = contract
        self.rows = 0
        self.drift: dict[str, int] = {}
        self._seen: set[str] = set()
        self._known = {column.physical_name for column in contract.columns}
        self._schema = pa.schema(
            [
                pa.field(ROW, pa.int64()),
                *(pa.field(column.name, pa.string()) for column in contract.columns),
                pa.field(EXTRA, pa.string()),
            ]
        )
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0

    def add(self, page: Page) -> None:
        """Append the records of ``page``."""
        if isinstance(page.records, pa.RecordBatchReader):
            self._seen.update(page.records.schema.names)
            for batch in page.records:
                self._append(self._from_arrow(batch))
        elif page.records:
            self._append(self._from_records(page.records))

    def absent(self) -> list[str]:
        """Optional columns that no record had.

        Raises:
            SourceError: a required column is among them.
        """
        if self.rows == 0:
            return []
        missing = [column for column in self.contract.columns if column.physical_name not in self._seen]
        required = [column.physical_name for column in missing if column.required]
        if required:
            raise SourceError(
                f"{self.contract.name}: no record has {', '.join(required)}, which the contract requires.",
                hint="Did the source rename it? Then change physicalName in the contract; nothing was taken over.",
            )
        return [column.name for column in missing]

    def finish(self, batch: Batch) -> None:
        """Write what is left, and what the batch is."""
        self._flush()
        self._writer.add_key_value_metadata({METADATA_KEY: batch.model_dump_json().encode()})
        self._writer.close()

    def abandon(self) -> None:
        """Close the file; the caller throws it away."""
        self._writer.close()

    def _append(self, batch: pa.RecordBatch) -> None:
        before = self.rows
        self.rows += batch.num_rows
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        if self._waiting_rows >= GROUP_ROWS:
            self._flush()
        if before // PROGRESS_ROWS != self.rows // PROGRESS_ROWS:
            console.say(f"  {self.contract.name}: {self.rows:,} rows")

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, schema=self._schema))
            self._waiting, self._waiting_rows = [], 0

    def _numbers(self, count: int) -> pa.Array:
        return pa.array(range(self.rows + 1, self.rows + 1 + count), pa.int64())

    def _from_arrow(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        nothing = pa.nulls(batch.num_rows, pa.string())
        names = batch.schema.names
        columns = [
            batch.column(column.physical_name) if column.physical_name in names else nothing
            for column in self.contract.columns
        ]
        unknown = [name for name in names if name not in self._known]
        extra = nothing
        if unknown:
            for name in unknown:
                self._count(name, batch.num_rows - batch.column(name).null_count)
            filled = [name for name in unknown if batch.column(name).null_count < batch.num_rows]
            if filled:
                extra = pa.array([_json(row) for row in batch.select(filled).to_pylist()], pa.string())
        return pa.RecordBatch.from_arrays([self._numbers(batch.num_rows), *columns, extra], schema=self._schema)

    def _from_records(self, records: Any) -> pa.RecordBatch:
        keys: set[str] = set().union(*records)
        self._seen |= keys
        columns = [
            _text_array([record.get(column.physical_name) for record in records]) for column in self.contract.columns
        ]
        unknown = sorted(keys - self._known)
        for name in unknown:
            self._count(name, sum(record.get(name) is not None for record in records))
        rows: Iterator[str | None] = (
            _json({name: record[name] for name in unknown if name in record}) for record in records
        )
        extra = pa.array(list(rows), pa.string()) if unknown else pa.nulls(len(records), pa.string())
        return pa.RecordBatch.from_arrays([self._numbers(len(records)), *columns, extra], schema=self._schema)

    def _count(self, name: str, values: int) -> None:
        if values or name != MALFORMED:
            self.drift[name] = self.drift.get(name, 0) + values


def _json(values: dict[str, Any]) -> str | None:
    known = {name: value for name, value in values.items() if value is not None}
    return json.dumps(known, ensure_ascii=False, separators=(",", ":"), sort_keys=True) if known else None


def _text_array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([as_text(value) for value in values], pa.string())
