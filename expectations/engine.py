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
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.datasource.fluent import SQLDatasource
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.core import UnexpectedRowsExpectation
from great_expectations.expectations.metrics.metric_provider import MetricProvider, metric_partial, metric_value
from great_expectations.expectations.metrics.multicolumn_map_metrics.compound_columns_unique import (
    CompoundColumnsUnique,
)
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from credit301.sources.repeats import SUSPECTS

# A named in-memory database is shared by all connections of the process.
CONNECTION_STRING = "duckdb:///:memory:inbox"
VIOLATING = "table.rows_violating"


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
    """The SQL engine of GX that keeps the one connection it opens."""

    _connection: sa.Connection | None
    suspected: tuple[str, ...] = ()

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

    def see_new_tables(self, suspected: tuple[str, ...] = ()) -> None:
        """End the transaction that earlier queries began; it would go on seeing the database as it was then.

        ``suspected`` are the columns of which the table ``suspects`` has the hashes that occur more than once.
        """
        self.suspected = suspected
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


class RowsViolating(TableMetricProvider):
    """How many rows satisfy an SQL predicate: an aggregate, so that one query answers it with all others of a suite."""

    metric_name = VIOLATING
    value_keys = ("predicate",)

    @metric_partial(
        engine=DuckDBExecutionEngine,
        partial_fn_type=MetricPartialFunctionTypes.AGGREGATE_FN,
        domain_type=MetricDomainTypes.TABLE,
    )
    def _duckdb(
        cls,  # noqa: N805 - GX calls it so
        execution_engine: DuckDBExecutionEngine,  # noqa: ARG002
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],  # noqa: ARG002
        runtime_configuration: dict[str, Any],  # noqa: ARG002
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        predicate = metric_value_kwargs["predicate"]
        # A third cheaper in DuckDB than count(*) FILTER.
        count = sa.literal_column(f"coalesce(sum(CASE WHEN {predicate} THEN 1 ELSE 0 END), 0)", sa.BigInteger)
        return count, metric_domain_kwargs, {}


class RepeatedKeys(MetricProvider):
    """How many rows have a key that another row has too: GX's own metric, which joins the whole table to itself.

    Only rows are grouped whose key has a hash that occurs again.
    """

    metric_name = "compound_columns.unique.unexpected_count"
    domain_keys = CompoundColumnsUnique.condition_domain_keys
    value_keys = ()

    @metric_value(engine=DuckDBExecutionEngine)
    def _duckdb(
        cls,  # noqa: N805 - GX calls it so
        execution_engine: DuckDBExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],  # noqa: ARG002
        metrics: dict[str, Any],  # noqa: ARG002
        runtime_configuration: dict[str, Any],  # noqa: ARG002
    ) -> int:
        names = metric_domain_kwargs["column_list"]
        columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
        batch = execution_engine.get_domain_records(domain_kwargs=metric_domain_kwargs)
        rows = sa.select(*columns).select_from(batch).where(*(column.is_not(None) for column in columns))
        if tuple(names) == execution_engine.suspected:
            again: sa.Select[Any] = sa.select(sa.column("h")).select_from(sa.table(SUSPECTS))
            rows = rows.where(sa.func.hash(*columns).in_(again))
        counts = sa.select(sa.func.count().label("n")).select_from(rows.subquery()).group_by(*columns)
        repeated = counts.having(sa.func.count() > 1).subquery()
        found = execution_engine.execute_query(sa.select(sa.func.sum(repeated.c.n)))
        return int(found.scalar() or 0)


class ExpectRowsToSatisfy(UnexpectedRowsExpectation):
    """Expect at least the share ``mostly`` of the rows not to satisfy ``predicate``.

    Unlike its base it counts the rows without fetching any (they may be personal), together with the counts of all
    other expectations, and allows for a tolerance. For people ``unexpected_rows_query`` is the query that selects them.
    """

    predicate: str
    mostly: float = 1.0

    metric_dependencies: ClassVar[tuple[str, ...]] = (VIOLATING, "table.row_count")
    success_keys: ClassVar[tuple[str, ...]] = ("predicate", "mostly")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002 - GX passes all three
        execution_engine: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        unexpected = int(metrics[VIOLATING])
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
