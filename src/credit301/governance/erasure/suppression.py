"""Who was erased stays out: a list of keyed hashes that is held against whatever arrives later."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from credit301.domain.text import Refusal
from credit301.governance.erasure.parquet import rewrite
from credit301.identity.entity_key import normalise
from credit301.identity.keyed_hash import KeyedHash
from credit301.sources.typed import ROW, quote

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.sources.batches import Batch, Store
    from credit301.workspace import Workspace

TABLE = "suppressed"


def _path(workspace: Workspace) -> Path:
    return workspace.paths.state / "suppressed"


def suppressed(workspace: Workspace) -> frozenset[str]:
    """Keyed hashes of whom was erased."""
    path = _path(workspace)
    return frozenset(path.read_text(encoding="ascii").split()) if path.exists() else frozenset()


def suppress(workspace: Workspace, named: str) -> None:
    """Add ``named`` to the list, durably."""
    if named in suppressed(workspace):
        return
    path = _path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as file:
        file.write(f"{named}\n")
        file.flush()
        os.fsync(file.fileno())


class Doorkeeper:
    """Tells which keys of what arrives belong to somebody who was erased.

    Args:
        workspace: whose list it is.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._form = workspace.entity
        self._out = suppressed(workspace)
        self._hash = KeyedHash.from_settings(workspace.settings) if self._out else None

    def unwanted(self, keys: list[str | None]) -> list[str]:
        """Those of ``keys``, as they were sent, that belong to somebody who was erased."""
        if self._hash is None:
            return []
        found = []
        for key in keys:
            if key is None:
                continue
            try:
                standard = normalise(self._form, key)
            except Refusal:
                continue
            if self._hash(standard) in self._out:
                found.append(key)
        return found

    @property
    def idle(self) -> bool:
        """Whether nobody was erased."""
        return self._hash is None


def keep_out(workspace: Workspace, store: Store, batch: Batch) -> int:
    """Take the rows of whom was erased out of a batch in the inbox, before anything else reads it.

    Rows keep their numbers in the inbox file; a file that was taken over whole has none, and no verdict on it yet.

    Returns:
        Rows taken out.
    """
    keeper = Doorkeeper(workspace)
    column = next((item for item in store.contract.columns if item.name == workspace.entity.key), None)
    if keeper.idle or column is None:
        return 0
    files = {store.inbox_file(batch.pull_id): column.name}
    files |= {store.part_file(batch.pull_id, part): column.physical_name for part in batch.parts}
    return sum(_keep_out(path, name, keeper) for path, name in files.items())


def _keep_out(path: Path, name: str, keeper: Doorkeeper) -> int:
    if name not in pq.read_schema(path).names:
        return 0
    keys = pc.unique(pq.read_table(path, columns=[name]).column(0)).cast(pa.string()).to_pylist()
    unwanted = keeper.unwanted(keys)
    if not unwanted:
        return 0
    removed = 0

    def without(batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal removed
        mine = pc.is_in(batch.column(name).cast(pa.string()), value_set=pa.array(unwanted, pa.string()))
        left = batch.filter(pc.invert(mine))
        removed += batch.num_rows - left.num_rows
        return left

    rewrite(path, without)
    return removed


def find_suppressed(connection: duckdb.DuckDBPyConnection, store: Store, view: str) -> list[str]:
    """Make the table ``suppressed`` of the ``_row`` of whom was erased in ``view``; its name, or nothing if nobody is.

    The last door: a corrected file can bring back what a pull no longer does.
    """
    workspace = store.workspace
    keeper = Doorkeeper(workspace)
    key = workspace.entity.key
    if keeper.idle or all(column.name != key for column in store.contract.columns):
        return []
    keys = [row[0] for row in connection.execute(f"SELECT DISTINCT {quote(key)} FROM {view}").fetchall()]
    unwanted = keeper.unwanted(keys)
    if not unwanted:
        return []
    connection.execute(
        f"CREATE OR REPLACE TABLE {TABLE} AS SELECT {ROW} FROM {view} "
        f"WHERE {quote(key)} IN (SELECT unnest(CAST(? AS VARCHAR[])))",
        [unwanted],
    )
    return [TABLE]
