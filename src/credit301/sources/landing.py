"""Landing: the rows of a validated batch, typed, each record once, in one immutable Parquet file."""

from __future__ import annotations

from pathlib import Path

import duckdb

from credit301.errors import ValidationFailed
from credit301.sources.batches import SUFFIX, Batch, Store, database, fingerprint, replacing
from credit301.sources.typed import HASH, PULL_ID, ROW, batch_query, file_relation, literal, quote
from credit301.workspace import Workspace


def land(workspace: Workspace, store: Store, batch: Batch) -> int:
    """Land a batch that passed validation and move the watermark past it; a batch that has landed stays as it is.

    Returns:
        Rows that landed now: what passed, less the records that are there already.

    Raises:
        ValidationFailed: the batch was not validated, was refused, or the contract has changed since.
    """
    target = store.landing_file(batch.pull_id)
    landed = 0
    if not target.exists():
        _require_accepted(store, batch)
        quarantined = store.quarantine_file(batch.pull_id)
        kept = (
            f"{ROW} NOT IN (SELECT {ROW} FROM read_parquet({literal(str(quarantined))}))"
            if quarantined.exists()
            else "TRUE"
        )
        with database(workspace) as connection:
            rows = batch_query(store.contract, file_relation(store.contract, store.inbox_file(batch.pull_id)))
            connection.execute(f"CREATE VIEW passed AS SELECT * FROM ({rows}) WHERE {kept}")
            landed = write_landing(connection, store, "passed", batch.pull_id, target)
    store.settle()
    return landed


def write_landing(connection: duckdb.DuckDBPyConnection, store: Store, view: str, identity: str, target: Path) -> int:
    """Write the rows of ``view`` that have not landed yet to ``target``, each record once, in order of ``_row``.

    Returns the number of rows written.
    """
    columns = ", ".join(quote(column.name) for column in store.contract.columns)
    there = landed_files(store)
    fresh = f"SELECT * FROM {view}"
    if there:
        fresh += f" ANTI JOIN (SELECT {HASH} FROM {there}) AS landed USING ({HASH})"
    once = f"{fresh} QUALIFY row_number() OVER (PARTITION BY {HASH} ORDER BY {ROW}) = 1"
    with replacing(target) as temporary:
        query = f"SELECT {columns}, {literal(identity)} AS {PULL_ID}, {HASH} FROM ({once}) ORDER BY {ROW}"
        written = connection.execute(
            f"COPY ({query}) TO {literal(str(temporary))} (FORMAT parquet, COMPRESSION zstd)"
        ).fetchall()
    return int(written[0][0])


def landed_files(store: Store) -> str:
    """SQL table function over everything of the source that has landed; empty where nothing has."""
    if not any(store.landing.glob(f"*{SUFFIX}")):
        return ""
    return f"read_parquet({literal(str(store.landing / ('*' + SUFFIX)))}, union_by_name = true)"


def _require_accepted(store: Store, batch: Batch) -> None:
    verdict = store.verdict(batch.pull_id)
    if verdict is None:
        raise ValidationFailed(
            f"{batch.source}: batch {batch.pull_id} was not validated.", hint=f"Run: credit301 validate {batch.source}"
        )
    if verdict.contract != fingerprint(store.contract):
        raise ValidationFailed(
            f"{batch.source}: the contract changed after batch {batch.pull_id} was validated.",
            hint=f"Run: credit301 validate {batch.source}",
        )
    if not verdict.accepted:
        raise ValidationFailed(
            f"{batch.source}: batch {batch.pull_id} was refused ({', '.join(verdict.failed())}); nothing landed.",
            hint=f"Mend the source and `credit301 pull {batch.source} --again`, or mend the contract; then validate.",
        )
