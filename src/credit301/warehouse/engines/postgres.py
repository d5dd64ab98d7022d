"""PostgreSQL: a database for each workspace; landed files are copied in, each once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import duckdb
import psycopg
from psycopg import sql

from credit301.contracts.model import Contract
from credit301.derive.dbt import LANDING_SCHEMA, MARTS_SCHEMA
from credit301.sources.typed import literal
from credit301.stack.postgres import create_databases
from credit301.warehouse.engines.base import SCHEMAS, Engine
from credit301.warehouse.increment import Increment, Intake
from credit301.warehouse.landing_views import changes, records

NEW_SCHEMA = "landing_new"
NULL = "\\N"
TYPES = {"DOUBLE": "double precision", "FLOAT": "real", "TINYINT": "smallint", "HUGEINT": "numeric(38,0)"}
# Types of exported columns; everything else is text.
READ_BACK = {
    "double precision": "DOUBLE",
    "real": "FLOAT",
    "bigint": "BIGINT",
    "integer": "INTEGER",
    "smallint": "SMALLINT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp without time zone": "TIMESTAMP",
}


class Postgres(Engine):
    """The database ``warehouse_<workspace>`` of the PostgreSQL that the settings name."""

    name = "postgres"
    types: ClassVar[dict[str, str]] = {"text_type": "varchar", "float_type": "double precision"}

    @property
    def database(self) -> str:
        """Name of the database."""
        return f"warehouse_{self.workspace.name}"

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection to the warehouse's database, which is made where there is none."""
        create_databases(self.workspace.settings, [self.database])
        return psycopg.connect(self.workspace.settings.postgres_address(self.database))

    def tables(self) -> set[str]:
        """Tables of the schemas that models are built in."""
        with self.connect() as connection:
            query = "select table_name from information_schema.tables where table_schema = any(%s)"
            return {str(name) for (name,) in connection.execute(query, [list(SCHEMAS)])}

    def show(self, increment: Increment) -> None:
        """Copy new files into ``landing_new``; ``landing`` shows them with the staged versions of their keys."""
        with self.connect() as connection, duckdb.connect() as reader:
            for schema in (LANDING_SCHEMA, NEW_SCHEMA):
                connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
            for model in increment.anew:
                name = sql.Identifier(increment.schemas[model], model)
                connection.execute(sql.SQL("drop table if exists {} cascade").format(name))
            for contract in self.workspace.sources.values():
                self._copy(connection, reader, contract, increment.intakes[contract.name])

    def _copy(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        reader: duckdb.DuckDBPyConnection,
        contract: Contract,
        intake: Intake,
    ) -> None:
        table = sql.Identifier(NEW_SCHEMA, contract.name)
        shown = sql.Identifier(LANDING_SCHEMA, contract.name)
        typed = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(_type(column.sql_type)))
            for column in contract.columns
        )
        there = "select table_type from information_schema.tables where table_schema = %s and table_name = %s"
        for (kind,) in connection.execute(there, [LANDING_SCHEMA, contract.name]).fetchall():
            what = sql.SQL("view" if kind == "VIEW" else "table")
            connection.execute(sql.SQL("drop {} {} cascade").format(what, shown))
        connection.execute(sql.SQL("drop table if exists {} cascade").format(table))
        connection.execute(sql.SQL("create unlogged table {} ({})").format(table, typed))
        if intake.new:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "new.csv"
                texts = ", ".join(column.name for column in contract.columns if column.sql_type.startswith("VARCHAR"))
                quoted = f", force_quote ({texts})" if texts else ""
                reader.execute(
                    f"copy ({records(contract, intake.new)}) to {literal(str(path))} "
                    f"(format csv, header false, nullstr {literal(NULL)}{quoted})"
                )
                copying = sql.SQL("copy {} from stdin (format csv, null {})").format(table, sql.Literal(NULL))
                with connection.cursor().copy(copying) as copy, path.open("rb") as file:
                    while block := file.read(1 << 20):
                        copy.write(block)
        new = f'select * from {NEW_SCHEMA}."{contract.name}"'
        connection.execute(sql.SQL("analyze {}").format(table))
        query = new if intake.full else changes(contract, new, empty=not intake.new)
        kind = sql.SQL("view" if intake.full else "unlogged table")
        connection.execute(sql.SQL("create {} {} as {}").format(kind, shown, sql.SQL(query)))
        if not intake.full:
            connection.execute(sql.SQL("analyze {}").format(shown))

    def build(self, project: Path, arguments: Sequence[str], target: Path | None) -> tuple[int, dict[str, int]]:
        """Run dbt, then copy the marts out."""
        address = urlsplit(self.workspace.settings.postgres_address(self.database))
        given = {
            "CREDIT301_WAREHOUSE_HOST": address.hostname or "",
            "CREDIT301_WAREHOUSE_PORT": str(address.port or 5432),
            "CREDIT301_WAREHOUSE_USER": unquote(address.username or ""),
            "DBT_ENV_SECRET_WAREHOUSE_PASSWORD": unquote(address.password or ""),
            "CREDIT301_WAREHOUSE_DATABASE": self.database,
        }
        code = self.run_dbt(arguments, project, given)
        if code or target is None:
            return code, {}
        rows: dict[str, int] = {}
        with self.connect() as connection, duckdb.connect() as writer:
            query = (
                "select table_name, array_agg(array[column_name::text, data_type::text, numeric_precision::text, "
                "numeric_scale::text] order by ordinal_position) from information_schema.columns "
                "where table_schema = %s group by table_name order by table_name"
            )
            for name, columns in connection.execute(query, [MARTS_SCHEMA]).fetchall():
                rows[name] = _export(connection, writer, name, columns, target / f"{name}.parquet")
        return code, rows


def _export(
    connection: psycopg.Connection[tuple[Any, ...]],
    writer: duckdb.DuckDBPyConnection,
    name: str,
    columns: Iterable[Sequence[str | None]],
    path: Path,
) -> int:
    typed = ", ".join(
        f"{literal(column)}: {literal(_read_back(kind, precision, scale))}"
        for column, kind, precision, scale in columns
    )
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        table = sql.Identifier(MARTS_SCHEMA, name)
        copying = sql.SQL("copy (select * from {}) to stdout (format csv, null {}, force_quote *)").format(
            table, sql.Literal(NULL)
        )
        with connection.cursor().copy(copying) as copy:
            for block in copy:
                file.write(block)
        file.flush()
        # Empty texts are quoted, and only what stands unquoted as the mark is null.
        read = (
            f"read_csv({literal(file.name)}, header = false, delim = ',', quote = '\"', escape = '\"', "
            f"nullstr = {literal(NULL)}, allow_quoted_nulls = false, auto_detect = false, columns = {{{typed}}})"
        )
        done = writer.execute(f"copy (from {read}) to {literal(str(path))} (format parquet)").fetchall()
    return int(done[0][0])


def _type(kind: str) -> str:
    return TYPES.get(kind, kind)


def _read_back(kind: str | None, precision: str | None, scale: str | None) -> str:
    if kind == "numeric":
        return f"DECIMAL({precision},{scale})" if precision else "DOUBLE"
    return READ_BACK.get(kind or "", "VARCHAR")
