"""Consent records in PostgreSQL: a table that takes additions only, whoever is connected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from credit301.governance.consent.ledger import Page, unrecorded
from credit301.governance.consent.records import Record

SCHEMA = "governance"
_METADATA = sa.MetaData(schema=SCHEMA)
_TABLE = sa.Table(
    "consent_record",
    _METADATA,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, sa.CheckConstraint("kind in ('grant', 'withdrawal')"), nullable=False),
    sa.Column("consent_id", sa.Text, nullable=False),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("grantee", sa.Text, nullable=False),
    sa.Column("sources", ARRAY(sa.Text), nullable=False),
    sa.Column("purposes", ARRAY(sa.Text), nullable=False),
    sa.Column("valid_from", sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column("valid_until", sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column("recorded_at", sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column("recorded_by", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Index("consent_record_entity", "workspace", "entity", "number"),
)
# A withdrawal is a record: not even the table's owner changes or removes one by an ordinary statement.
_APPEND_ONLY = f"""
create or replace function {SCHEMA}.refuse_change() returns trigger language plpgsql as
$$ begin raise exception 'records of consent are never changed or removed'; end $$;
create or replace trigger consent_record_append_only before update or delete or truncate
on {SCHEMA}.consent_record for each statement execute function {SCHEMA}.refuse_change();
"""
_FIELDS = [name for name in Record.__struct_fields__ if name not in {"sources", "purposes"}]
_PREPARING = 301_014


class PostgresLedger:
    """The records of one workspace in the platform's database; the table is made where it is not there yet.

    Args:
        address: ``postgresql://`` URL of the database.
        workspace: name of the workspace.
    """

    def __init__(self, address: str, workspace: str) -> None:
        driver = address.replace("postgresql://", "postgresql+psycopg://", 1)
        self._engine = sa.create_engine(driver, pool_pre_ping=True, connect_args={"connect_timeout": 5})
        self._workspace = workspace
        self._ready = False

    def records(self, entity: str) -> list[Record]:
        """Everything recorded on ``entity``, in order."""
        with self._connected() as connection:
            return self._read(connection, entity)

    def entities(self) -> list[str]:
        """Everyone on whom something is recorded."""
        query = sa.select(_TABLE.c.entity).where(_TABLE.c.workspace == self._workspace).distinct().order_by("entity")
        with self._connected() as connection:
            return list(connection.scalars(query))

    @contextmanager
    def opened(self, entity: str) -> Iterator[Page]:
        """The page of ``entity``, closed to others meanwhile: by a lock of the session, which outlives each commit."""
        lock = sa.func.hashtextextended(f"{self._workspace}/{entity}", 0)
        with self._connected() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(lock)))
            connection.commit()
            try:
                yield _PostgresPage(self, connection, entity)
            finally:
                connection.rollback()
                connection.execute(sa.select(sa.func.pg_advisory_unlock(lock)))
                connection.commit()

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        try:
            with self._prepared() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise unrecorded(error) from error

    @contextmanager
    def _prepared(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            if not self._ready:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PREPARING)))
                if not sa.inspect(connection).has_table(_TABLE.name, schema=SCHEMA):
                    connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
                    _METADATA.create_all(connection)
                    connection.execute(sa.text(_APPEND_ONLY))
                connection.commit()
                self._ready = True
            yield connection

    def _read(self, connection: sa.Connection, entity: str) -> list[Record]:
        query = (
            sa.select(_TABLE)
            .where(_TABLE.c.workspace == self._workspace, _TABLE.c.entity == entity)
            .order_by(_TABLE.c.number)
        )
        return [_record(row) for row in connection.execute(query).mappings()]

    def _add(self, connection: sa.Connection, record: Record) -> None:
        connection.execute(_TABLE.insert().values(workspace=self._workspace, **msgspec.structs.asdict(record)))
        connection.commit()


class _PostgresPage:
    def __init__(self, ledger: PostgresLedger, connection: sa.Connection, entity: str) -> None:
        self._ledger = ledger
        self._connection = connection
        self._entity = entity

    @property
    def records(self) -> list[Record]:
        return self._ledger._read(self._connection, self._entity)  # noqa: SLF001

    def append(self, record: Record) -> None:
        self._ledger._add(self._connection, record)  # noqa: SLF001


def _record(row: Any) -> Record:
    values: dict[str, str | datetime] = {name: row[name] for name in _FIELDS}
    return msgspec.convert(
        {**values, "sources": tuple(row["sources"]), "purposes": tuple(row["purposes"])}, Record, strict=True
    )
