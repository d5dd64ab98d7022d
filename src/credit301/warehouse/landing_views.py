"""Shows landed Parquet to dbt as typed relations, also for a source that has landed nothing yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path

import duckdb

from credit301.contracts.model import Contract
from credit301.derive.dbt import IS_NEW, LANDING_SCHEMA, staging_name
from credit301.errors import WarehouseError
from credit301.sources.typed import literal
from credit301.warehouse.increment import Intake
from credit301.workspace import Workspace


def landed_files(workspace: Workspace, source: str) -> list[Path]:
    """Parquet files of a source's landing, in order of name."""
    return sorted((workspace.paths.landing / source).glob("*.parquet"))


def create_views(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Create ``landing.<source>`` for every source of the workspace."""
    show(connection, workspace, {})


def show(connection: duckdb.DuckDBPyConnection, workspace: Workspace, intakes: dict[str, Intake]) -> None:
    """Create ``landing.<source>`` for every source: all that has landed, or the changes where an intake is not full.

    The changes are the records of the new files with the staged versions of the same keys: what staging must write.
    They are a table, because several models ask for them and it takes a look at all of staging to find them.
    """
    connection.execute(f"create schema if not exists {LANDING_SCHEMA}")
    query = "select table_name, table_type from information_schema.tables where table_schema = ?"
    there = dict(connection.execute(query, [LANDING_SCHEMA]).fetchall())
    for contract in workspace.sources.values():
        if contract.name in there:
            kind = "view" if there[contract.name] == "VIEW" else "table"
            connection.execute(f'drop {kind} {LANDING_SCHEMA}."{contract.name}"')
        intake = intakes.get(contract.name)
        if intake is None or intake.full:
            kind, query = "view", records(contract, intake.files if intake else landed_files(workspace, contract.name))
        else:
            kind, query = "table", changes(contract, records(contract, intake.new), empty=not intake.new)
        connection.execute(f'create {kind} {LANDING_SCHEMA}."{contract.name}" as {query}')


def changes(contract: Contract, new: str, *, empty: bool = False) -> str:
    """The records of the query ``new``, and what staging has under the same keys in the columns of the landing.

    The column ``_is_new`` tells them apart. Where it is said to be empty, staging is not looked at.
    """
    if empty:
        return f"select *, true as {IS_NEW} from ({new}) as new where false"
    renamed = {"available_at": "known_from"} if contract.time.available_at == "available_at" else {}
    staged = {column.name: renamed.get(column.name, column.name) for column in contract.columns}
    same = " and ".join(f"new.{name} = old.{staged[name]}" for name in contract.primary_key)
    columns = ", ".join(f"old.{there} as {name}" for name, there in staged.items())
    return (
        f"select *, true as {IS_NEW} from ({new}) as landed "
        f"union all select {columns}, false as {IS_NEW} from staging.{staging_name(contract.name)} as old "
        f"where exists (select 1 from ({new}) as new where {same})"
    )


def newest_records(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, intakes: dict[str, Intake]
) -> dict[str, datetime | None]:
    """The time of the newest landed record of every source; of what was seen before only that time is looked at."""
    newest: dict[str, datetime | None] = {}
    for contract in workspace.sources.values():
        column, intake = contract.time.available_at or contract.time.event_time, intakes[contract.name]
        newest[contract.name] = intake.newest
        files = intake.files if intake.newest is None else intake.new
        if column is None or not files:
            continue
        query = f"select max(cast({column} as timestamp)) from ({records(contract, files)})"
        times = [time for time in (intake.newest, connection.execute(query).fetchall()[0][0]) if time is not None]
        newest[contract.name] = max(times, default=None)
    return newest


def latest_known(workspace: Workspace, found: dict[str, datetime | None]) -> datetime:
    """The time of the newest landed record of any source that has a time: the warehouse's "now".

    Where attributes without a time are all that there is, it is the start of the day.

    Raises:
        WarehouseError: nothing has landed.
    """
    posted = {name for name, contract in workspace.sources.items() if contract.windows is not None}
    # What is posted to a simulated city bears the clock on the wall, where the city's own stands still.
    still = posted if workspace.definition.simulated else set()
    newest = [time for name, time in found.items() if time is not None and name not in still]
    if not newest and any(landed_files(workspace, source) for source in workspace.sources):
        return datetime.combine(date.today(), time())  # noqa: DTZ011  (all times are the city's wall clock)
    if not newest:
        raise WarehouseError(
            "Nothing has landed yet.", hint="Run `credit301 ingest` for the workspace's sources first."
        )
    return max(newest)


def records(contract: Contract, files: Sequence[Path]) -> str:
    """Query of the records in landed ``files``: the contract's columns, each of its type."""
    if not files:
        columns = ", ".join(f"cast(null as {column.sql_type}) as {column.name}" for column in contract.columns)
        return f"select {columns} where false"
    listed = ", ".join(literal(str(path)) for path in files)
    columns = ", ".join(column.name for column in contract.columns)
    return f"select {columns} from read_parquet([{listed}], union_by_name = true)"
