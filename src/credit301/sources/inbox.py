"""Pulling: a connector's pages into one batch of the inbox, exactly as sent.

A whole Parquet file is taken over as it is, beside the inbox file. All other records are written to the inbox file:
text as text, and values that arrive typed as they are where the contract's type holds them exactly, else as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from credit301 import console
from credit301.contracts.model import Contract
from credit301.errors import SourceError
from credit301.files import replacing
from credit301.settings import Settings
from credit301.sources.batches import METADATA_KEY, Batch, Part, Store, pull_id
from credit301.sources.connectors import Connector, Page, connector_for
from credit301.sources.connectors.base import as_text
from credit301.sources.connectors.files import MALFORMED
from credit301.sources.native import is_kept, is_string, plain, readable
from credit301.sources.parts import can_be_taken, drop_others, schema_of, take
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
        writer = _Writer(store, settings, identity, temporary)
        try:
            end = _fill(writer, reader, cursor, maximum_rows)
            batch = Batch(
                source=store.source,
                pull_id=identity,
                cursor=cursor,
                cursor_after=end.cursor,
                served_through=end.served_through,
                has_more=end.has_more,
                rows=writer.rows,
                drift=writer.drift,
                absent=writer.absent(),
                origins=end.origins,
                parts=writer.parts,
                singly=end.singly,
            )
            if writer.rows == 0 and not end.origins:
                writer.abandon()
                temporary.unlink()
                return None
            writer.finish(batch)
        except BaseException:
            writer.abandon()
            raise
        store.forget(identity)
    drop_others(store, identity, batch)
    return batch


@dataclass
class _End:
    """Where a batch ends."""

    cursor: str
    served_through: str = ""
    has_more: bool = False
    rows: int = 0
    origins: list[str] = field(default_factory=list)
    singly: bool = False


def _fill(writer: _Writer, reader: Connector, cursor: str, maximum_rows: int) -> _End:
    """Write pages until there are ``maximum_rows``; a file that cannot be taken ends the batch before it."""
    end = _End(cursor)
    try:
        for page in reader.read(cursor):
            if end.origins and not writer.takes(page):
                break
            writer.add(page)
            end.cursor, end.served_through, end.has_more = page.cursor_after, page.served_through, page.has_more
            end.rows, end.singly = writer.rows, page.singly
            end.origins += [page.origin] if page.origin else []
            if writer.rows >= maximum_rows:
                break
    except SourceError:
        # Good files come first: the next pull begins with the bad one and says so.
        if not end.origins or writer.rows != end.rows or not end.has_more:
            raise
    return end


class _Writer:
    """Takes over whole files and writes all other pages to one Parquet file, never holding more than one group."""

    def __init__(self, store: Store, settings: Settings, identity: str, path: Path) -> None:
        self.store, self.settings, self.identity, self.path = store, settings, identity, path
        self.contract = store.contract
        self.rows = 0
        self.drift: dict[str, int] = {}
        self.parts: list[Part] = []
        self._seen: set[str] = set()
        self._known = {column.physical_name for column in self.contract.columns}
        self._schema = _schema(self.contract, {})
        self._writer: pq.ParquetWriter | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0

    def add(self, page: Page) -> None:
        """Append the records of ``page``.

        Raises:
            SourceError: its file changed, or is not readable.
        """
        if page.file is not None and can_be_taken(schema := schema_of(self.contract, page.file)):
            part, filled = take(self.store, self._connected(), self.identity, page.file, self.rows)
            self.parts.append(part)
            self.rows += part.rows
            self._seen.update(schema.names)
            for name, values in filled.items():
                self._count(name, values)
            self._tell(part.before)
        elif isinstance(page.records, pa.RecordBatchReader):
            self._open(page.records.schema)
            for batch in page.records:
                self._append(self._from_arrow(batch))
            self._seen.update(page.records.schema.names)
        elif page.records:
            self._open(pa.schema([]))
            self._append(self._from_records(page.records))

    def takes(self, page: Page) -> bool:
        """Whether ``page`` may come after what is there: it has every required column, and its types can be kept."""
        if page.file is not None:
            names = schema_of(self.contract, page.file).names
        elif isinstance(page.records, pa.RecordBatchReader):
            names = page.records.schema.names
            mine = _schema(self.contract, _types(self.contract, page.records.schema))
            if self._writer is not None and any(
                not is_string(old) and old != new for old, new in zip(self._schema.types, mine.types, strict=True)
            ):
                return False
        else:
            return True
        return all(column.physical_name in names for column in self.contract.columns if column.required)

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
        writer = self._open(pa.schema([]))
        self._flush()
        writer.add_key_value_metadata({METADATA_KEY: batch.model_dump_json().encode()})
        self.abandon()

    def abandon(self) -> None:
        """Close the file; the caller throws it away."""
        self._open(pa.schema([])).close()
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = duckdb.connect(config={"threads": self.settings.cpu_threads})
        return self._connection

    def _open(self, arriving: pa.Schema) -> pq.ParquetWriter:
        """The file, with types that keep what arrives first."""
        if self._writer is None:
            self._schema = _schema(self.contract, _types(self.contract, arriving))
            self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")
        return self._writer

    def _append(self, batch: pa.RecordBatch) -> None:
        before = self.rows
        self.rows += batch.num_rows
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        if self._waiting_rows >= GROUP_ROWS:
            self._flush()
        self._tell(before)

    def _tell(self, before: int) -> None:
        if before // PROGRESS_ROWS != self.rows // PROGRESS_ROWS:
            console.say(f"  {self.contract.name}: {self.rows:,} rows")

    def _flush(self) -> None:
        if self._waiting:
            self._open(self._schema).write_table(pa.Table.from_batches(self._waiting, schema=self._schema))
            self._waiting, self._waiting_rows = [], 0

    def _numbers(self, count: int) -> pa.Array:
        return pa.array(np.arange(self.rows + 1, self.rows + 1 + count, dtype=np.int64))

    def _from_arrow(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        nothing = pa.nulls(batch.num_rows, pa.string())
        names = batch.schema.names
        columns = [
            _as(batch.column(column.physical_name), self._schema.field(column.name).type)
            if column.physical_name in names
            else pa.nulls(batch.num_rows, self._schema.field(column.name).type)
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


def _types(contract: Contract, arriving: pa.Schema) -> dict[str, pa.DataType]:
    """Type in the inbox of each column that arrives in a type to be kept."""
    found = {}
    for column in contract.columns:
        if column.physical_name in arriving.names:
            kind = plain(arriving.field(column.physical_name).type)
            if readable(kind) and not column.repair and is_kept(column, kind):
                found[column.name] = kind
    return found


def _schema(contract: Contract, types: dict[str, pa.DataType]) -> pa.Schema:
    values = [pa.field(column.name, types.get(column.name, pa.string())) for column in contract.columns]
    return pa.schema([pa.field(ROW, pa.int64()), *values, pa.field(EXTRA, pa.string())])


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else pc.cast(column, kind)


def _json(values: dict[str, Any]) -> str | None:
    known = {name: value for name, value in values.items() if value is not None}
    return json.dumps(known, ensure_ascii=False, separators=(",", ":"), sort_keys=True) if known else None


def _text_array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([as_text(value) for value in values], pa.string())
