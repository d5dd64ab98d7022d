"""The journal of posted events: on the disk before they are counted, so that nothing counted is ever lost.

One writer a process, one file an hour, one JSON object a line with the columns of the contract. A pull of the source
lands them (:mod:`credit301.sources.posted`) and removes a file that has landed to its end after its hour is over.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from credit301.errors import SourceError

_encode = msgspec.json.Encoder().encode


class EventJournal:
    """Appends events of one source; it may be used from several threads.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file, self._hour = -1, ""

    def append(self, events: Iterable[dict[str, Any]]) -> None:
        """Write ``events``; they are on the disk when this returns.

        Raises:
            SourceError: the disk did not take them.
        """
        data = b"".join(_encode(event) + b"\n" for event in events)
        with self._lock:
            try:
                self._open()
                while data:
                    data = data[os.write(self._file, data) :]
                os.fdatasync(self._file)
            except OSError as error:
                # Half a line may be there: what comes next goes into a file of its own.
                self._shut()
                raise SourceError(
                    f"The journal of events cannot be written ({error.strerror}).",
                    hint="Make room on the disk, then send the events again: none is counted twice.",
                ) from error

    def close(self) -> None:
        """Close the file of this hour."""
        with self._lock:
            self._shut()

    def _shut(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _open(self) -> None:
        hour = f"{datetime.now(UTC):%Y%m%dT%H}"
        if self._file >= 0 and hour == self._hour:
            return
        self._shut()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{hour}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._hour = hour
