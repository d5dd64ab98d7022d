"""Which messages were seen before: a signature is accepted once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError

from credit301.domain.text import Text
from credit301.features.online_address import OnlineAddress
from credit301.signing.errors import SignatureUnchecked

PREFIX = "credit301:nonce"


class SeenNonces(Protocol):
    """Remembers nonces for as long as their messages could be accepted."""

    async def first(self, key_id: str, nonce: str, seconds: int) -> bool:
        """Remember ``nonce`` of ``key_id`` for ``seconds``; whether it was new.

        Raises:
            SignatureUnchecked: it cannot be told; the message must not be accepted.
        """
        ...


class MemoryNonces:
    """In this process only: for tests, and for a bank of one process.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], float] = {}

    async def first(self, key_id: str, nonce: str, seconds: int) -> bool:
        """As :meth:`SeenNonces.first`."""
        now = self._clock()
        for old in [name for name, until in self._seen.items() if until <= now]:
            del self._seen[old]
        known = (key_id, nonce) in self._seen
        if not known:
            self._seen[key_id, nonce] = now + seconds
        return not known


class RedisNonces:
    """In the online store, for all processes that receive messages.

    Args:
        url: as ``CREDIT301_REDIS_URL``.
        timeout: seconds to wait for a connection and for the answer.
    """

    def __init__(self, url: str, *, timeout: float = 1.0) -> None:
        self._client: Any = _client(OnlineAddress.parse(url), timeout)

    async def first(self, key_id: str, nonce: str, seconds: int) -> bool:
        """As :meth:`SeenNonces.first`."""
        # Hashed: whatever a sender writes, keys of the store are short and of one form.
        name = hashlib.sha256(f"{key_id}\n{nonce}".encode()).hexdigest()
        try:
            return bool(await self._client.set(f"{PREFIX}:{name}", b"1", nx=True, ex=max(1, seconds)))
        except (RedisError, OSError) as error:
            raise SignatureUnchecked(
                Text(
                    zh="暂时无法核对报文是否重复，报文未被接受。",
                    en="Whether the message was seen before cannot be told now.",
                ),
                hint=Text(zh="请稍后用新的签名重发。", en="It was not accepted. Sign it anew and send it again later."),
            ) from error

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()


def _client(address: OnlineAddress, timeout: float) -> Any:
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    if not address.cluster:
        return Redis.from_url(address.url(*address.nodes[0]), **options)
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in address.nodes],
        username=address.username or None,
        password=address.password or None,
        ssl=address.tls,
        **options,
    )
