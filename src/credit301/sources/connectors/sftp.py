"""Files in a folder of an SFTP server: fetched whole into a spool, then read like a drop.

The cursor is what was delivered: for each file that is still listed, its size and time of change. A file is fetched
once its size and time of change have stood still for a moment; an interrupted download goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import asyncssh

from credit301 import console
from credit301.contracts.model import Contract
from credit301.errors import ConfigError, SourceError
from credit301.settings import Settings
from credit301.sources.connectors.base import Page, parse_options
from credit301.sources.connectors.connections import Connection, connection
from credit301.sources.connectors.delivery import Delivery, deliverable, digest_of
from credit301.sources.connectors.options import SftpOptions
from credit301.sources.connectors.retry import Again, persistently

CHUNK_BYTES = 4 << 20
PROGRESS_BYTES = 256 << 20
SSH_PORT = 22
# Long enough for a file that is being written to grow.
SETTLE_SECONDS = 1.0

_Ask = Callable[[asyncssh.SFTPClient], Awaitable[list["RemoteFile"]]]

# At its default level the library tells who connects to where.
asyncssh.set_log_level("WARNING")


@dataclass(frozen=True)
class RemoteFile:
    """A file as the server lists it; ``changed`` is its time of change, seconds since 1970 by the server's clock."""

    name: str
    size: int
    changed: int


class Sftp:
    """Reads the files of one source."""

    def __init__(self, contract: Contract, settings: Settings) -> None:
        self.options = parse_options(SftpOptions, contract)
        self.name = contract.name
        self.delivery = Delivery(contract, self.options)
        folder = hashlib.sha256(str(contract.path.resolve()).encode()).hexdigest()[:8]
        self.spool = settings.home / "spool" / f"{contract.name}-{folder}"
        self.server = _Server(connection(self.options.connection), self.options)

    def read(self, cursor: str) -> Iterator[Page]:
        """One page for each file that was not delivered yet as it is now, in order of name.

        Raises:
            SourceError: the server, its key or the login is refused, or a fault outlasted the attempts.
        """
        delivered: dict[str, list[int]] = json.loads(cursor) if cursor else {}
        listed = {file.name: file for file in self._persistently(self._list(delivered))}
        delivered = {name: state for name, state in delivered.items() if name in listed}
        pending = [file for file in listed.values() if delivered.get(file.name) != [file.size, file.changed]]
        for position, file in enumerate(pending, 1):
            path = self._spooled(file)
            if not path.exists():
                self._persistently(self._fetch(file, path))
            digest = digest_of(path)
            delivered = {**delivered, file.name: [file.size, file.changed]}
            yield Page(
                self.delivery.stream(path, digest),
                json.dumps(delivered, separators=(",", ":"), sort_keys=True),
                has_more=position < len(pending),
                origin=file.name,
            )
            shutil.rmtree(path.parent)

    def _persistently(self, ask: _Ask) -> list[RemoteFile]:
        try:
            return persistently(self.name, self.options, lambda: asyncio.run(self._session(ask)))
        except Again as error:
            raise SourceError(
                f"{self.name}: {self.server} did not deliver in {self.options.attempts} attempts; "
                f"the last fault: {error}.",
                hint=f"Does the server run, is the connection {self.options.connection!r} right? "
                "Pull again: it goes on where it stopped.",
            ) from error

    async def _session(self, ask: _Ask) -> list[RemoteFile]:
        """What ``ask`` returns over a connection of its own.

        Raises:
            Again: the connection broke, or did not answer in time.
            SourceError: trying again would not help.
        """
        try:
            async with await self.server.connect() as ssh:
                found = await ask(await ssh.start_sftp_client())
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            raise SourceError(
                f"{self.name}: {self.server} has another host key than the connection says; nothing was sent.",
                hint="Ask the operator for the server's key and set `host_key` (or `known_hosts`) in the connection's "
                "extra. A key that changed without notice may be somebody in between.",
            ) from error
        except asyncssh.PermissionDenied as error:
            raise SourceError(
                f"{self.name}: {self.server} refused the login.",
                hint=f"Check login, and password or private key, of the connection {self.options.connection!r}.",
            ) from error
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPPermissionDenied) as error:
            raise SourceError(
                f"{self.name}: {self.server}: {self.options.folder!r}: {error.reason}.",
                hint="Check `folder` in the contract's pull options, and what the login may read.",
            ) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise Again(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        return found

    def _list(self, delivered: dict[str, list[int]]) -> _Ask:
        async def ask(client: asyncssh.SFTPClient) -> list[RemoteFile]:
            found = await self._listing(client)
            if any(delivered.get(file.name) != [file.size, file.changed] for file in found):
                await asyncio.sleep(SETTLE_SECONDS)
                again = {file.name: file for file in await self._listing(client)}
                # What still grows is left for the next pull; what was delivered before stays known.
                found = [file for file in found if again.get(file.name) == file]
            return found

        return ask

    async def _listing(self, client: asyncssh.SFTPClient) -> list[RemoteFile]:
        entries = await asyncio.wait_for(client.readdir(self.options.folder), self.options.timeout_seconds)
        there = {
            str(entry.filename): RemoteFile(str(entry.filename), entry.attrs.size or 0, int(entry.attrs.mtime or 0))
            for entry in entries
            if entry.attrs.type in (asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN)
        }
        names = deliverable(there, self.options)
        return [there[name] for name in names if any(fnmatch.fnmatchcase(name, at) for at in self.options.patterns)]

    def _spooled(self, file: RemoteFile) -> Path:
        """Where the file is while it is read; its own folder, since the name comes from the server."""
        identity = hashlib.sha256(f"{file.name}\n{file.size}\n{file.changed}".encode()).hexdigest()[:16]
        name = Path(file.name).name
        if name != file.name:
            raise SourceError(f"{self.name}: {self.server} lists a file named {file.name!r}, which is no plain name.")
        return self.spool / identity / name

    def _fetch(self, file: RemoteFile, path: Path) -> _Ask:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f"{path.name}.part")
        remote = f"{self.options.folder.rstrip('/')}/{file.name}"

        async def ask(client: asyncssh.SFTPClient) -> list[RemoteFile]:
            with part.open("ab") as target:
                if target.tell() > file.size:
                    target.truncate(0)
                if target.tell():
                    console.say(f"  {self.name}: {file.name}: goes on at {target.tell():,} of {file.size:,} bytes")
                async with client.open(remote, "rb") as source:
                    while (offset := target.tell()) < file.size:
                        wanted = min(CHUNK_BYTES, file.size - offset)
                        chunk = await asyncio.wait_for(source.read(wanted, offset), self.options.timeout_seconds)
                        if not chunk:
                            break
                        target.write(cast("bytes", chunk))
                        if offset // PROGRESS_BYTES != target.tell() // PROGRESS_BYTES:
                            console.say(f"  {self.name}: {file.name}: {target.tell():,} of {file.size:,} bytes")
                now = await asyncio.wait_for(client.stat(remote), self.options.timeout_seconds)
            if (now.size, int(now.mtime or 0)) != (file.size, file.changed) or part.stat().st_size != file.size:
                part.unlink()
                raise SourceError(
                    f"{self.name}: {file.name} changed while it was fetched.", hint="Pull again when it is written."
                )
            part.replace(path)
            return [file]

        return ask


