"""Records that are there already: earlier in the same batch, or landed.

Two records are the same if all values of the contract's columns are; nothing is decided by a hash. A 64-bit hash of the
key at the time it became known only narrows down which records are compared: equal records have equal keys, so that no
repetition is missed, and where no key occurs again, as in almost every batch, the key is all that is read.
"""

from __future__ import annotations

import duckdb

from credit301.contracts.model import Column, Contract
from credit301.sources.batches import SUFFIX, Store
from credit301.sources.typed import ROW, is_text, literal, quote, sent_name

SUSPECTS = "suspects"
REPEATS = "repeats"
KNOWN = "known"


def version_key(contract: Contract) -> tuple[str, ...]:
    """Columns that tell versions of records apart: the primary key and when a version became known."""
    known = contract.time.available_at
    key = contract.primary_key
    return (*key, known) if known and known not in key else key


def key_hash(contract: Contract) -> str:
    """SQL expression of a hash of the version key; it is never stored, for another DuckDB may hash otherwise."""
    return f"hash({', '.join(quote(name) for name in version_key(contract))})"


def find_repeats(connection: duckdb.DuckDBPyConnection, contract: Contract, view: str) -> int:
    """Make the table ``repeats`` of the ``_row`` of every record of ``view`` that is there before; return their number.

    A row without any value (a malformed line) is like no other row. Also makes the table ``suspects`` (``h``): the
    hashes of keys that occur more than once.
    """
    key = key_hash(contract)
    connection.execute(
        f"CREATE OR REPLACE TABLE {SUSPECTS} AS "
        f"SELECT h FROM (SELECT {key} AS h FROM {view}) GROUP BY h HAVING count(*) > 1"
    )
    values = ", ".join(_identity(contract))
    again = (
        f"SELECT {ROW} FROM (SELECT {ROW}, row_number() OVER (PARTITION BY {values} ORDER BY {ROW}) AS number "
        f"FROM {view} WHERE {key} IN (SELECT h FROM {SUSPECTS}) AND coalesce({_any_text(contract)}) IS NOT NULL) "
        "WHERE number > 1"
    )
    if _count(connection, SUSPECTS) == 0:
        again = f"SELECT {ROW} FROM {view} WHERE false"
    connection.execute(f"CREATE OR REPLACE TABLE {REPEATS} AS {again}")
    return _count(connection, REPEATS)


def find_known(connection: duckdb.DuckDBPyConnection, store: Store, view: str) -> int:
    """Make the table ``known`` of the ``_row`` of every record of ``view`` that has landed; return their number.

    A landed record that is the same has the same time, so that only the batch's range of time is read: Parquet's
    statistics tell which row groups that is.
    """
    contract, key = store.contract, key_hash(store.contract)
    connection.execute(f"CREATE OR REPLACE TABLE {KNOWN} AS SELECT {ROW} FROM {view} WHERE false")
    landed = _landed(connection, store)
    condition = _same_time(connection, contract, view) if landed else ""
    if not landed or not connection.execute(f"SELECT 1 FROM {landed} WHERE {condition} LIMIT 1").fetchall():
        return 0
    connection.execute(
        f"CREATE OR REPLACE TABLE met AS SELECT * FROM {landed} WHERE {condition} "
        f"AND {key} IN (SELECT {key} FROM {view})"
    )
    if _count(connection, "met"):
        same = " AND ".join(f"a.{name} IS NOT DISTINCT FROM b.{name}" for name in _names(contract))
        readable = " AND ".join(
            [f"({quote(column.name)} IS NOT NULL OR {sent} IS NULL)" for column, sent in _sent(contract)] or ["true"]
        )
        connection.execute(
            f"INSERT INTO {KNOWN} SELECT a.{ROW} FROM (SELECT * FROM {view} "
            f"WHERE {key} IN (SELECT {key} FROM met) AND {readable}) AS a SEMI JOIN met AS b ON {same}"
        )
    connection.execute("DROP TABLE met")
    return _count(connection, KNOWN)


def _landed(connection: duckdb.DuckDBPyConnection, store: Store) -> str:
    """Relation of all landed records, with the columns and types that the contract has now; empty without any."""
    if not any(store.landing.glob(f"*{SUFFIX}")):
        return ""
    files = f"read_parquet({literal(str(store.landing / ('*' + SUFFIX)))}, union_by_name = true)"
    there = {str(row[0]) for row in connection.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()}
    items = ", ".join(
        f"TRY_CAST({quote(column.name) if column.name in there else 'NULL'} AS {column.sql_type}) "
        f"AS {quote(column.name)}"
        for column in store.contract.columns
    )
    return f"(SELECT {items} FROM {files})"


def _same_time(connection: duckdb.DuckDBPyConnection, contract: Contract, view: str) -> str:
    column = contract.time.available_at or contract.time.event_time
    if column is None:
        return "true"
    time = quote(column)
    first, last, without = connection.execute(
        f"SELECT CAST(min({time}) AS VARCHAR), CAST(max({time}) AS VARCHAR), count(*) - count({time}) FROM {view}"
    ).fetchall()[0]
    kind = contract.column(column).sql_type
    ranges = [f"{time} BETWEEN CAST({literal(first)} AS {kind}) AND CAST({literal(last)} AS {kind})"] if first else []
    ranges += [f"{time} IS NULL"] if without else []
    return f"({' OR '.join(ranges)})" if ranges else "false"


def _names(contract: Contract) -> list[str]:
    return [quote(column.name) for column in contract.columns]


def _sent(contract: Contract) -> list[tuple[Column, str]]:
    return [(column, quote(sent_name(column))) for column in contract.columns if not is_text(column)]


def _identity(contract: Contract) -> list[str]:
    """What makes a record: its values and, where a text is none, the text."""
    rejected = [f"CASE WHEN {quote(column.name)} IS NULL THEN {sent} END" for column, sent in _sent(contract)]
    return [*_names(contract), *rejected]


def _any_text(contract: Contract) -> str:
    return ", ".join(f"CAST({quote(sent_name(column))} AS VARCHAR)" for column in contract.columns)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])
