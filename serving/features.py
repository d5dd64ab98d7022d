"""The online store, read in one round trip: every feature of every view of one entity with one HMGET."""

from __future__ import annotations

import asyncio
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import hiredis
import msgspec
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from credit301.errors import FeatureStoreError
from credit301.features.feast_wire import Scalar, decode_timestamp, decode_value, entity_key
from credit301.model.bundle import Manifest

_PING = hiredis.pack_command(("PING",))


class FeatureRow(msgspec.Struct, frozen=True):
    """What the store has on one entity: ``values`` in plan order, and the event time of each view's row."""

    values: list[Scalar]
    as_of: dict[str, datetime | None]

    @property
    def found(self) -> bool:
        """Whether the store has anything on the entity."""
        return any(time is not None for time in self.as_of.values()) or any(value is not None for value in self.values)


class Plan:
    """What to read for a bundle, prepared once."""

    def __init__(self, manifest: Manifest) -> None:
        self.project = manifest.feature_project
        self.join_key = manifest.entity_key
        self.keys = tuple(f"{view.name}:{feature.name}" for view in manifest.views for feature in view.features)
        self.views = tuple(view.name for view in manifest.views)
        self.fields: list[bytes | str] = [
            bytes.fromhex(feature.redis_field) for view in manifest.views for feature in view.features
        ]
        self.fields += [view.ts_field for view in manifest.views]

    def decode(self, reply: list[bytes | None]) -> FeatureRow:
        """The row in a reply to ``HMGET key *fields``.

        Raises:
            FeatureStoreError: a value is none that Feast writes.
        """
        count = len(self.keys)
        return FeatureRow(
            values=[decode_value(data) for data in reply[:count]],
            as_of=dict(zip(self.views, map(decode_timestamp, reply[count:]), strict=True)),
        )


class StoreUnreachable(FeatureStoreError):
    """The online store did not answer; asking again may help."""


class OnlineStore:
    """Connections to the online store.

    redis-py's own pool asks each connection for its health before each use, which takes longer than the read itself;
    here one that turns out to be broken is opened anew, once.

    Args:
        url: ``redis://`` or ``rediss://`` URL.
        timeout: seconds to wait for a connection and for the answer.
        connections: most connections open at once; further requests wait their turn.
    """

    def __init__(self, url: str, *, timeout: float = 1.0, connections: int = 32) -> None:
        self._timeout = timeout
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[AbstractConnection] = []
        self._factory = ConnectionPool.from_url(
            url, socket_connect_timeout=timeout, socket_keepalive=True, retry=Retry(NoBackoff(), 0)
        )

    async def read(self, plan: Plan, entity: str) -> FeatureRow:
        """Everything that ``plan`` names, of the entity with this key, in one round trip.

        Raises:
            StoreUnreachable: the store cannot be reached, or not in time.
            FeatureStoreError: it holds something under this key that Feast did not write.
        """
        key = entity_key(plan.project, plan.join_key, entity)
        try:
            # Packed by hiredis, whose types know only one-tuples: redis-py packs 80 fields in ten times the time.
            reply = await self._ask(hiredis.pack_command(("HMGET", key, *plan.fields)))  # type: ignore[arg-type]
        except ResponseError as error:
            raise FeatureStoreError(
                f"The online store refuses to read a row: {error}.",
                hint="Materialize the features again; something else wrote to this key.",
            ) from error
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        return plan.decode(reply)

    async def ping(self) -> None:
        """Check that the store answers.

        Raises:
            StoreUnreachable: it does not.
        """
        try:
            await self._ask(_PING)
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def _ask(self, command: bytes) -> Any:
        """Send a packed command that changes nothing, and give its reply."""
        async with asyncio.timeout(self._timeout), self._slots:
            connection = self._idle.pop() if self._idle else self._factory.make_connection()
            try:
                try:
                    return await _exchange(connection, command)
                except RedisConnectionError:
                    # A restarted server has closed the old one; a second read does no harm.
                    return await _exchange(connection, command)
            finally:
                self._idle.append(connection)

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._idle:
            await connection.disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _exchange(connection: AbstractConnection, command: bytes) -> Any:
    """Opens the connection where it is closed, and closes it on any failure, so that no reply is left in it."""
    await connection.send_packed_command(command)
    return await connection.read_response()


def _unreachable(error: Exception) -> StoreUnreachable:
    slow = isinstance(error, TimeoutError | RedisTimeoutError)
    return StoreUnreachable(
        f"The online store {'did not answer in time' if slow else 'cannot be reached'}: {type(error).__name__}.",
        hint="Check that Redis runs and CREDIT301_REDIS_URL names it.",
    )
