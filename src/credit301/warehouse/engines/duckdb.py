"""DuckDB: one file on one machine; the landing is read where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import duckdb
from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_fixed

from credit301.derive.dbt import MARTS_SCHEMA
from credit301.errors import WarehouseError
from credit301.sources.typed import literal, quote
from credit301.warehouse.engines.base import SCHEMAS, Engine
from credit301.warehouse.increment import Increment
from credit301.warehouse.landing_views import create_views, show

#: How long a warehouse may be held by someone else, who reads it or whose process is just ending.
PATIENCE_SECONDS = 15.0
_patiently = Retrying(
    retry=retry_if_exception_message(match="(?s).*Could not set lock"),
    stop=stop_after_delay(PATIENCE_SECONDS),
    wait=wait_fixed(0.1),
    reraise=True,
)
TABLES = "select table_name from information_schema.tables where table_schema = ? order by table_name"


class DuckDB(Engine):
    """The file ``warehouse.duckdb`` of the workspace."""

    name = "duckdb"
    types: ClassVar[dict[str, str]] = {"text_type": "varchar", "float_type": "double"}

    def _connect(self, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
        path = self.workspace.paths.warehouse
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _patiently(duckdb.connect, str(path), read_only=read_only, config=self._limits())
        except duckdb.IOException as error:
            raise WarehouseError(
                f"The warehouse could not be opened: {error}",
                hint="If another process holds it (the message names it), let that end or end it, then build again.",
            ) from error

    def _limits(self) -> dict[str, str | bool | int | float | list[str]]:
        return {
            "threads": self.workspace.settings.cpu_threads,
            "memory_limit": f"{self.workspace.settings.warehouse_memory:.1f}GiB",
            "temp_directory": str(self._spill()),
            "preserve_insertion_order": False,
        }

    def _spill(self) -> Path:
        return self.workspace.paths.warehouse.with_suffix(".spill")

    def tables(self) -> set[str]:
        """Tables of the schemas that models are built in."""
        if not self.workspace.paths.warehouse.exists():
            return set()
        with self._connect(read_only=True) as connection:
            return {str(name) for schema in SCHEMAS for (name,) in connection.execute(TABLES, [schema]).fetchall()}

    def show(self, increment: Increment) -> None:
        """Views over the landed files, tables of changes."""
        with self._connect() as connection:
            for model in increment.anew:
                connection.execute(f"drop table if exists {increment.schemas[model]}.{quote(model)}")
            show(connection, self.workspace, increment.intakes)

    def build(self, project: Path, arguments: Sequence[str], target: Path | None) -> tuple[int, dict[str, int]]:
        """Run dbt, then copy the marts out."""
        limits = {
            "CREDIT301_WAREHOUSE_PATH": str(self.workspace.paths.warehouse),
            "CREDIT301_WAREHOUSE_MEMORY": f"{self.workspace.settings.warehouse_memory:.1f}GiB",
            "CREDIT301_WAREHOUSE_SPILL": str(self._spill()),
        }
        code = self.run_dbt(arguments, project, limits)
        if code or target is None:
            return code, {}
        rows: dict[str, int] = {}
        with self._connect() as connection:
            create_views(connection, self.workspace)
            for (name,) in connection.execute(TABLES, [MARTS_SCHEMA]).fetchall():
                path = literal(str(target / f"{name}.parquet"))
                done = connection.execute(f"copy (from {MARTS_SCHEMA}.{quote(name)}) to {path} (format parquet)")
                rows[name] = int(done.fetchall()[0][0])
        return code, rows
