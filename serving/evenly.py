"""Connections shared evenly among workers.

Workers listen on one socket, and each takes whatever waits as soon as it is woken: of 32 clients that connect together
28 were with one of two workers, and stayed there, while the other had nothing to do. Here a worker that has more
connections than another leaves the next one to it for a moment. How many each has stands in a file that all map.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import mmap
import os
import socket
import ssl as tls
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from credit301.settings import PREFIX

log = logging.getLogger("credit301.serving")
SHARES = f"{PREFIX}SERVING_SHARES"
"""Variable that names the file."""
MOST_WORKERS = 256
OUT_OF_FILES_SECONDS = 1.0
LEFT_FOR_SECONDS = 0.002
"""How long a connection is left to a worker that has fewer; then whoever sees it takes it."""
_BYTES = 8


def make(path: Path) -> None:
    """Write the file that workers share: a process number and a count for each."""
    path.write_bytes(bytes(_BYTES * MOST_WORKERS))


class Shares:
    """This worker's place in the file ``path``."""

    def __init__(self, path: Path) -> None:
        self._left = False
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast("i")
            self._place = next(place for place in range(0, len(self._numbers), 2) if not self._lives(place))
            self._numbers[self._place + 1] = 0
            self._numbers[self._place] = os.getpid()
            # The map keeps the file open, and with it the lock.
            fcntl.flock(file, fcntl.LOCK_UN)

    @property
    def mine(self) -> int:
        """Connections of this worker."""
        return self._numbers[self._place + 1]

    def count(self, change: int) -> None:
        """Say that this worker has ``change`` more connections; one that has left has none that count."""
        if not self._left:
            self._numbers[self._place + 1] += change

    def least(self) -> int | None:
        """The fewest connections that another worker has; ``None`` where there is no other."""
        others = (place for place in range(0, len(self._numbers), 2) if self._numbers[place] not in (0, os.getpid()))
        return min((self._numbers[place + 1] for place in others if self._lives(place)), default=None)

    def leave(self) -> None:
        """Take no more connections; the place is free for another worker."""
        self._left = True
        self._numbers[self._place] = 0

    def _lives(self, place: int) -> bool:
        if self._numbers[place] == 0:
            return False
        try:
            os.kill(self._numbers[place], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


_joined: Shares | None = None


def count(change: int) -> None:
    """Say that this worker has ``change`` more connections, where workers share them."""
    if _joined is not None:
        _joined.count(change)


class EvenLoop(uvloop.Loop):
    """uvloop, but for servers on a socket that is given to it."""

    async def create_server(  # type: ignore[override] # of its many options, those that uvicorn gives
        self, protocol_factory: Callable[[], asyncio.Protocol], *args: Any, **options: Any
    ) -> Any:
        """A server; of one on a given socket the options are ``sock``, ``ssl`` and ``backlog``."""
        global _joined  # noqa: PLW0603 - protocols, which the server makes, count their connections
        sock = options.get("sock")
        if sock is None:
            return await super().create_server(protocol_factory, *args, **options)
        sock.setblocking(False)
        sock.listen(options["backlog"])
        _joined = Shares(Path(os.environ[SHARES]))
        return _Server(self, protocol_factory, sock, options.get("ssl"), _joined)


class _Server:
    """What uvicorn asks of a server."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.Protocol],
        sock: socket.socket,
        context: tls.SSLContext | None,
        shares: Shares,
    ) -> None:
        self._loop = loop
        self._protocol_factory = protocol_factory
        self._sock = sock
        self._context = context
        self._shares = shares
        self._beginning: set[asyncio.Task[Any]] = set()
        self._closed = False
        loop.add_reader(sock, self._waiting)

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The socket that it listens on."""
        return (self._sock,)

    def close(self) -> None:
        """Take no more connections; those that wait are for the other workers."""
        self._closed = True
        self._shares.leave()
        self._loop.remove_reader(self._sock)

    async def wait_closed(self) -> None:
        """Wait for the connections that have begun."""
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _waiting(self) -> None:
        least = self._shares.least()
        if least is not None and self._shares.mine + len(self._beginning) > least:
            self._loop.remove_reader(self._sock)
            self._loop.call_later(LEFT_FOR_SECONDS, self._look_again)
        else:
            self._accept()

    def _look_again(self) -> None:
        if not self._closed:
            self._accept()
            self._loop.add_reader(self._sock, self._waiting)

    def _accept(self) -> None:
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            # No more files may be opened: what waits is looked at again when some may have been closed.
            log.warning("no connection can be taken: %s", error.strerror)
            self._loop.remove_reader(self._sock)
            self._loop.call_later(OUT_OF_FILES_SECONDS, self._look_again)
            return
        connection.setblocking(False)
        beginning = self._loop.connect_accepted_socket(self._protocol_factory, connection, ssl=self._context)
        task = self._loop.create_task(beginning)
        self._beginning.add(task)
        task.add_done_callback(self._begun)

    def _begun(self, task: asyncio.Task[Any]) -> None:
        self._beginning.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("a connection did not begin: %s", type(error).__name__)
