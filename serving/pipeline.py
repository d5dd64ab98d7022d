"""One connection to a server of the online store, shared by all questions: they go out without waiting for each other.

redis-py opens it, with TLS, login and database; from then on its bytes are read here: redis-py's streams and locks take
longer than the server does. Replies come in the order of the questions.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

_INCOMPLETE = object()
_LOOKS = 4
"""How often within the time for an answer it is looked whether one is overdue."""


class _Question:
    __slots__ = ("answered", "asked_at", "replies", "wanted")

    def __init__(self, wanted: int, asked_at: float, answered: asyncio.Future[list[Any]]) -> None:
        self.wanted = wanted
        self.asked_at = asked_at
        self.answered = answered
        self.replies: list[Any] = []


class Pipeline(asyncio.Protocol):
    """Questions and their replies on one open connection.

    Whoever stops waiting leaves the question where it is; its replies are passed over when they come.

    Args:
        timeout: seconds within which a question must be answered; a server that does not is hung up on.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=_INCOMPLETE
        )
        self._waiting: deque[_Question] = deque()
        self._transport: asyncio.Transport | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._watch: asyncio.TimerHandle | None = None

    @classmethod
    async def over(cls, connection: AbstractConnection, patience: float) -> Pipeline:
        """Open ``connection`` and take its transport over: redis-py has nothing to do with it any more.

        ``patience``: seconds within which a question must be answered.

        Raises:
            redis.exceptions.RedisError: it cannot be opened.
        """
        await connection.connect()
        pipeline = cls(patience)
        # Kept, for a stream writer that goes closes its transport.
        pipeline._writer = cast("asyncio.StreamWriter", connection._writer)  # noqa: SLF001
        pipeline._transport = cast("asyncio.Transport", pipeline._writer.transport)
        pipeline._transport.set_protocol(pipeline)
        connection._reader = connection._writer = None  # noqa: SLF001
        return pipeline

    @property
    def open(self) -> bool:
        """Whether questions may be asked."""
        return self._transport is not None

    def ask(self, packed: Sequence[bytes]) -> asyncio.Future[list[Any]]:
        """Send commands; their replies in order, refusals among them.

        The future fails with ``ConnectionError`` of redis-py where the connection broke, and ``TimeoutError`` where no
        reply came in time.
        """
        answered: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._transport is None:
            answered.set_exception(RedisConnectionError("the connection is closed"))
            return answered
        self._waiting.append(_Question(len(packed), self._loop.time(), answered))
        self._transport.write(b"".join(packed))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout / _LOOKS, self._look)
        return answered

    def data_received(self, data: bytes) -> None:
        """Called by the loop with what has come."""
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while waiting:
                question = waiting[0]
                while len(question.replies) < question.wanted:
                    if (reply := reader.gets()) is _INCOMPLETE:
                        return
                    question.replies.append(reply)
                waiting.popleft()
                if not question.answered.done():
                    question.answered.set_result(question.replies)
        except InvalidResponse as error:
            self._hang_up(RedisConnectionError(f"what came is no reply: {error}"))

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the loop: nothing more will come."""
        self._hang_up(RedisConnectionError("the server closed the connection"))

    def close(self) -> None:
        """Close the connection; whoever waits is told so."""
        self._hang_up(RedisConnectionError("the connection was closed"))

    def _look(self) -> None:
        """Hang up where the oldest question is overdue."""
        self._watch = None
        if not self._waiting:
            return
        latest = self._loop.time() - self._timeout
        if self._waiting[0].asked_at > latest:
            self._watch = self._loop.call_later(self._timeout / _LOOKS, self._look)
            return
        while self._waiting and self._waiting[0].asked_at <= latest:
            overdue = self._waiting.popleft()
            if not overdue.answered.done():
                overdue.answered.set_exception(TimeoutError())
        # The others may have more luck with another connection.
        self._hang_up(RedisConnectionError("the server does not answer"))

    def _hang_up(self, problem: RedisConnectionError) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._waiting:
            question = self._waiting.popleft()
            if not question.answered.done():
                question.answered.set_exception(problem)
