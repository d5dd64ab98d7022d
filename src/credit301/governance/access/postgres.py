"""Roles on PostgreSQL: a role, a schema of views, and the right to read those views and nothing else.

Whoever works as a role gets an account that is a member of it; the role itself cannot log in. A view that has keyed
hashes is materialized: an ordinary one would need the right to call the hash function, by which guesses could be tried.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from credit301.derive.dbt import LANDING_SCHEMA
from credit301.governance.access.relations import RECORDS, Relation, relations
from credit301.governance.masking import Treatment
from credit301.identity.keyed_hash import LENGTH, KeyedHash
from credit301.warehouse.build import MARTS_SCHEMA

if TYPE_CHECKING:
    from credit301.governance.access.roles import Role
    from credit301.workspace import Workspace

_BLOCK = 64
_PREPARE = f"""
create schema if not exists governance;
create table if not exists governance.hash_key (only_row boolean primary key default true check (only_row),
  inner_pad bytea not null, outer_pad bytea not null);
create or replace function governance.keyed_hash(value text) returns text language sql stable as
$$ select left(encode(sha256(outer_pad || sha256(inner_pad || convert_to(value, 'UTF8'))), 'hex'), {LENGTH})
   from governance.hash_key $$;
revoke all on schema governance from public;
revoke all on all tables in schema governance from public;
revoke all on function governance.keyed_hash(text) from public;
"""
# The same as ``masking.mask`` does; a test holds them to one another.
_MASK = """case
  when {c} ~ '^1[3-9][0-9]{{9}}$' then left({c}, 3) || '****' || right({c}, 4)
  when {c} ~ '^[1-9][0-9]{{5}}(18|19|20)[0-9]{{9}}[0-9Xx]$' then left({c}, 6) || repeat('*', length({c}) - 6)
  when {c} ~ '^[\\u3400-\\u9fff·]{{2,}}$' then
    left({c}, case when length({c}) <= 4 then 1 else 2 end)
    || repeat('*', length({c}) - case when length({c}) <= 4 then 1 else 2 end)
  when position('@' in {c}) > 0 then left({c}, 1) || '***@' || substring({c} from '[^@]*$')
  when length({c}) <= 4 then '****'
  else left({c}, 2) || repeat('*', greatest(length({c}) - 4, 4)) || right({c}, 2)
end"""
OTHER_DATABASES = ("airflow", "mlflow")


def role_name(workspace: Workspace, name: str) -> str:
    """Name in PostgreSQL of the workspace's role ``name``; also that of its schema."""
    return f"credit301_{workspace.name}_{name}"


def grant(workspace: Workspace, name: str, role: Role) -> list[str]:
    """Make the role's schema of views anew, in one transaction, and let the role read it.

    Returns:
        Names of the views; relations whose base table is not in the database are left out.
    """
    own = sql.Identifier(role_name(workspace, name))
    with psycopg.connect(workspace.settings.postgres_address("credit301")) as connection:
        _prepare(connection, KeyedHash.from_settings(workspace.settings))
        if not connection.execute("select 1 from pg_roles where rolname = %s", [role_name(workspace, name)]).fetchone():
            connection.execute(sql.SQL("create role {} nologin").format(own))
        connection.execute(sql.SQL("drop schema if exists {} cascade").format(own))
        connection.execute(sql.SQL("create schema {}").format(own))
        made = [view for item in relations(workspace, role) if (view := _view(connection, own, item)) is not None]
        connection.execute(sql.SQL("grant usage on schema {0} to {0}").format(own))
        connection.execute(sql.SQL("grant select on all tables in schema {0} to {0}").format(own))
        for database in OTHER_DATABASES:
            if connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone():
                revoke = sql.SQL("revoke connect on database {} from public")
                connection.execute(revoke.format(sql.Identifier(database)))
    return made


def _prepare(connection: psycopg.Connection, hashed: KeyedHash) -> None:
    connection.execute(_PREPARE)
    key = hashed.key if len(hashed.key) <= _BLOCK else hashlib.sha256(hashed.key).digest()
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(_BLOCK, b"\0")) for pad in (0x36, 0x5C))
    connection.execute(
        "insert into governance.hash_key (inner_pad, outer_pad) values (%s, %s) on conflict (only_row) do update "
        "set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad",
        [inner, outer],
    )


def _view(connection: psycopg.Connection, own: sql.Identifier, relation: Relation) -> str | None:
    schema = LANDING_SCHEMA if relation.kind == RECORDS else MARTS_SCHEMA
    there = connection.execute("select to_regclass(%s)", [f'"{schema}"."{relation.base}"']).fetchone()
    if there is None or there[0] is None:
        return None
    view = f"{relation.kind}_{relation.source}"
    kind = sql.SQL("materialized view" if relation.hashed else "view")
    # A barrier: a function in a query on the view sees no row that the view does not show.
    barrier = sql.SQL("" if relation.hashed else " with (security_barrier)")
    connection.execute(
        sql.SQL("create {} {}.{}{} as select {} from {}.{}").format(
            kind,
            own,
            sql.Identifier(view),
            barrier,
            sql.SQL(", ").join(_column(column.name, column.treatment) for column in relation.columns),
            sql.Identifier(schema),
            sql.Identifier(relation.base),
        )
    )
    return view


def _column(name: str, treatment: Treatment) -> sql.Composable:
    column = sql.Identifier(name)
    if treatment is Treatment.CLEAR:
        return column
    text = sql.SQL("{}::text").format(column)
    if treatment is Treatment.HASH:
        return sql.SQL("governance.keyed_hash({}) as {}").format(text, column)
    return sql.SQL("{} as {}").format(sql.SQL(_MASK).format(c=text), column)
