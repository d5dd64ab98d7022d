"""A database file for one role, which holds its masked tables and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from credit301.derive.dbt import LANDING_SCHEMA
from credit301.files import replacing
from credit301.governance.access.relations import RECORDS, Relation, relations
from credit301.governance.masking import Treatment, mask
from credit301.identity.keyed_hash import KeyedHash
from credit301.sources.typed import literal, quote
from credit301.warehouse.landing_views import create_views

if TYPE_CHECKING:
    from credit301.governance.access.roles import Role
    from credit301.workspace import Workspace

_FUNCTIONS = {Treatment.MASK: "masked", Treatment.HASH: "keyed_hash"}


def path_of(workspace: Workspace, name: str) -> Path:
    """Where the database of the role called ``name`` is."""
    return workspace.paths.access / f"{name}.duckdb"


def export(workspace: Workspace, name: str, role: Role) -> dict[str, int]:
    """Make the database of a role anew; it takes the place of the one before at once, and may only be read.

    Values are masked and hashed before they are written: what the role may not see is not in the file.

    Returns:
        Rows by relation.
    """
    target = path_of(workspace, name)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    hashed = KeyedHash.from_settings(workspace.settings)
    rows: dict[str, int] = {}
    with replacing(target) as temporary:
        with duckdb.connect() as connection:
            connection.create_function("keyed_hash", hashed, ["VARCHAR"], "VARCHAR")
            connection.create_function("masked", mask, ["VARCHAR"], "VARCHAR")
            create_views(connection, workspace)
            connection.execute(f"attach {literal(str(temporary))} as exported")
            for relation in relations(workspace, role):
                base = _base(workspace, relation)
                if base is None:
                    continue
                connection.execute(f"create schema if not exists exported.{relation.kind}")
                into = f"exported.{relation.kind}.{quote(relation.source)}"
                connection.execute(f"create table {into} as select {_columns(relation)} from {base}")
                count = connection.execute(f"select count(*) from {into}").fetchall()
                rows[f"{relation.kind}.{relation.source}"] = int(count[0][0])
            connection.execute("detach exported")
        temporary.chmod(0o440)
    return rows


def _base(workspace: Workspace, relation: Relation) -> str | None:
    if relation.kind == RECORDS:
        return f"{LANDING_SCHEMA}.{quote(relation.base)}"
    mart = workspace.paths.mart(relation.base)
    return f"read_parquet({literal(str(mart))})" if mart.is_file() else None


def _columns(relation: Relation) -> str:
    items = []
    for column in relation.columns:
        name = quote(column.name)
        function = _FUNCTIONS.get(column.treatment)
        items.append(f"{function}(cast({name} as varchar)) as {name}" if function else name)
    return ", ".join(items)
