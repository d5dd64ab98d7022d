"""Taking an enterprise out of the online store, and out of the log by which the store starts again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from redis import RedisCluster
from redis.exceptions import RedisError, ResponseError

from credit301.errors import FeatureStoreError
from credit301.features.online_address import OnlineAddress
from credit301.features.packed_wire import entity_key

if TYPE_CHECKING:
    from credit301.governance.erasure.target import Target
    from credit301.workspace import Workspace

_SPECIAL = "\\*?[]"


def erase(workspace: Workspace, target: Target) -> int:
    """Delete every key of the online store that names ``target``; how many those were.

    Raises:
        FeatureStoreError: the store does not answer.
    """
    address = OnlineAddress.parse(workspace.settings.redis_address())
    client: Any = address.client(socket_timeout=30, socket_connect_timeout=2)
    try:
        deleted = int(client.delete(entity_key(workspace.name, workspace.entity.key, target.value)))
        pattern = "".join(f"\\{character}" if character in _SPECIAL else character for character in target.value)
        for key in client.scan_iter(match=f"*{pattern}*", count=10_000):
            deleted += int(client.delete(key))
        # What was written stands in the log until it is written anew; a store that keeps none refuses.
        with contextlib.suppress(ResponseError):
            for server in _servers(client):
                server.bgrewriteaof()
    except RedisError as error:
        raise FeatureStoreError(
            f"The online store does not answer: {type(error).__name__}.",
            hint="Start it, then run the same erasure again: it goes on where it was.",
        ) from error
    finally:
        client.close()
    return deleted


def _servers(client: Any) -> list[Any]:
    """A client of each server that holds keys."""
    if not isinstance(client, RedisCluster):
        return [client]
    nodes: Any = client.get_primaries()  # type: ignore[no-untyped-call]
    return [client.get_redis_connection(node) for node in nodes]
