"""Great Expectations on DuckDB: its SQL engine with the connection held open, and the expectation on rows.

GX 1.24 closes a connection before it has fetched from it, which DuckDB does not survive (great_expectations #11579,
#10738). Importing this module imports GX.
"""

from __future__ import annotations

import builtins
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import sqlalchemy as sa
from great_expectations.datasource.fluent import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.core import UnexpectedRowsExpectation

# A named in-memory database is shared by all connections of the process.
CONNECTION_STRING = "duckdb:///:memory:inbox"


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
    """The SQL engine of GX that keeps the one connection it opens."""

    _connection: sa.Connection | None

    @contextmanager
    def get_connection(self) -> Generator[sa.Connection, None, None]:
        """The connection, opened at the first call."""
        if not self._connection:
            self._connection = self.engine.connect()
        try:
            yield self._connection
        except sa.exc.DBAPIError:
            # One query that fails must not take the others down with its transaction.
            self._connection.rollback()
            raise

    def see_new_tables(self) -> None:
        """End the transaction that earlier queries began; it would go on seeing the database as it was then."""
        if self._connection:
            self._connection.rollback()


class DuckDBDatasource(SQLDatasource):
    """An in-memory DuckDB as a data source of GX."""

    # GX requires the annotation; the attribute hides the builtin that the annotation below would need.
    type: Literal["duckdb"] = "duckdb"

    @property
    def execution_engine_type(self) -> builtins.type[SqlAlchemyExecutionEngine]:
        """The engine that holds its connection."""
        return DuckDBExecutionEngine


class ExpectRowsToSatisfy(UnexpectedRowsExpectation):
    """Expect at least the share ``mostly`` of the rows not to be among those that a query selects.

    Unlike its base it counts the rows without fetching any (they may be personal), and allows for a tolerance.
    """

    mostly: float = 1.0

    metric_dependencies: ClassVar[tuple[str, ...]] = ("unexpected_rows_query.row_count", "table.row_count")
    success_keys: ClassVar[tuple[str, ...]] = ("unexpected_rows_query", "mostly")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002 - GX passes all three
        execution_engine: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        unexpected = int(metrics["unexpected_rows_query.row_count"])
        rows = int(metrics["table.row_count"])
        share = unexpected / rows if rows else 0.0
        return {
            "success": share <= 1 - self.mostly + 1e-12,
            "result": {
                "observed_value": unexpected,
                "element_count": rows,
                "unexpected_count": unexpected,
                "unexpected_percent": 100 * share,
            },
        }
