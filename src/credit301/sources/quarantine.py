"""Quarantine: which rows of a batch are refused and why, and the file they wait in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from credit301.contracts.model import Check, Column, Contract, Severity, Text
from credit301.files import replacing
from credit301.governance.masking import PUBLIC_TREATMENTS, Treatment
from credit301.sources.batches import SUFFIX, Store, database
from credit301.sources.explanations import explanation
from credit301.sources.predicates import TABLE_KINDS, violation
from credit301.sources.typed import PULL_ID, REASONS, ROW, file_relation, literal, quote
from credit301.workspace import Workspace

FLAGGED = "flagged"
MASK = "***"


@dataclass(frozen=True)
class Reason:
    """Rows of one source that wait for one reason, and where one of them is; ``example`` is masked where it must be."""

    source: str
    check: str
    description: Text
    rows: int
    pull_id: str
    row: int
    example: str | None


@dataclass(frozen=True)
class Waiting:
    """How many rows of one source wait, of how many batches; a row with several reasons counts once."""

    source: str
    rows: int
    batches: int


def is_masked(column: Column) -> bool:
    """Whether values of ``column`` are shown to nobody who did not ask for them."""
    return PUBLIC_TREATMENTS[column.classification] is not Treatment.CLEAR


def waiting(store: Store) -> Waiting:
    """What of a source is in quarantine."""
    files = list(store.quarantine.glob(f"*{SUFFIX}"))
    return Waiting(store.source, sum(pq.read_metadata(file).num_rows for file in files), len(files))


def row_checks(contract: Contract, severity: Severity) -> list[Check]:
    """The checks of ``contract`` that judge rows, of one severity."""
    return [check for check in contract.checks if check.severity is severity and check.kind not in TABLE_KINDS]


def flag(connection: duckdb.DuckDBPyConnection, contract: Contract, view: str) -> dict[str, int]:
    """Make the table ``flagged`` (``_row``, ``_reasons``) of the rows of ``view`` that a ``fail`` check refuses.

    Returns:
        For every ``fail`` row check the number of rows that violate it.
    """
    checks = row_checks(contract, Severity.FAIL)
    violations = {check.id: violation(contract, check, view) for check in checks}
    cases = [f"CASE WHEN {violated} THEN {literal(name)} END" for name, violated in violations.items()]
    reasons = f"concat_ws(',', {', '.join(cases)})" if cases else "''"
    # Almost every row violates nothing: its reasons are not put together.
    any_violated = " OR ".join(f"({violated})" for violated in violations.values()) or "false"
    connection.execute(
        f"CREATE OR REPLACE TABLE {FLAGGED} AS SELECT {ROW}, string_split(reasons, ',') AS {REASONS} "
        f"FROM (SELECT {ROW}, {reasons} AS reasons FROM {view} WHERE {any_violated})"
    )
    counted = connection.execute(
        f"SELECT reason, count(*) FROM (SELECT unnest({REASONS}) AS reason FROM {FLAGGED}) GROUP BY reason"
    )
    return {check.id: 0 for check in checks} | {str(reason): int(rows) for reason, rows in counted.fetchall()}


def write_quarantine(connection: duckdb.DuckDBPyConnection, relation: str, identity: str, target: Path) -> int:
    """Write the flagged rows of ``relation`` to ``target`` as they were sent; no file where there are none.

    Args:
        connection: where the table ``flagged`` is.
        relation: SQL relation of the texts as sent, with ``_row``.
        identity: the pull id.
        target: the quarantine file.

    Returns:
        Rows written.
    """
    rows = int(connection.execute(f"SELECT count(*) FROM {FLAGGED}").fetchall()[0][0])
    if rows == 0:
        target.unlink(missing_ok=True)
        return 0
    query = (
        f"SELECT sent.* EXCLUDE ({ROW}), sent.{ROW}, {literal(identity)} AS {PULL_ID}, {FLAGGED}.{REASONS} "
        f"FROM {relation} AS sent JOIN {FLAGGED} USING ({ROW}) ORDER BY sent.{ROW}"
    )
    with replacing(target) as temporary:
        connection.execute(f"COPY ({query}) TO {literal(str(temporary))} (FORMAT parquet, COMPRESSION zstd)")
    return rows


def quarantined_rows(store: Store) -> int:
    """Rows of a source that wait in quarantine."""
    return waiting(store).rows


def reasons(workspace: Workspace, stores: Iterable[Store]) -> list[Reason]:
    """Why rows wait in quarantine, most frequent first within a source, each with one example."""
    found: list[Reason] = []
    with database(workspace) as connection:
        for store in stores:
            if any(store.quarantine.glob(f"*{SUFFIX}")):
                found += _reasons_of(connection, store)
    return found


def _reasons_of(connection: duckdb.DuckDBPyConnection, store: Store) -> list[Reason]:
    files = literal(str(store.quarantine / f"*{SUFFIX}"))
    counted = connection.execute(
        f"SELECT reason, count(*) AS rows, min_by({PULL_ID}, ({PULL_ID}, {ROW})), min_by({ROW}, ({PULL_ID}, {ROW})) "
        "FROM "
        f"(SELECT unnest({REASONS}) AS reason, {PULL_ID}, {ROW} FROM read_parquet({files}, union_by_name = true)) "
        "GROUP BY reason ORDER BY rows DESC, reason"
    ).fetchall()
    checks = {check.id: check for check in store.contract.checks}
    found = []
    for name, rows, identity, row in counted:
        check = checks.get(name)
        example = _example(connection, store, check.column, identity, row) if check and check.column else None
        found.append(Reason(store.source, name, explanation(store.contract, name), rows, identity, row, example))
    return found


def _example(connection: duckdb.DuckDBPyConnection, store: Store, column: str, identity: str, row: int) -> str | None:
    if is_masked(store.contract.column(column)):
        return MASK
    relation = file_relation(store.contract, store.quarantine_file(identity))
    values = connection.execute(f"SELECT {quote(column)} FROM {relation} WHERE {ROW} = ?", [row]).fetchall()
    return values[0][0] if values else None
