"""How Alembic runs the migrations: on the connection that :mod:`credit301.applications.migrate` hands to it."""

from __future__ import annotations

from alembic import context

from credit301.applications.tables import METADATA, SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=lambda name, kind, _: kind != "schema" or name == SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
