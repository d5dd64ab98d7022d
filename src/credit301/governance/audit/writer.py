"""Writing the audit trail: a record has left the process before the read that it is about is answered."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from credit301.errors import AuditError
from credit301.files import replacing
from credit301.governance.audit.attached import ATTACHED, AttachedFile
from credit301.governance.audit.chain import CHAIN, HEAD, SEALS, START, Hasher, Head, Seal, lines
from credit301.governance.audit.entry import Attachment, Entry, Record
from credit301.governance.definition import AuditPolicy

if TYPE_CHECKING:
    from credit301.workspace import Workspace

Link = TypeVar("Link", bound=msgspec.Struct)

SEAL_SECONDS = 10.0
_encode = msgspec.json.Encoder().encode


class AuditWriter:
    """One process's chain. Files appear with the first record.

    A record is written at once, in one call to the system, and synced to the disk by a thread: as many as have come by
    then with one sync. It may be used from several threads.

    Args:
        folder: where the trail is.
        hasher: makes the hashes.
        policy: when a record is on the disk.
    """

    def __init__(self, folder: Path, hasher: Hasher, policy: AuditPolicy | None = None) -> None:
        self._folder = folder
        self._hasher = hasher
        self._policy = policy or AuditPolicy()
        self.name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock = threading.Lock()
        self._file = self._head = -1
        self._attached: AttachedFile | None = None
        self._written = self._synced = 0
        self._last = START
        self._sealed = 0
        self._problem: OSError | None = None
        self._due, self._stopping = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """A writer of the workspace's trail."""
        hasher = Hasher.from_settings(workspace.settings)
        return cls(workspace.paths.audit, hasher, workspace.definition.governance.audit)

    def append(self, entry: Entry, attached: bytes | None = None) -> int:
        """Record ``entry``, with what is ``attached`` to it; both have left the process when this returns.

        Gives its number, for :meth:`durable`.

        Raises:
            AuditError: it could not be written.
        """
        return self.append_all([(entry, attached)])

    def append_all(self, acts: Sequence[tuple[Entry, bytes | None]]) -> int:
        """As :meth:`append`, several entries one behind the other, each with what is attached to it: all or none.

        Gives the number of the last.
        """
        with self._lock:
            try:
                if self._file < 0:
                    self._open()
                number, digest, written = self._written, self._last, b""
                at = datetime.now(UTC).isoformat()
                for entry, attached in acts:
                    kept = (
                        entry if attached is None else msgspec.structs.replace(entry, attached=self._attach(attached))
                    )
                    number += 1
                    record = Record(writer=self.name, number=number, at=at, previous=digest, entry=kept)
                    line, digest = self._hasher.line(_encode(record))
                    written += line
                _write(self._file, written)
                os.pwrite(self._head, self._hasher.head(Head(self.name, number, digest)), 0)
            except OSError as error:
                raise _unwritten(error) from error
            self._written, self._last = number, digest
        self._due.set()
        return number

    def _attach(self, data: bytes) -> Attachment:
        if self._attached is None:
            self._attached = AttachedFile(self._folder / f"{self.name}{ATTACHED}")
        return self._attached.append(data)

    async def durable(self, number: int) -> None:
        """Wait until the record is as durable as the policy asks for before an answer.

        Raises:
            AuditError: the disk did not take it.
        """
        if self._problem is not None:
            raise _unwritten(self._problem)
        if self._policy.durability == "soon" or self._synced >= number:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._synced >= number:
                return
            self._waiting.append((number, loop, future))
        await future

    def close(self) -> None:
        """Sync and seal what was written."""
        self._stopping.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._file >= 0:
            self._sync()
            self._seal()
            os.close(self._file)
            os.close(self._head)
            self._file = self._head = -1
        if self._attached is not None:
            self._attached.close()
            self._attached = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.open(self._folder / f"{self.name}{CHAIN}", flags | os.O_APPEND, 0o600)
        self._head = os.open(self._folder / f"{self.name}{HEAD}", flags, 0o600)
        os.pwrite(self._head, self._hasher.head(Head(self.name, 0, START)), 0)
        # The first seal says that there is this writer: its file cannot disappear unnoticed.
        seal(self._folder, self._hasher, Head(self.name, 0, START))
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sealed_at = time.monotonic()
        pause = self._policy.sync_milliseconds / 1000 if self._policy.durability == "soon" else 0.0
        while not self._stopping.is_set():
            self._due.wait()
            self._stopping.wait(pause)
            self._due.clear()
            self._sync()
            if time.monotonic() - sealed_at >= SEAL_SECONDS:
                sealed_at = time.monotonic()
                with contextlib.suppress(AuditError):
                    self._seal()

    def _sync(self) -> None:
        upto = self._written
        try:
            if self._attached is not None:
                self._attached.sync()
            os.fdatasync(self._file)
        except OSError as error:
            # Nothing is answered any more: what the disk holds is not known.
            self._problem = error
        else:
            self._synced = upto
        with self._lock:
            ready = [item for item in self._waiting if item[0] <= upto or self._problem is not None]
            self._waiting = [item for item in self._waiting if item not in ready]
        for _, loop, future in ready:
            with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(_settle, future, self._problem)

    def _seal(self) -> None:
        with self._lock:
            head = Head(self.name, self._written, self._last)
        if head.number > self._sealed:
            seal(self._folder, self._hasher, head)
            self._sealed = head.number


