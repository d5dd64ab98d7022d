"""A batch as SQL: one view of its typed values, whatever its records came as, and its records as they were sent.

Values that arrived typed are read where they are. Texts are typed once, into a file of their own that the validation
writes and the landing reads; it can be made again from the inbox at any time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from credit301.contracts.model import Column, Contract, LogicalType
from credit301.files import replacing
from credit301.sources.batches import Batch, Part, Store
from credit301.sources.native import is_kept, is_string, may_be_rejected, plain, value
from credit301.sources.repairs import repaired
from credit301.sources.typed import (
    EPOCHS,
    EXTRA,
    ROW,
    file_relation,
    is_text,
    literal,
    quote,
    sent_name,
    typed_items,
)


@dataclass(frozen=True)
class _Piece:
    """Some rows of a batch: an SQL relation of ``_row``, ``_extra`` and the contract's columns as they arrived."""

    relation: str
    types: dict[str, pa.DataType]
    padded: frozenset[str] | None = None
    finite: frozenset[str] = frozenset()

    def keeps(self, column: Column) -> bool:
        """Whether the column's values are taken over as they are."""
        return not column.repair and is_kept(column, self.types[column.name])


def make_view(connection: duckdb.DuckDBPyConnection, store: Store, batch: Batch, view: str) -> None:
    """Make the view ``view`` of the batch's typed values.

    It has ``_row``, each column's value and, for columns of other types than text, what was sent or at least whether
    anything was (``<column>__sent``, see :func:`credit301.sources.typed.sent_name`).

    Raises:
        ContractError: the contract has a type that no value can be given.
    """
    queries = []
    for number, piece in enumerate(_pieces(store, batch)):
        if all(piece.keeps(column) for column in store.contract.columns):
            queries.append(_typed(store.contract, piece))
        else:
            queries.append(_typed_once(connection, store, batch, number, piece))
    connection.execute(f"CREATE OR REPLACE VIEW {view} AS {' UNION ALL BY NAME '.join(queries)}")


def sent_rows(store: Store, batch: Batch, chosen: str | None = None) -> str:
    """SQL relation of records as they were sent, every value as text; ``chosen``, a query of ``_row``, says which."""
    queries = []
    where = f" WHERE {ROW} IN ({chosen})" if chosen else ""
    for piece in _pieces(store, batch):
        items = ", ".join(_as_text(column, piece.types[column.name]) for column in store.contract.columns)
        queries.append(f"SELECT {ROW}, {EXTRA}, {items} FROM (SELECT * FROM {piece.relation}{where})")
    return f"({' UNION ALL BY NAME '.join(queries)})"


def _pieces(store: Store, batch: Batch) -> list[_Piece]:
    like = groupby(batch.parts, key=lambda part: (part.unknown, _arrow_types(store, batch, part)))
    pieces = [_parts(store, batch, list(parts)) for _, parts in like]
    if not pieces or sum(part.rows for part in batch.parts) < batch.rows:
        file = store.inbox_file(batch.pull_id)
        there = pq.read_schema(file)
        types = {
            column.name: there.field(column.name).type if column.name in there.names else pa.string()
            for column in store.contract.columns
        }
        pieces.append(_Piece(file_relation(store.contract, file), types))
    return pieces


def _arrow_types(store: Store, batch: Batch, part: Part) -> dict[str, pa.DataType | None]:
    """Type of each of the contract's columns in a part; ``None`` where it is absent."""
    schema = pq.read_schema(store.part_file(batch.pull_id, part))
    return {
        column.name: schema.field(column.physical_name).type if column.physical_name in schema.names else None
        for column in store.contract.columns
    }