class _Server:
    """How the server is reached and known."""

    def __init__(self, found: Connection, options: SftpOptions) -> None:
        self.connection = found
        self.options = options
        self.port = found.port or SSH_PORT

    def __str__(self) -> str:
        return f"sftp://{self.connection.host}:{self.port}"

    async def connect(self) -> asyncssh.SSHClientConnection:
        """An SSH connection; only what the connection names is offered and trusted."""
        key = self._private_key()
        password = self.connection.password.get_secret_value()
        return await asyncssh.connect(
            self.connection.host,
            self.port,
            username=self.connection.login,
            password=password if password and key is None else None,
            client_keys=[key] if key is not None else None,
            known_hosts=self._known_hosts(),
            agent_path=None,
            config=None,
            connect_timeout=self.options.timeout_seconds,
            login_timeout=self.options.timeout_seconds,
            keepalive_interval=self.options.timeout_seconds,
        )

    def _known_hosts(self) -> asyncssh.SSHKnownHosts | str | tuple[()]:
        key, file = self.connection.option("host_key"), self.connection.option("known_hosts")
        if key:
            # As Airflow writes it, with or without the kind of key before it.
            line = key if " " in key else f"{_kind_of(key)} {key}"
            try:
                return asyncssh.import_known_hosts(f"* {line}\n")
            except ValueError as error:
                raise ConfigError(f"The host_key of the connection {self.connection.id!r} is no public key.") from error
        if file and not Path(file).is_file():
            raise ConfigError(f"The known_hosts of the connection {self.connection.id!r} does not exist: {file}.")
        return file or ()

    def _private_key(self) -> asyncssh.SSHKey | None:
        text, file = self.connection.option("private_key"), self.connection.option("key_file")
        phrase = self.connection.option("private_key_passphrase") or None
        try:
            if text:
                return asyncssh.import_private_key(text, phrase)
            return asyncssh.read_private_key(file, phrase) if file else None
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as error:
            raise ConfigError(
                f"The private key of the connection {self.connection.id!r} cannot be used: {type(error).__name__}.",
                hint="Set private_key or key_file, and private_key_passphrase where it has one, in its extra.",
            ) from None


def _kind_of(key: str) -> str:
    """The kind of a public key that is given by its data alone, which begin with it."""
    import base64
    import binascii

    try:
        data = base64.b64decode(key, validate=True)
        return data[4 : 4 + int.from_bytes(data[:4])].decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return "unknown"
