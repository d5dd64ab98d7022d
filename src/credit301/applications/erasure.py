"""Taking an enterprise, or a person, out of the applications: rows are deleted, and the tables written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from credit301.applications.migrate import DATABASE
from credit301.applications.tables import METADATA, SCHEMA, applications, checks
from credit301.errors import Credit301Error
from credit301.settings import Profile

if TYPE_CHECKING:
    from credit301.workspace import Workspace


class ApplicationsNotErased(Credit301Error):
    """The database of applications does not answer; the same erasure, run again, goes on."""


def erase(workspace: Workspace, named: str) -> int:
    """Delete the applications of whom the keyed hash is ``named``, with their history, messages and checks; how many.

    Of a person, whose checks are named so, the applications stay, which are the enterprise's, and the checks go.

    Raises:
        ApplicationsNotErased: the database does not answer, though there is one.
    """
    settings = workspace.settings
    if settings.profile is Profile.EMBEDDED and not (settings.postgres_url or (settings.home / "postgres").exists()):
        return 0
    address = settings.postgres_address(DATABASE).replace("postgresql://", "postgresql+psycopg://", 1)
    engine = sa.create_engine(address, connect_args={"connect_timeout": 5}, poolclass=sa.NullPool)
    mine = applications.c.workspace == workspace.name
    of_a_person = sa.and_(
        checks.c.person == named, checks.c.application_id.in_(sa.select(applications.c.id).where(mine))
    )
    try:
        with engine.begin() as connection:
            if not sa.inspect(connection).has_table(applications.name, schema=SCHEMA):
                return 0
            gone = connection.execute(sa.delete(applications).where(mine, applications.c.named == named)).rowcount
            gone += connection.execute(sa.delete(checks).where(of_a_person)).rowcount
        if gone:
            _rewrite(engine)
    except sa.exc.SQLAlchemyError as error:
        raise ApplicationsNotErased(
            f"The applications were not erased: {type(error).__name__}.",
            hint="Start PostgreSQL (credit301 up), then run the same erasure again.",
        ) from error
    return int(gone)


def _rewrite(engine: sa.Engine) -> None:
    """A delete leaves the bytes in the files, and the statistics keep frequent values."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in METADATA.sorted_tables:
            connection.execute(sa.text(f'vacuum (full, analyze) "{SCHEMA}"."{table.name}"'))
        connection.execute(sa.text("vacuum (full, analyze) pg_catalog.pg_statistic"))