def _parts(store: Store, batch: Batch, parts: list[Part]) -> _Piece:
    """Parts that follow one another and are alike: one scan, which DuckDB plans once."""
    types = _arrow_types(store, batch, parts[0])
    items = [
        f"{'NULL' if types[column.name] is None else quote(column.physical_name)} AS {quote(column.name)}"
        for column in store.contract.columns
    ]
    known = [
        f"CASE WHEN {quote(name)} IS NOT NULL THEN {literal(json.dumps(name, ensure_ascii=False) + ':')} "
        f"|| CAST(to_json(CAST({quote(name)} AS VARCHAR)) AS VARCHAR) END"
        for name in parts[0].unknown
    ]
    extra = f"nullif('{{' || concat_ws(',', {', '.join(known)}) || '}}', '{{}}')" if known else "CAST(NULL AS VARCHAR)"
    files = ", ".join(literal(str(store.part_file(batch.pull_id, part))) for part in parts)
    before = ", ".join(str(part.before) for part in parts)
    row = f"file_row_number + 1 + CAST([{before}] AS BIGINT[])[CAST(file_index AS BIGINT) + 1]"
    relation = f"(SELECT {row} AS {ROW}, {extra} AS {EXTRA}, {', '.join(items)} FROM read_parquet([{files}]))"
    padded = {name for part in parts for name in part.padded}
    finite = set.intersection(*(set(part.finite) for part in parts))
    return _Piece(
        relation,
        {name: pa.null() if kind is None else kind for name, kind in types.items()},
        frozenset(column.name for column in store.contract.columns if column.physical_name in padded),
        frozenset(column.name for column in store.contract.columns if column.physical_name in finite),
    )


def _typed(contract: Contract, piece: _Piece) -> str:
    """SELECT of the values of a piece, the texts among them typed."""
    texts = [column for column in contract.columns if not piece.keeps(column)]
    relation = piece.relation
    if texts:
        cast = ", ".join(f"CAST({quote(column.name)} AS VARCHAR) AS {quote(column.name)}" for column in texts)
        relation = repaired(contract, f"(SELECT * REPLACE ({cast}) FROM {relation})")
    items = [
        item
        for column in contract.columns
        for item in (_kept_items(column, piece) if piece.keeps(column) else typed_items(column))
    ]
    return f"SELECT {ROW}, {', '.join(items)} FROM {relation}"


def _kept_items(column: Column, piece: _Piece) -> list[str]:
    item, kind = quote(column.name), piece.types[column.name]
    padded = piece.padded is None or column.name in piece.padded
    known = f"{value(column, kind, item, padded=padded, finite=column.name in piece.finite)} AS {item}"
    return [known] if is_text(column) else [known, f"{item} AS {quote(sent_name(column))}"]


def _typed_once(connection: duckdb.DuckDBPyConnection, store: Store, batch: Batch, number: int, piece: _Piece) -> str:
    file = store.typed_file(batch.pull_id, number)
    others = [column for column in store.contract.columns if not is_text(column)]
    if not file.exists():
        # Only what is no value of its type is kept as text.
        rejected = ", ".join(
            f"CASE WHEN {quote(column.name)} IS NULL THEN CAST({name} AS VARCHAR) END AS {name}"
            for column in others
            for name in [quote(sent_name(column))]
        )
        query = f"SELECT * {f'REPLACE ({rejected})' if rejected else ''} FROM ({_typed(store.contract, piece)})"
        with replacing(file) as temporary:
            connection.execute(f"COPY ({query}) TO {literal(str(temporary))} (FORMAT parquet, COMPRESSION snappy)")
    sent = ", ".join(
        f"CASE WHEN {quote(column.name)} IS NOT NULL THEN '' ELSE {name} END AS {name}"
        for column in others
        for name in [quote(sent_name(column))]
    )
    return f"SELECT * {f'REPLACE ({sent})' if sent else ''} FROM read_parquet({literal(str(file))})"


def _as_text(column: Column, kind: pa.DataType) -> str:
    item = quote(column.name)
    text = f"CAST({item} AS VARCHAR)"
    temporal = column.logical_type in (LogicalType.DATE, LogicalType.TIMESTAMP)
    if column.date_format and temporal and not is_string(kind) and may_be_rejected(plain(kind)):
        # Written as the contract says that the source writes it, so that it can be read again.
        if column.date_format in EPOCHS:
            written = f"CAST(epoch_ms({item}) / {EPOCHS[column.date_format]} AS VARCHAR)"
        else:
            written = f"strftime({item}, {literal(column.date_format.split('|')[0].strip())})"
        text = f"CASE WHEN isfinite({item}) THEN {written} ELSE {text} END"
    return f"{text} AS {item}"