def seal(folder: Path, hasher: Hasher, head: Head) -> Seal:
    """Add ``head`` to the common chain of seals, one process at a time.

    Raises:
        AuditError: the common chain is damaged, or the disk did not take the seal.
    """
    return add_link(
        folder,
        hasher,
        SEALS,
        lambda number, previous: Seal(
            number=number,
            at=datetime.now(UTC).isoformat(),
            previous=previous,
            writer=head.writer,
            count=head.number,
            head=head.hash,
        ),
    )


def add_link(folder: Path, hasher: Hasher, chain: str, make: Callable[[int, str], Link]) -> Link:
    """Add to a chain that several processes write, one at a time; it is on the disk when this returns.

    Args:
        folder: where the chain is.
        hasher: makes the hashes.
        chain: its name.
        make: the new link from its number and the hash of the one before it.

    Raises:
        AuditError: the chain is damaged, or the disk did not take the link.
    """
    try:
        descriptor = os.open(folder / f"{chain}{CHAIN}", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            number, previous = _last_link(folder, hasher, chain)
            made = make(number + 1, previous)
            line, digest = hasher.line(_encode(made))
            _write(descriptor, line)
            os.fsync(descriptor)
            with replacing(folder / f"{chain}{HEAD}") as temporary:
                temporary.touch(mode=0o600)
                temporary.write_bytes(hasher.head(Head(chain, number + 1, digest)))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unwritten(error) from error
    return made


class _Numbered(msgspec.Struct):
    number: int


def _last_link(folder: Path, hasher: Hasher, chain: str) -> tuple[int, str]:
    found, torn = lines(folder / f"{chain}{CHAIN}")
    if torn:
        # A process was killed in the middle of a link that nobody has relied upon.
        with (folder / f"{chain}{CHAIN}").open("r+b") as file:
            file.truncate(file.seek(0, os.SEEK_END) - len(torn))
    if not found:
        return 0, START
    body, digest = found[-1]
    if hasher(body) != digest:
        raise AuditError(f"The last record of the chain {chain} is damaged.", hint="Run: credit301 audit verify")
    return msgspec.json.decode(body, type=_Numbered).number, digest


def _write(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    if written != len(data):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise OSError("the disk took only part of a record")


def _settle(future: asyncio.Future[None], problem: OSError | None) -> None:
    if future.done():
        return
    if problem is None:
        future.set_result(None)
    else:
        future.set_exception(_unwritten(problem))


def _unwritten(error: OSError) -> AuditError:
    return AuditError(
        f"The read could not be recorded: {error.strerror or error}.",
        hint="Nothing is answered that is not recorded. Check the disk that holds the audit trail.",
    )
