"""The online store, read in one round trip: every feature of every view of one entity with one HMGET."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Self

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from credit301.errors import FeatureStoreError
from credit301.features.feast_wire import Scalar, decode_timestamp, decode_value, entity_key
from credit301.model.bundle import Manifest


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
    """A pool of connections to the online store.

    Args:
        url: ``redis://`` or ``rediss://`` URL.
        timeout: seconds to wait for a connection, and for an answer.
        connections: most connections open at once; further requests wait their turn for ``timeout``.
    """

    def __init__(self, url: str, *, timeout: float = 1.0, connections: int = 32) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            socket_keepalive=True,
            # One immediate retry on a new connection: a restarted server has closed the old one; a read is harmless.
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[RedisConnectionError],
        )
        self._client = Redis(connection_pool=pool)

    async def read(self, plan: Plan, entity: str) -> FeatureRow:
        """Everything that ``plan`` names, of the entity with this key, in one round trip.

        Raises:
            StoreUnreachable: the store cannot be reached, or not in time.
            FeatureStoreError: it holds something under this key that Feast did not write.
        """
        key = entity_key(plan.project, plan.join_key, entity)
        try:
            # execute_command and not hmget, whose types know neither byte keys nor mixed fields.
            reply = await self._client.execute_command("HMGET", key, *plan.fields)  # type: ignore[no-untyped-call]
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
            await self._client.execute_command("PING")  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose(close_connection_pool=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _unreachable(error: Exception) -> StoreUnreachable:
    slow = isinstance(error, RedisTimeoutError)
    return StoreUnreachable(
        f"The online store {'did not answer in time' if slow else 'cannot be reached'}: {type(error).__name__}.",
        hint="Check that Redis runs and CREDIT301_REDIS_URL names it.",
    )
