"""The consents of an enterprise beside its features, so that a decision reads both in one round trip.

The entry is a copy of what stands in the ledger. It is written while the enterprise's page is held, and confirmed to be
on the store's disk where it keeps one, so that a store that starts again does not go back to before a withdrawal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from redis import Redis, RedisCluster
from redis.exceptions import MovedError, RedisError, ResponseError

from credit301.errors import FeatureStoreError
from credit301.features.online_address import OnlineAddress
from credit301.governance.consent.ledger import ConsentUnavailable
from credit301.governance.consent.records import Standing

if TYPE_CHECKING:
    from credit301.workspace import Workspace

_DECODER = msgspec.msgpack.Decoder(tuple[Standing, ...])
_MICROSECONDS = 1_000_000
_DISK_MILLISECONDS = 2000


def online_key(workspace: str, entity: str) -> bytes:
    """Redis key of the consents of the enterprise whose keyed hash is ``entity``."""
    return f"credit301:{workspace}:consent:{entity}".encode()


def decode(data: bytes | None) -> tuple[Standing, ...]:
    """What stands in an entry; nothing where there is none.

    Raises:
        FeatureStoreError: the entry is none that the platform wrote.
    """
    if not data:
        return ()
    try:
        return _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise FeatureStoreError(
            "The online store has a consent that cannot be read.", hint="Publish it anew: credit301 consent sync."
        ) from error


class OnlineConsents:
    """Writes entries.

    Args:
        client: of the online store.
        workspace: name of the workspace.
    """

    def __init__(self, client: Redis | RedisCluster, workspace: str) -> None:
        self._client: Any = client
        self._workspace = workspace

    @classmethod
    def of(cls, workspace: Workspace) -> OnlineConsents:
        """Those of ``workspace``."""
        address = OnlineAddress.parse(workspace.settings.redis_address())
        client = address.client(socket_timeout=5, socket_connect_timeout=2)
        return cls(client, workspace.name)

    def publish(self, entity: str, standings: Sequence[Standing]) -> None:
        """Make the entry of ``entity`` say exactly ``standings``.

        Raises:
            ConsentUnavailable: the store did not take it.
        """
        key = online_key(self._workspace, entity)
        try:
            try:
                self._write(key, standings)
            except MovedError:
                self._client.nodes_manager.initialize()
                self._write(key, standings)
        except RedisError as error:
            raise ConsentUnavailable(
                f"The consent is recorded, but the online store did not take it: {type(error).__name__}.",
                hint="When the store is back: credit301 consent sync. Until then it may hold what stood before.",
            ) from error

    def held(self, entity: str) -> tuple[Standing, ...]:
        """What the entry of ``entity`` says."""
        return decode(self._client.get(online_key(self._workspace, entity)))

    def _write(self, key: bytes, standings: Sequence[Standing]) -> None:
        cluster = isinstance(self._client, RedisCluster)
        where = self._client.get_redis_connection(self._client.get_node_from_key(key)) if cluster else self._client
        # The answer is about this connection's writes: another one of the pool would say yes at once.
        with where.client() as connection:
            if standings:
                last = max(item.valid_until for item in standings) // _MICROSECONDS + 1
                connection.set(key, msgspec.msgpack.encode(tuple(standings)), exat=last)
            else:
                connection.delete(key)
            try:
                synced, _ = connection.execute_command("WAITAOF", 1, 0, _DISK_MILLISECONDS)
            except ResponseError:
                # It keeps nothing on disk (or is too old to be asked): what it loses it loses altogether, and then
                # there is no consent at all.
                return
        if not synced:
            raise RedisError("it is not on the store's disk yet")
