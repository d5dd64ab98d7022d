"""Taking rows and values out of a DuckDB file. A delete leaves the bytes in the file, so what stays is copied anew."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb

from credit301.errors import WarehouseError
from credit301.governance.erasure.target import Counts, Target
from credit301.sources.typed import literal, quote

_TABLES = (
    "select table_schema, table_name from information_schema.tables where table_catalog = current_database() "
    "and table_type = 'BASE TABLE'"
)
_COLUMNS = (
    "select column_name, data_type from information_schema.columns where table_catalog = current_database() "
    "and table_schema = ? and table_name = ?"
)


def erase(path: Path, target: Target) -> Counts:
    """Put a copy without ``target`` in the place of ``path``; one in which it does not stand is left as it is.

    Raises:
        WarehouseError: another process has the file open.
    """
    found = Counts()
    changed, fresh = (path.with_name(f".{path.name}.{os.getpid()}.{part}") for part in ("changed", "fresh"))
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = [(schema, table) for schema, table in connection.execute(_TABLES).fetchall()]
            if not any(_hits(connection, schema, table, target) for schema, table in tables):
                return found
        shutil.copyfile(path, changed)
        with duckdb.connect(str(changed)) as connection:
            for schema, table in tables:
                _change(connection, schema, table, target, found)
        with duckdb.connect() as connection:
            connection.execute(f"attach {literal(str(changed))} as changed (read_only)")
            connection.execute(f"attach {literal(str(fresh))} as fresh")
            connection.execute("copy from database changed to fresh")
            connection.execute("detach fresh")
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.chmod(path.stat().st_mode)
        fresh.replace(path)
        found.files = 1
    except duckdb.IOException as error:
        raise WarehouseError(
            f"{path.name} cannot be rewritten: another process has it open.",
            hint="Let the build (or the reader) end, then run the same erasure again: it goes on where it was.",
        ) from error
    finally:
        for made in (changed, fresh):
            for left_over in (made, made.with_name(f"{made.name}.wal")):
                left_over.unlink(missing_ok=True)
    return found


def _columns(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, str]:
    rows = connection.execute(_COLUMNS, [schema, table]).fetchall()
    return {name: kind for name, kind in rows if "VARCHAR" in kind or kind == "JSON"}


def _mention(name: str) -> str:
    return f"contains(upper(cast({quote(name)} as varchar)), $value)"


def _count(connection: duckdb.DuckDBPyConnection, table: str, condition: str, value: str) -> int:
    query = f"select count(*) from {table} where {condition}"
    return int(connection.execute(query, {"value": value}).fetchall()[0][0])


def _hits(connection: duckdb.DuckDBPyConnection, schema: str, table: str, target: Target) -> int:
    columns = _columns(connection, schema, table)
    condition = " or ".join(map(_mention, columns)) or "false and $value = ''"
    return _count(connection, f"{quote(schema)}.{quote(table)}", condition, target.value.upper())


def _change(connection: duckdb.DuckDBPyConnection, schema: str, table: str, target: Target, found: Counts) -> None:
    name, value = f"{quote(schema)}.{quote(table)}", target.value.upper()
    columns = _columns(connection, schema, table)
    for key in sorted(target.keys & set(columns)):
        mine = f"upper(trim({quote(key)})) = $value"
        found.rows += _count(connection, name, mine, value)
        connection.execute(f"delete from {name} where {mine}", {"value": value})
    for column, kind in columns.items():
        if hits := _count(connection, name, _mention(column), value):
            found.values += hits
            clean = f"regexp_replace(cast({quote(column)} as varchar), $pattern, $stand_in, 'gi')"
            connection.execute(
                f"update {name} set {quote(column)} = cast({clean} as {kind}) where {_mention(column)}",
                {"value": value, "pattern": target.pattern.pattern, "stand_in": target.stand_in},
            )
