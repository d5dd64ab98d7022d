"""The servers of the online store: commands sent in one go, to each server that has a part of them.

A connection that turns out to be broken is opened anew, once. In a cluster the commands of one question go to all
servers concerned at the same time; a slot that has moved is asked for once more where it is now.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from credit301.features.online_address import OnlineAddress
from serving.pipeline import Pipeline

SLOTS = 16_384
_ASKING = hiredis.pack_command(("ASKING",))
_PING = hiredis.pack_command(("PING",))
_CLUSTER_SLOTS = hiredis.pack_command(("CLUSTER", "SLOTS"))  # type: ignore[arg-type]
_TRIES = 3


@dataclass(frozen=True)
class Command:
    """A packed command about one key (or several of the same slot), which does no harm when it is sent again."""

    key: bytes
    packed: bytes

    @classmethod
    def of(cls, key: bytes, *words: bytes | str) -> Command:
        """The command of ``words``. Packed by hiredis: redis-py takes ten times as long."""
        return cls(key, hiredis.pack_command(words))  # type: ignore[arg-type]


class Servers(Protocol):
    """One server, or a cluster of them."""

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Replies in order.

        Raises:
            ResponseError: the first refusal, where there was one.
        """

    async def ping(self) -> None:
        """Check that the servers answer."""

    async def close(self) -> None:
        """Close every connection."""


class Server:
    """One server, asked over one connection.

    Args:
        url: ``redis://`` or ``rediss://`` URL.
        timeout: seconds to wait for a connection, and for an answer.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        self._timeout = timeout
        self._pipeline: Pipeline | None = None
        self._opening: asyncio.Task[Pipeline] | None = None
        self._factory = ConnectionPool.from_url(
            url, socket_connect_timeout=timeout, socket_keepalive=True, retry=Retry(NoBackoff(), 0)
        )

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Replies in order; raises the first refusal, where there was one."""
        replies = await self.exchange([command.packed for command in commands])
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def exchange(self, packed: Sequence[bytes]) -> list[Any]:
        """Replies in order, refusals among them."""
        pipeline = self._pipeline
        if pipeline is not None and pipeline.open:
            try:
                return await pipeline.ask(packed)
            except RedisConnectionError:
                # A restarted server has closed the old one; to ask again does no harm.
                pass
        async with asyncio.timeout(self._timeout):
            pipeline = await self._opened()
            return await pipeline.ask(packed)

    async def _opened(self) -> Pipeline:
        """The open connection; those who want one at the same time open one together."""
        if self._pipeline is not None and self._pipeline.open:
            return self._pipeline
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            # Those who wanted it may all have given up: then nobody asks how it ended.
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Pipeline:
        self._pipeline = await Pipeline.over(self._factory.make_connection(), self._timeout)
        return self._pipeline

    async def ping(self) -> None:
        """Check that it answers."""
        await self.exchange([_PING])

    async def close(self) -> None:
        """Close the connection."""
        if self._pipeline is not None:
            self._pipeline.close()


class Cluster:
    """Connections to every server of a cluster that has something to answer.

    Args:
        address: some of its nodes; they name the others.
        timeout: seconds to wait for a connection, and for the answers to one question.
    """

    def __init__(self, address: OnlineAddress, *, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._servers: dict[tuple[str, int], Server] = {}
        self._owners: list[Server | None] = [None] * SLOTS
        self._looking: asyncio.Task[None] | None = None

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Replies in order; raises the first refusal that is not about where a slot is."""
        replies: list[Any] = [None] * len(commands)
        due = list(range(len(commands)))
        async with asyncio.timeout(self._timeout):
            for attempt in range(_TRIES):
                again = await self._ask_owners(commands, due, replies)
                if not again:
                    break
                if attempt == _TRIES - 1:
                    raise ClusterError("slots keep moving")
                await self._look()
                due = again
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def _ask_owners(self, commands: Sequence[Command], due: list[int], replies: list[Any]) -> list[int]:
        """Fill in the replies to what is ``due``; gives what must be asked once more."""
        if any(self._owners[slot_of(commands[place].key)] is None for place in due):
            await self._look()
        parts: dict[Server, list[int]] = {}
        for place in due:
            owner = self._owners[slot_of(commands[place].key)]
            if owner is None:
                raise ClusterDownError("CLUSTERDOWN a slot has no server")
            parts.setdefault(owner, []).append(place)
        if len(parts) == 1:
            ((server, places),) = parts.items()
            return await self._ask_one(server, commands, places, replies)
        asked = (self._ask_one(server, commands, places, replies) for server, places in parts.items())
        return sorted(place for again in await asyncio.gather(*asked) for place in again)

    async def _ask_one(
        self, server: Server, commands: Sequence[Command], places: list[int], replies: list[Any]
    ) -> list[int]:
        try:
            found = await server.exchange([commands[place].packed for place in places])
        except (RedisConnectionError, OSError):
            # The server may have failed; another may have its slots by now.
            return places
        again = []
        for place, reply in zip(places, found, strict=True):
            replies[place] = reply
            # MovedError first: it is an AskError to redis-py.
            if isinstance(reply, MovedError | ClusterDownError):
                again.append(place)
            elif isinstance(reply, AskError):
                host, port = reply.node_addr[0], reply.node_addr[1]
                replies[place] = (await self._server(host, port).exchange([_ASKING, commands[place].packed]))[1]
        return again

    async def _look(self) -> None:
        """Learn which server has which slots; those who want to know at the same time look once."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._learn())
        await asyncio.shield(self._looking)

    async def _learn(self) -> None:
        problem: Exception = RedisConnectionError("no node of the cluster answers")
        for host, port in dict.fromkeys((*self._servers, *self._address.nodes)):
            try:
                (ranges,) = await self._server(host, port).exchange([_CLUSTER_SLOTS])
            except (RedisConnectionError, OSError) as error:
                problem = error
                continue
            if isinstance(ranges, ResponseError):
                raise ranges
            owners: list[Server | None] = [None] * SLOTS
            for first, last, primary, *_ in ranges:
                # A node that does not know its own name yet means itself.
                name = primary[0].decode() or host
                owners[first : last + 1] = [self._server(name, primary[1])] * (last + 1 - first)
            self._owners = owners
            return
        raise problem

    def _server(self, host: str, port: int) -> Server:
        if (host, port) not in self._servers:
            self._servers[host, port] = Server(self._address.url(host, port), timeout=self._timeout)
        return self._servers[host, port]

    async def ping(self) -> None:
        """Check that every server that has slots answers."""
        async with asyncio.timeout(self._timeout):
            await self._look()
            for server in {id(owner): owner for owner in self._owners if owner is not None}.values():
                await server.ping()

    async def close(self) -> None:
        """Close every connection."""
        for server in self._servers.values():
            await server.close()


def connect(address: OnlineAddress, *, timeout: float) -> Servers:
    """The servers at ``address``; connections are opened when they are needed."""
    if address.cluster:
        return Cluster(address, timeout=timeout)
    return Server(address.url(*address.nodes[0]), timeout=timeout)


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC-16 (XMODEM) of it, or of what stands between its first ``{`` and the next ``}``."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS
