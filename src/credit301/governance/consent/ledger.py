"""Where consent records are kept for ever: append-only files of one machine, or PostgreSQL (see ``postgres``)."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from credit301.errors import Credit301Error, NotFound
from credit301.governance.consent.records import Record
from credit301.settings import Profile

if TYPE_CHECKING:
    from credit301.workspace import Workspace

_ENTITY = re.compile(r"[0-9a-f]{32}")
_SUFFIX = ".jsonl"


class ConsentUnavailable(Credit301Error):
    """A consent could not be recorded, or is recorded but not yet where decisions read it."""


def unrecorded(error: Exception) -> ConsentUnavailable:
    """Nothing was recorded, because of ``error``."""
    return ConsentUnavailable(
        f"The ledger of consents did not answer: {type(error).__name__}; nothing was recorded.",
        hint="Check that the platform's database (or the disk of its files) is there, then try again.",
    )


class Page(Protocol):
    """The records of one enterprise while nobody else may add to them."""

    @property
    def records(self) -> list[Record]:
        """What is recorded, in order."""

    def append(self, record: Record) -> None:
        """Add ``record``; it is durable when this returns."""


class Ledger(Protocol):
    """The record of truth. ``entity`` is always the keyed hash."""

    def records(self, entity: str) -> list[Record]:
        """Everything recorded on ``entity``, in order."""

    def opened(self, entity: str) -> AbstractContextManager[Page]:
        """The page of ``entity``, closed to others meanwhile."""

    def entities(self) -> list[str]:
        """Everyone on whom something is recorded."""


def ledger_of(workspace: Workspace) -> Ledger:
    """Files in the embedded profile, whose one machine is its whole world; else PostgreSQL."""
    if workspace.settings.profile is Profile.EMBEDDED:
        return FileLedger(workspace.paths.consents)
    from credit301.governance.consent.postgres import PostgresLedger

    return PostgresLedger(workspace.settings.postgres_address("credit301"), workspace.name)


class FileLedger:
    """A file for each enterprise, named by its keyed hash, to which lines are added and synced.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def records(self, entity: str) -> list[Record]:
        """Everything recorded on ``entity``, in order."""
        path = self._path(entity)
        return _decode(path.read_bytes()) if path.exists() else []

    def entities(self) -> list[str]:
        """Everyone on whom something is recorded."""
        return sorted(path.stem for path in self._folder.glob(f"*/*{_SUFFIX}"))

    @contextmanager
    def opened(self, entity: str) -> Iterator[Page]:
        """The page of ``entity``, closed to other processes meanwhile."""
        path = self._path(entity)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield _FilePage(descriptor, path)
        finally:
            os.close(descriptor)

    def _path(self, entity: str) -> Path:
        if _ENTITY.fullmatch(entity) is None:
            raise NotFound("That is no keyed hash of an entity.")
        return self._folder / entity[:2] / f"{entity}{_SUFFIX}"


class _FilePage:
    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @property
    def records(self) -> list[Record]:
        return _decode(self._path.read_bytes())

    def append(self, record: Record) -> None:
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            # A writer was killed in the middle of a line that it never reported as written.
            os.ftruncate(self._descriptor, os.pread(self._descriptor, size, 0).rfind(b"\n") + 1)
        line = msgspec.json.encode(record) + b"\n"
        try:
            written = os.write(self._descriptor, line)
            os.fsync(self._descriptor)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise unrecorded(error) from error
        if written != len(line):
            raise unrecorded(OSError("only part of it was written"))


def _decode(data: bytes) -> list[Record]:
    whole = data[: data.rfind(b"\n") + 1]
    return [msgspec.json.decode(line, type=Record) for line in whole.splitlines()]
