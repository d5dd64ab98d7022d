"""Taking rows and values out of a warehouse on PostgreSQL. A delete leaves the bytes there, so tables are rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from credit301.errors import WarehouseError
from credit301.governance.erasure.target import Counts, Target
from credit301.settings import Warehouse
from credit301.warehouse.engines.postgres import Postgres

if TYPE_CHECKING:
    from credit301.workspace import Workspace

Connection = psycopg.Connection[tuple[Any, ...]]
STATISTICS = sql.Identifier("pg_catalog", "pg_statistic")
# Every column of every table that can hold a text, with its type.
_COLUMNS = """
select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
from pg_attribute as a
inner join pg_class as c on c.oid = a.attrelid
inner join pg_namespace as n on n.oid = c.relnamespace
inner join pg_type as t on t.oid = a.atttypid
left join pg_type as item on item.oid = t.typelem
where
  c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
  and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
  and (t.typcategory = 'S' or t.typname in ('json', 'jsonb') or item.typcategory = 'S')
order by 1, 2, a.attnum
"""


def erase(workspace: Workspace, target: Target) -> Counts:
    """Take ``target`` out of every table of the warehouse, where that is on PostgreSQL; of its files too.

    Raises:
        WarehouseError: the server does not answer, or a table is in use.
    """
    found = Counts()
    if workspace.settings.warehouse_engine is not Warehouse.POSTGRES:
        return found
    try:
        with Postgres(workspace).connect() as connection:
            tables: dict[tuple[str, str], dict[str, str]] = {}
            for schema, table, column, kind in connection.execute(_COLUMNS).fetchall():
                tables.setdefault((schema, table), {})[column] = kind
            changed = [
                table
                for name, columns in tables.items()
                if _change(connection, table := sql.Identifier(*name), columns, target, found)
            ]
            connection.commit()
            _rewrite(connection, changed)
    except psycopg.Error as error:
        raise WarehouseError(
            f"The warehouse on PostgreSQL cannot be changed: {type(error).__name__}.",
            hint="Let it answer and its readers end, then run the same erasure again: it goes on where it was.",
        ) from error
    return found


def _change(
    connection: Connection, table: sql.Identifier, columns: dict[str, str], target: Target, found: Counts
) -> bool:
    value = target.value.upper()
    rows = values = 0
    for key in sorted(target.keys & set(columns)):
        deleting = sql.SQL("delete from {} where upper(trim(cast({} as text))) = %s")
        rows += connection.execute(deleting.format(table, sql.Identifier(key)), [value]).rowcount
    for name, kind in columns.items():
        column = sql.Identifier(name)
        cleaning = sql.SQL(
            "update {table} set {column} = cast(regexp_replace(cast({column} as text), %s, %s, 'gi') as {kind}) "
            "where position(%s in upper(cast({column} as text))) > 0"
        ).format(table=table, column=column, kind=sql.SQL(kind))
        values += connection.execute(cleaning, [target.pattern.pattern, target.stand_in, value]).rowcount
    found.add(Counts(rows=rows, values=values))
    return bool(rows or values)


def _rewrite(connection: Connection, tables: Sequence[sql.Identifier]) -> None:
    """Write the tables anew and look at their values again: PostgreSQL keeps frequent ones in its statistics."""
    connection.autocommit = True
    for table in [*tables, STATISTICS] if tables else []:
        connection.execute(sql.SQL("vacuum (full, analyze) {}").format(table))
