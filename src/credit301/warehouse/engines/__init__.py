"""The engines that the warehouse runs on: the same dbt project, and for each a way to show the landing and export."""

from __future__ import annotations

from credit301.settings import Warehouse
from credit301.warehouse.engines.base import Engine
from credit301.workspace import Workspace

__all__ = ["Engine", "engine_of"]


def engine_of(workspace: Workspace) -> Engine:
    """The engine that the settings name."""
    match workspace.settings.warehouse_engine:
        case Warehouse.POSTGRES:
            from credit301.warehouse.engines.postgres import Postgres

            return Postgres(workspace)
        case Warehouse.SPARK:
            from credit301.warehouse.engines.spark import Spark

            return Spark(workspace)
        case Warehouse.DUCKDB:
            from credit301.warehouse.engines.duckdb import DuckDB

            return DuckDB(workspace)
