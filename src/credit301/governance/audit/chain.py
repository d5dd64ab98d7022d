"""The form of a chain on disk, and its hashes.

Each process that reads has a chain of its own, so that no process waits for another: ``<writer>.jsonl`` with a line
``<record as JSON> TAB <hash>`` for each record, and ``<writer>.head`` with the number and hash of the newest. A common
chain, ``seals.jsonl``, says which writers there are and where their chains had got to when they were last sealed.

A hash is an HMAC-SHA256 under a secret key over a record that contains the hash before it: whoever can write the files
but has not got the key can neither change, remove, insert or reorder a record, nor cut some off, unnoticed.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from credit301.errors import AuditError

if TYPE_CHECKING:
    from credit301.settings import Settings

SECRET = "audit_key"  # noqa: S105 - the secret's name
CHAIN, HEAD, SEALS = ".jsonl", ".head", "seals"
START = "0" * 64


class Head(msgspec.Struct, frozen=True):
    """Where a chain has got to."""

    writer: str
    number: int
    hash: str


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the common chain: where the chain of ``writer`` had got to at ``at``."""

    number: int
    at: str
    previous: str
    writer: str
    count: int
    head: str


class Hasher:
    """Hashes of records and of heads.

    Args:
        key: the secret.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode("utf-8")

    @classmethod
    def from_settings(cls, settings: Settings) -> Hasher:
        """With the platform's own key.

        Raises:
            ConfigError: outside the embedded profile, when ``CREDIT301_AUDIT_KEY`` is not set.
        """
        return cls(settings.secret(SECRET))

    def __call__(self, body: bytes) -> str:
        """Hash of a record's bytes, 64 hex digits."""
        return hmac.digest(self._key, body, "sha256").hex()

    def line(self, body: bytes) -> tuple[bytes, str]:
        """A record's line, and its hash."""
        digest = self(body)
        return b"%b\t%b\n" % (body, digest.encode("ascii")), digest

    def head(self, head: Head) -> bytes:
        """A head as it is written, of the same length whatever it says."""
        text = f"{head.number:020d} {head.hash}".encode("ascii")
        return b"%b %b\n" % (text, self(b"%b %b" % (head.writer.encode("utf-8"), text)).encode("ascii"))

    def read_head(self, writer: str, data: bytes) -> Head | None:
        """The head in ``data``; ``None`` where it is none that was written for ``writer``."""
        number, _, rest = data.decode("ascii", "replace").partition(" ")
        if not number.isdecimal():
            return None
        head = Head(writer, int(number), rest.partition(" ")[0])
        return head if hmac.compare_digest(self.head(head), data) else None


def lines(path: Path) -> tuple[list[tuple[bytes, str]], bytes]:
    """The records of a chain's file with their hashes, and what stands after the last whole line.

    Raises:
        AuditError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AuditError(f"The audit trail {path.name} cannot be read: {type(error).__name__}.") from error
    end = data.rfind(b"\n") + 1
    found = []
    for line in data[:end].split(b"\n")[:-1]:
        body, _, digest = line.rpartition(b"\t")
        found.append((body, digest.decode("ascii", "replace")))
    return found, data[end:]
