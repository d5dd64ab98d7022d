"""A bounded pool of connections to PostgreSQL, and statements that SQLAlchemy compiles once.

The tables and statements are SQLAlchemy Core. They are run by asyncpg itself: a statement through SQLAlchemy's own
asynchronous engine takes two to three times the processor time (see ADR 25).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import Dialect

from credit301.errors import Credit301Error

SIZE = 8
WAITING_FOR_EACH = 8
"""Requests that may wait for each connection; one more is turned away, so that no queue grows without end."""
CONNECT_SECONDS = 3.0
STATEMENT_SECONDS = 5.0
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # The driver says so of a connection whose server died in the middle of a statement.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    # Another server than ours, or another password: nothing that whoever applies can mend.
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    OSError,
    TimeoutError,
)
_DIALECT: Dialect = dialect()  # type: ignore[no-untyped-call]


class ApplicationsUnavailable(Credit301Error):
    """The database of applications does not answer, or has not got the tables."""


class ApplicationsBusy(Credit301Error):
    """More requests wait for the database than may."""


class Statement:
    """A statement of SQLAlchemy Core as asyncpg takes it.

    Args:
        clause: with named ``bindparam``; what has a value already keeps it.
    """

    def __init__(self, clause: sa.ClauseElement) -> None:
        compiled: Any = clause.compile(dialect=_DIALECT)
        self.text = str(compiled)
        self._defaults = dict(compiled.params)
        self._names = tuple(compiled.positiontup)

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The values in the order of their places."""
        known = {**self._defaults, **values}
        return [known[name] for name in self._names]


class Database:
    """Connections to one database, made when they are first needed.

    Args:
        address: ``postgresql://`` URL.
        size: most connections at once.
    """

    def __init__(self, address: str, size: int = SIZE) -> None:
        self._address = address
        self._size = size
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._inside = 0

    async def fetch(self, statement: Statement, **values: Any) -> list[Any]:
        """Rows of ``statement``, which is a transaction of its own.

        Raises:
            ApplicationsUnavailable: the database does not answer, or not in time; a change may have been made or not.
            ApplicationsBusy: too many wait already.
        """
        async with self._acquired() as connection:
            rows: list[Any] = await connection.fetch(statement.text, *statement.arguments(values))
            return rows

    async def first(self, statement: Statement, **values: Any) -> Any | None:
        """The first row, if there is one; raises as :meth:`fetch`."""
        async with self._acquired() as connection:
            return await connection.fetchrow(statement.text, *statement.arguments(values))

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Any]:
        if self._inside >= self._size * (1 + WAITING_FOR_EACH):
            raise ApplicationsBusy("Too many requests wait for the database of applications.", hint="Try again later.")
        self._inside += 1
        try:
            pool = self._pool or await self._opened()
            async with pool.acquire(timeout=STATEMENT_SECONDS) as connection:
                yield connection
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
            raise ApplicationsUnavailable(
                "The tables of applications are not there or not up to date.",
                hint="Run: credit301 applications migrate.",
            ) from error
        except _GONE as error:
            raise _gone(error) from error
        finally:
            self._inside -= 1

    async def _opened(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._address,
                    min_size=0,
                    max_size=self._size,
                    timeout=CONNECT_SECONDS,
                    command_timeout=STATEMENT_SECONDS,
                    init=_prepare,
                    server_settings={"application_name": "credit301 applications"},
                )
            return self._pool

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", encoder=_json, decoder=msgspec.json.decode, schema="pg_catalog")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _gone(error: Exception) -> ApplicationsUnavailable:
    return ApplicationsUnavailable(
        f"The database of applications does not answer: {type(error).__name__}.",
        hint="PostgreSQL must run: `credit301 up` starts it; `credit301 status` shows what runs.",
    )
