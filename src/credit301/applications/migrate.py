"""Bringing the tables of applications to the installed version, with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from credit301.applications.tables import SCHEMA
from credit301.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config

    from credit301.settings import Settings

DATABASE = "credit301"
_PREPARING = 301_015


def migrate(settings: Settings) -> dict[str, str | bool]:
    """Apply the migrations that are missing; processes that do so at once wait for one another.

    Returns:
        The ``revision`` that the tables have now, and whether they were ``migrated``.

    Raises:
        ConfigError: the database does not answer or refuses.
    """
    import sqlalchemy as sa
    from alembic import command
    from alembic.runtime.migration import MigrationContext

    address = settings.postgres_address(DATABASE).replace("postgresql://", "postgresql+psycopg://", 1)
    engine = sa.create_engine(address, connect_args={"connect_timeout": 5}, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PREPARING)))
            connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
            context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
            before = context.get_current_revision()
            command.upgrade(configuration(connection), "head")
            after = context.get_current_revision()
    except sa.exc.SQLAlchemyError as error:
        raise ConfigError(
            f"The tables of applications could not be brought up to date: {type(error).__name__}.",
            hint="PostgreSQL must run and hold the database credit301: `credit301 up` starts it.",
        ) from error
    return {"revision": str(after), "migrated": before != after}


def configuration(connection: object) -> Config:
    """Alembic's configuration for ``connection``."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config
