"""Shows landed Parquet to dbt as typed relations, also for a source that has landed nothing yet."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb

from credit301.contracts.model import Contract
from credit301.derive.dbt import LANDING_SCHEMA
from credit301.errors import WarehouseError
from credit301.workspace import Workspace


def landed_files(workspace: Workspace, source: str) -> list[Path]:
    """Parquet files of a source's landing, in order of name."""
    return sorted((workspace.paths.landing / source).glob("*.parquet"))


def create_views(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Create ``landing.<source>`` for every source of the workspace."""
    connection.execute(f"create schema if not exists {LANDING_SCHEMA}")
    for contract in workspace.sources.values():
        connection.execute(
            f'create or replace view {LANDING_SCHEMA}."{contract.name}" as {_select(workspace, contract)}'
        )


def latest_known(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> datetime:
    """The time of the newest landed record of any source that has a time: the warehouse's "now".

    Raises:
        WarehouseError: nothing that has a time has landed.
    """
    newest: list[datetime] = []
    for contract in workspace.sources.values():
        column = contract.time.available_at or contract.time.event_time
        if column is None:
            continue
        row = connection.execute(
            f'select max(cast({column} as timestamp)) from {LANDING_SCHEMA}."{contract.name}"'
        ).fetchone()
        if row and row[0] is not None:
            newest.append(row[0])
    if not newest:
        raise WarehouseError(
            "Nothing has landed yet.", hint="Run `credit301 ingest` for the workspace's sources first."
        )
    return max(newest)


def _select(workspace: Workspace, contract: Contract) -> str:
    files = landed_files(workspace, contract.name)
    if files:
        pattern = str(workspace.paths.landing / contract.name / "*.parquet").replace("'", "''")
        columns = ", ".join(column.name for column in contract.columns)
        return f"select {columns}, _record_hash from read_parquet('{pattern}', union_by_name = true)"
    columns = ", ".join(f"cast(null as {column.sql_type}) as {column.name}" for column in contract.columns)
    return f"select {columns}, cast(null as varchar) as _record_hash where false"
