"""What is said of a database that is gone, however the driver puts it."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from credit301.applications import statements
from credit301.applications.database import ApplicationsUnavailable, Database


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("closed in the middle of operation"),
        # What a relay once died of when the server was killed.
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.InvalidPasswordError("password authentication failed"),
        ConnectionRefusedError("nobody listens"),
        TimeoutError(),
    ],
)
def test_a_server_that_is_gone_is_unavailable(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def acquire(self, **_: Any) -> Pool:
            return self

        async def __aenter__(self) -> Any:
            raise error

        async def __aexit__(self, *_: object) -> None:
            return None

    database = Database("postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setattr(database, "_pool", Pool())
    with pytest.raises(ApplicationsUnavailable) as told:
        asyncio.run(database.fetch(statements.WAITING_MESSAGES, workspace="w"))
    assert told.value.__cause__ is error
