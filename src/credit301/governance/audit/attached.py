"""What is attached to a record of the audit trail: too large for the chain itself, and to be destroyed in time.

Attachments of a writer's records are in ``<writer>.attached``, one behind the other. A record says where its own is and
what its SHA-256 is, so that the chain vouches for it; its bytes may be destroyed when their time is over, and the chain
still holds.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from credit301.errors import AuditError
from credit301.governance.audit.entry import Attachment

ATTACHED = ".attached"


class Destroyed(AuditError):
    """The attachment was destroyed."""


class AttachedFile:
    """Takes the attachments of one writer. Its caller sees to it that one thread writes at a time.

    Args:
        path: the file, which must not be there yet.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(path, flags, 0o600)
        self._length = 0
        self._synced = 0

    def append(self, data: bytes) -> Attachment:
        """Write ``data``; it has left the process when this returns.

        Raises:
            OSError: the disk did not take it; nothing of it is left.
        """
        if os.write(self._descriptor, data) != len(data):
            os.ftruncate(self._descriptor, self._length)
            raise OSError("the disk took only part of an attachment")
        attachment = Attachment(self._length, len(data), hashlib.sha256(data).hexdigest())
        self._length += len(data)
        return attachment

    def sync(self) -> None:
        """Have everything that was appended on the disk."""
        length = self._length
        if length > self._synced:
            os.fdatasync(self._descriptor)
            self._synced = length

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def read(folder: Path, writer: str, attachment: Attachment) -> bytes:
    """The bytes of an attachment, as they were written.

    Raises:
        Destroyed: they were destroyed.
        AuditError: they are missing or are not what was written.
    """
    try:
        with (folder / f"{writer}{ATTACHED}").open("rb") as file:
            file.seek(attachment.offset)
            data = file.read(attachment.length)
    except OSError as error:
        raise AuditError(f"The attachments of {writer} cannot be read: {type(error).__name__}.") from error
    if hashlib.sha256(data).hexdigest() == attachment.sha256:
        return data
    if len(data) == attachment.length and not any(data):
        raise Destroyed("The attachment was destroyed when its time was over.")
    raise AuditError(
        "An attachment of the audit trail is not what was written.",
        hint="Keep the files as they are, run `credit301 audit verify`, and compare with a copy.",
    )


def destroy(folder: Path, writer: str, attachment: Attachment) -> bool:
    """Overwrite an attachment with zeros, for good; whether there was anything left to destroy.

    Raises:
        AuditError: the file cannot be written.
    """
    try:
        with (folder / f"{writer}{ATTACHED}").open("r+b") as file:
            file.seek(attachment.offset)
            if not any(file.read(attachment.length)):
                return False
            file.seek(attachment.offset)
            file.write(bytes(attachment.length))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise AuditError(f"The attachments of {writer} cannot be written: {type(error).__name__}.") from error
    return True
