"""Landing: the rows of a validated batch, typed, each record once, in one immutable Parquet file."""

from __future__ import annotations

from pathlib import Path

import duckdb

from credit301.errors import ValidationFailed
from credit301.files import replacing
from credit301.governance.erasure.suppression import find_suppressed
from credit301.sources.arrived import make_view
from credit301.sources.batches import Batch, Store, Verdict, database, fingerprint
from credit301.sources.repeats import KNOWN, REPEATS, find_known, find_repeats
from credit301.sources.typed import PULL_ID, ROW, literal, quote
from credit301.workspace import Workspace

# The encodings of version 2 take less space and less time, to write and to read, than those of version 1. Without its
# being asked for, DuckDB keeps no order where rows are left out by a join.
FORMAT = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 1, PRESERVE_ORDER true"


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
        verdict = _require_accepted(store, batch)
        quarantined = store.quarantine_file(batch.pull_id)
        refused = f"read_parquet({literal(str(quarantined))})" if quarantined.exists() else ""
        with database(workspace) as connection:
            make_view(connection, store, batch, "arrived")
            landed = write_landing(
                connection, store, "arrived", batch.pull_id, target, distinct=verdict.distinct, refused=refused
            )
    store.settle()
    store.forget_typed()
    return landed


def write_landing(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    view: str,
    identity: str,
    target: Path,
    *,
    distinct: bool = False,
    refused: str = "",
) -> int:
    """Write the rows of ``view`` that have not landed yet to ``target``, each record once, in the order of ``view``.

    Args:
        connection: where ``view`` is.
        store: the source's files.
        view: typed rows with ``_row``.
        identity: the pull id.
        target: the landing file.
        distinct: no two rows of ``view`` are known to be the same record.
        refused: relation of the ``_row`` of records in quarantine. They are in ``view``, so that a second copy of one
            of them counts as a repeat and does not land in its place.

    Returns:
        Rows written.
    """
    left_out = [KNOWN] if find_known(connection, store, view) else []
    if not distinct and find_repeats(connection, store.contract, view):
        left_out.append(REPEATS)
    left_out += find_suppressed(connection, store, view)
    left_out += [refused] if refused else []
    kept = " AND ".join([f"{ROW} NOT IN (SELECT {ROW} FROM {table})" for table in left_out] or ["true"])
    columns = ", ".join(quote(column.name) for column in store.contract.columns)
    query = f"SELECT {columns}, {literal(identity)} AS {PULL_ID} FROM {view} WHERE {kept}"
    with replacing(target) as temporary:
        written = connection.execute(f"COPY ({query}) TO {literal(str(temporary))} ({FORMAT})").fetchall()
    return int(written[0][0])


def _require_accepted(store: Store, batch: Batch) -> Verdict:
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
    return verdict
