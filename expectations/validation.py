"""Validation of inbox batches: Great Expectations judges the batch, the same checks in SQL pick the rows.

Both read one view of typed values inside DuckDB; nothing is copied to pandas. GX counts what is unexpected and
decides by the tolerance; the predicates of :mod:`credit301.sources.predicates` send the rows to quarantine. Where the
two do not agree on a count, validation stops: one of them is wrong.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import duckdb
from great_expectations.checkpoint import Checkpoint
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.core.validation_definition import ValidationDefinition

from credit301.contracts.model import CheckKind, Contract, Severity
from credit301.derive.expectations import OLDEST_PARAMETER
from credit301.errors import ValidationFailed
from credit301.sources import uscc
from credit301.sources.arrived import make_view, sent_rows
from credit301.sources.batches import Batch, CheckResult, Store, Verdict, fingerprint, prepare
from credit301.sources.quarantine import FLAGGED, flag, write_quarantine
from credit301.sources.repeats import REPEATS, SUSPECTS, find_repeats, version_key
from credit301.sources.typed import ROW, quote
from credit301.workspace import Workspace
from expectations.context import keep_suite, open_context, results_directory
from expectations.engine import CONNECTION_STRING, DuckDBExecutionEngine
from expectations.suites import SEVERITIES, build_suite

TABLE = "batch"
ARRIVED = "arrived"
CODES = "codes"
KEPT_RESULTS = 20
_OF_SEVERITY = {name: severity for severity, name in SEVERITIES.items()}


class Validator:
    """Validates any number of batches in one process; GX is imported and set up once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.context = open_context(workspace)
        # Registered under this name by expectations.engine.
        self.datasource = self.context.data_sources.add_duckdb(name="inbox", connection_string=CONNECTION_STRING)  # type: ignore[attr-defined]

    @property
    def _engine(self) -> DuckDBExecutionEngine:
        engine: DuckDBExecutionEngine = self.datasource.get_execution_engine()
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the database back."""
        self._engine.close()
        self.datasource.get_engine().dispose()

    def validate(self, store: Store, batch: Batch) -> Verdict:
        """Judge ``batch``, keep the verdict, and write its quarantine if the batch as a whole is accepted.

        Raises:
            ValidationFailed: GX could not evaluate an expectation, or disagrees with the predicates.
        """
        contract = store.contract
        with self._connected() as connection:
            duplicates = _make_views(connection, store, batch)
            selected = flag(connection, contract, TABLE)
            self._engine.see_new_tables(suspected=version_key(contract))
            results = self._run_suite(contract, batch)
            checks = {_check_id(result): _outcome(contract, result) for result in results}
            _require_agreement(contract, selected, checks)
            accepted = all(check.success for check in checks.values() if check.severity is Severity.FAIL)
            quarantined = int(connection.execute(f"SELECT count(*) FROM {FLAGGED}").fetchall()[0][0])
            if accepted:
                relation = sent_rows(store, batch, f"SELECT {ROW} FROM {FLAGGED}")
                write_quarantine(connection, relation, batch.pull_id, store.quarantine_file(batch.pull_id))
        verdict = Verdict(
            source=batch.source,
            pull_id=batch.pull_id,
            contract=fingerprint(contract),
            accepted=accepted,
            rows=batch.rows,
            passed=batch.rows - duplicates - quarantined,
            quarantined=quarantined,
            duplicates=duplicates,
            distinct=duplicates == 0,
            warned=sum(check.unexpected for check in checks.values() if check.severity is Severity.WARN),
            checks=checks,
        )
        store.save_verdict(verdict)
        self._prune(batch.source)
        return verdict

    @contextmanager
    def _connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        held = self._engine.engine.raw_connection()
        try:
            connection: duckdb.DuckDBPyConnection = held.driver_connection
            prepare(connection, self.workspace)
            yield connection
        finally:
            for name in (TABLE, ARRIVED):
                held.driver_connection.execute(f"DROP VIEW IF EXISTS {name}")
            for name in (FLAGGED, SUSPECTS, REPEATS, uscc.WRONG):
                held.driver_connection.execute(f"DROP TABLE IF EXISTS {name}")
            held.close()

    def _run_suite(self, contract: Contract, batch: Batch) -> list[ExpectationValidationResult]:
        context, name = self.context, f"{contract.name}-{batch.pull_id}"
        tolerance = self.workspace.definition.ingest.tolerance
        suite = keep_suite(context, build_suite(contract, tolerance, singly=batch.singly))
        asset = self.datasource.add_table_asset(name, table_name=TABLE)
        # Added under a name that nothing else has: to update is to read, compare and write everything below again.
        definition = context.validation_definitions.add(
            ValidationDefinition(name=name, data=asset.add_batch_definition_whole_table("whole"), suite=suite)
        )
        checkpoint = context.checkpoints.add(
            # Counts only: an unexpected value may be personal, and data docs are for everybody.
            Checkpoint(
                name=name,
                validation_definitions=[definition],
                result_format={"result_format": "BASIC", "partial_unexpected_count": 0},
            )
        )
        try:
            run = checkpoint.run(
                expectation_parameters={OLDEST_PARAMETER: _oldest(contract, batch)},
                run_id=RunIdentifier(run_name=batch.pull_id),
            )
        finally:
            context.checkpoints.delete(name)
            context.validation_definitions.delete(name)
            self.datasource.delete_asset(asset.name)
        outcome: ExpectationSuiteValidationResult = next(iter(run.run_results.values()))
        return list(outcome.results)

    def _prune(self, source: str) -> None:
        files = sorted(
            (results_directory(self.workspace) / source).glob("*/*/*.json"), key=lambda path: path.parent.name
        )
        for path in files[:-KEPT_RESULTS]:
            path.unlink()


def _make_views(connection: duckdb.DuckDBPyConnection, store: Store, batch: Batch) -> int:
    """Make the view ``batch`` of the distinct records of a batch; return how many rows repeated an earlier one.

    A view over Parquet and not a table: the values are typed already, and GX asks few queries of few columns each.
    """
    make_view(connection, store, batch, ARRIVED)
    duplicates = find_repeats(connection, store.contract, ARRIVED)
    distinct = f"WHERE {ROW} NOT IN (SELECT {ROW} FROM {REPEATS})" if duplicates else ""
    connection.execute(f"CREATE OR REPLACE VIEW {TABLE} AS SELECT * FROM {ARRIVED} {distinct}")
    _judge_codes_once(connection, store.contract)
    return duplicates


def _judge_codes_once(connection: duckdb.DuckDBPyConnection, contract: Contract) -> None:
    """Compute the check character of each distinct code once; the macro then only looks the wrong ones up."""
    columns = [quote(str(check.column)) for check in contract.checks if check.kind is CheckKind.USCC]
    expressions = [str(check.arguments.get("expression")) for check in contract.checks]
    # A rule of rows may ask for any code, also for one of another column.
    if columns and not any(uscc.MACRO in expression for expression in expressions):
        codes = " UNION ".join(f"SELECT DISTINCT {column} AS code FROM {TABLE}" for column in columns)
        # Two statements, or the filter is pushed below DISTINCT and judges every row.
        connection.execute(f"CREATE OR REPLACE TABLE {CODES} AS {codes}")
        connection.execute(
            f"CREATE OR REPLACE TABLE {uscc.WRONG} AS SELECT code AS wrong FROM {CODES} WHERE NOT {uscc.MACRO}(code)"
        )
        connection.execute(f"DROP TABLE {CODES}")
        connection.execute(uscc.looked_up())


def _oldest(contract: Contract, batch: Batch) -> dt.datetime:
    """The oldest that a batch's newest record may be, by the source's clock; any age if more batches follow."""
    days = contract.freshness.maximum_age_days
    if days is None or batch.has_more:
        return dt.datetime(1, 1, 1)  # noqa: DTZ001 - wall-clock time, as everywhere in the data
    clock = dt.datetime.fromisoformat(batch.served_through) if batch.served_through else dt.datetime.now(tz=dt.UTC)
    return clock.replace(tzinfo=None) - dt.timedelta(days=days)


def _check_id(result: ExpectationValidationResult) -> str:
    return str(result.expectation_config.meta["check"])  # type: ignore[union-attr, index]


def _outcome(contract: Contract, result: ExpectationValidationResult) -> CheckResult:
    config: Any = result.expectation_config
    values: dict[str, Any] = result.result or {}
    if "observed_value" not in values and "unexpected_count" not in values:
        raise ValidationFailed(
            f"{contract.name}: Great Expectations could not evaluate {config.meta['check']!r}: {_exception(result)}",
            hint="Mend the check in the contract.",
        )
    unexpected = int(values.get("unexpected_count", 0))
    rows = int(values.get("element_count") or 0)
    return CheckResult(
        severity=_OF_SEVERITY[config.severity.value],
        unexpected=unexpected,
        share=unexpected / rows if rows else 0.0,
        tolerance=config.meta["tolerance"],
        success=bool(result.success),
    )


def _exception(result: ExpectationValidationResult) -> str:
    info: dict[str, Any] = result.exception_info or {}
    messages = [
        info.get("exception_message"),
        *(item.get("exception_message") for item in info.values() if isinstance(item, dict)),
    ]
    return next((str(message).splitlines()[0] for message in messages if message), "no reason given")


def _require_agreement(contract: Contract, selected: dict[str, int], checks: dict[str, CheckResult]) -> None:
    for name, rows in selected.items():
        if checks[name].unexpected != rows:
            raise ValidationFailed(
                f"{contract.name}: {name}: GX counts {checks[name].unexpected} rows, the predicate {rows}.",
                hint="This is a defect of the platform, not of the data; nothing was decided.",
            )
