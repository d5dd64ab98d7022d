"""The load: clients that each send their next request as soon as they have the answer; a process of its own.

``python -m benchmarks.load`` reads a :class:`Load` as JSON from standard input and prints the :class:`Answered` of it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import httptools
import msgspec
import uvloop

from benchmarks.harness import BenchmarkError, percentile

HOST = "127.0.0.1"
_GRACE = 60
Ask = Callable[[int], Awaitable[None]]


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: ``bodies`` in turn, posted to ``path`` on ``port``.

    A ``pair`` sends them to Feast, and the ``columns`` of each answer to MLflow on ``model_port``.
    ``pace``: requests a second, by the clock; each is late by as much as no client was free for it, and its time counts
    from when it was due. 0: each client sends the next one when it has its answer.
    ``refusable``: whether an answer of 429 is counted instead of being an error.
    """

    kind: Literal["bodies", "pair"]
    clients: int
    seconds: float
    warm_up: float
    pace: float = 0.0
    refusable: bool = False
    port: int
    path: str
    bodies: list[str]
    headers: dict[str, str] = {}
    model_port: int = 0
    columns: list[str] = []


class Answered(msgspec.Struct, frozen=True):
    """Answers a second within the time, and milliseconds that they took; refusals a second and their p99."""

    rate: float
    p50: float
    p99: float
    refused: float = 0.0
    refused_p99: float = 0.0


class RefusedError(BenchmarkError):
    """The answer was that there is too much to do."""


class Connection(asyncio.Protocol):
    """One kept-alive HTTP connection that carries one request at a time."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._parser: Any = None
        self._waiting: asyncio.Future[bytes] | None = None
        self._body: list[bytes] = []

    @classmethod
    async def to(cls, port: int) -> Connection:
        """A connection to ``port`` on this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, HOST, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the loop with a part of the answer."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: nothing more will come."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(BenchmarkError(f"the connection was closed: {exc}"))

    def on_body(self, body: bytes) -> None:
        """Called by the parser with a part of the answer."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the answer."""
        status, body = self._parser.get_status_code(), b"".join(self._body)
        if self._waiting is None or self._waiting.done():
            return
        if status == 200:  # noqa: PLR2004
            self._waiting.set_result(body)
        elif status == 429:  # noqa: PLR2004
            self._waiting.set_exception(RefusedError("429"))
        else:
            self._waiting.set_exception(BenchmarkError(f"{status}: {body[:300].decode(errors='replace')}"))

    async def send(self, request: bytes) -> bytes:
        """Send a whole request; the body of its answer.

        Raises:
            BenchmarkError: it is not a success.
        """
        self._parser, self._body = httptools.HttpResponseParser(self), []
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Close it."""
        self._transport.close()


def post(port: int, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a request that posts JSON."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}:{port}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _posting(load: Load, connection: Connection) -> Ask:
    requests = [post(load.port, load.path, body.encode(), load.headers) for body in load.bodies]

    async def ask(number: int) -> None:
        await connection.send(requests[number % len(requests)])

    return ask


def _pair(load: Load, features: Connection, model: Connection) -> Ask:
    requests = [post(load.port, load.path, body.encode(), load.headers) for body in load.bodies]

    async def ask(number: int) -> None:
        answer = json.loads(await features.send(requests[number % len(requests)]))
        names = answer["metadata"]["feature_names"]
        values = {name: found["values"][0] for name, found in zip(names, answer["results"], strict=True)}
        row = [values[column] for column in load.columns]
        body = json.dumps({"dataframe_split": {"columns": load.columns, "data": [row]}}).encode()
        await model.send(post(load.model_port, "/invocations", body, {}))

    return ask


async def _served(ask: Ask, number: int, *, refusable: bool) -> bool:
    try:
        await ask(number)
    except RefusedError:
        if not refusable:
            raise
        return False
    return True


async def run(load: Load) -> Answered:
    """Send ``load``; answers during the warm-up do not count.

    Raises:
        BenchmarkError: a request was not answered with success.
    """
    connections: list[Connection] = []
    numbers = itertools.count()
    taken: list[float] = []
    refused: list[float] = []
    opened = time.perf_counter()
    begin = opened + load.warm_up
    end = begin + load.seconds

    async def due(number: int) -> float:
        if not load.pace:
            return time.perf_counter()
        moment = opened + number / load.pace
        if (early := moment - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        return moment

    async def client() -> None:
        connections.append(first := await Connection.to(load.port))
        if load.kind == "pair":
            connections.append(second := await Connection.to(load.model_port))
            ask = _pair(load, first, second)
        else:
            ask = _posting(load, first)
        start = opened
        while start < end:
            number = next(numbers)
            start = await due(number)
            times = taken if await _served(ask, number, refusable=load.refusable) else refused
            if begin <= (done := time.perf_counter()) <= end:
                times.append((done - start) * 1000)

    try:
        async with asyncio.timeout(load.warm_up + load.seconds + _GRACE), asyncio.TaskGroup() as clients:
            for _ in range(load.clients):
                clients.create_task(client())
    finally:
        for connection in connections:
            connection.close()
    return Answered(
        rate=len(taken) / load.seconds,
        p50=percentile(taken, 0.5),
        p99=percentile(taken, 0.99),
        refused=len(refused) / load.seconds,
        refused_p99=percentile(refused, 0.99) if refused else 0.0,
    )


def send(load: Load) -> Answered:
    """Send ``load`` from another process.

    Raises:
        BenchmarkError: a request was not answered with success.
    """
    command = [sys.executable, "-m", "benchmarks.load"]
    limit = load.warm_up + load.seconds + 2 * _GRACE
    ended = subprocess.run(command, input=msgspec.json.encode(load), capture_output=True, check=False, timeout=limit)
    if ended.returncode != 0:
        raise BenchmarkError(ended.stderr.decode(errors="replace")[-1000:])
    return msgspec.json.decode(ended.stdout, type=Answered)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(given))))
