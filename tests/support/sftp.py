"""A real SFTP server on loopback, in a thread of its own, whose connections a test may break."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh

LOGIN, PASSWORD = "bureau", "word-of-the-test"


class Server:
    """The server: ``cut_after`` bytes of a connection it drops it, as many times as ``cuts`` says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self.cuts = 0
        self.cut_after = 0
        self.read: list[tuple[str, int, int]] = []
        self.connections = 0

    @property
    def public_key(self) -> str:
        """The host key as one writes it into a connection."""
        return self.host_key.export_public_key().decode().strip()

    def uri(self, **extra: str) -> str:
        """The connection as Airflow's URI."""
        from urllib.parse import urlencode

        return f"sftp://{LOGIN}:{PASSWORD}@127.0.0.1:{self.port}/?{urlencode({'host_key': self.public_key, **extra})}"


class _Files(asyncssh.SFTPServer):
    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], server: Server) -> None:
        super().__init__(channel, chroot=os.fsencode(server.root))
        self._server = server
        self._connection = channel.get_connection()
        self._sent = 0
        server.connections += 1

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        name = Path(str(getattr(file_obj, "name", b"").decode())).name
        self._server.read.append((name, offset, size))
        data = super().read(file_obj, offset, size)
        assert isinstance(data, bytes)
        self._sent += len(data)
        if self._server.cuts and self._sent > self._server.cut_after:
            self._server.cuts -= 1
            self._connection.abort()
        return data


class _Doors(asyncssh.SSHServer):
    def __init__(self, server: Server) -> None:
        self._server = server

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (LOGIN, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == LOGIN and key.public_data == self._server.client_key.public_data


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """A running server for the files under ``root``."""
    server = Server(root)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[server.host_key],
            server_factory=lambda: _Doors(server),
            sftp_factory=lambda channel: _Files(channel, server),
        )

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
    server.port = acceptor.get_port()
    try:
        yield server
    finally:

        async def close() -> None:
            acceptor.close()
            await acceptor.wait_closed()

        asyncio.run_coroutine_threadsafe(close(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
