"""Files that say how decisions are made, followed while requests are served.

Changed files are taken once they have stood still for one look, so that no half-saved one counts. What does not hold
changes nothing: the last good ones go on, and the reason is logged, counted and shown at ``/v1/model``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from credit301.errors import Credit301Error

log = logging.getLogger("credit301.serving")
Said = TypeVar("Said")
APPLIED, REFUSED = "applied", "refused"


class FollowedStatus(msgspec.Struct, frozen=True):
    """Since when what is in use is in use, and why the files as they are now are not (empty: they are)."""

    loaded_at: datetime
    problem: str


class Followed(Generic[Said]):
    """Holds what some files say.

    Args:
        what: what the files are, for the log.
        load: reads them.
        files: the files there are now.
        told: told of every change: ``applied`` or ``refused``.
        interval: seconds between two looks.

    Raises:
        Credit301Error: of ``load``, if the files do not hold now: there is no last good version yet.
    """

    def __init__(
        self,
        what: str,
        load: Callable[[], Said],
        files: Callable[[], Iterable[Path]],
        told: Callable[[str], None],
        interval: float = 2.0,
    ) -> None:
        self._what, self._load, self._files, self._told, self._interval = what, load, files, told, interval
        self._taken = self._seen = self._stamp()
        self.said: Said = load()
        self.status = FollowedStatus(datetime.now(UTC), "")
        told(APPLIED)

    async def run(self, apply: Callable[[Said], None] | None = None) -> None:
        """Look for ever, and have whatever is new applied between two requests."""
        while True:
            await asyncio.sleep(self._interval)
            if await self.look() and apply is not None:
                apply(self.said)

    async def look(self) -> bool:
        """Look once; whether there is something new."""
        stamp, before = await asyncio.to_thread(self._stamp), self._seen
        self._seen = stamp
        if stamp == self._taken or stamp != before:
            return False
        self._taken = stamp
        try:
            said = await asyncio.to_thread(self._load)
        except (Credit301Error, OSError, UnicodeDecodeError) as error:
            log.warning("%s: not put in use, what was before goes on: %s", self._what, error)
            self.status = FollowedStatus(self.status.loaded_at, str(error))
            self._told(REFUSED)
            return False
        self.said, self.status = said, FollowedStatus(datetime.now(UTC), "")
        self._told(APPLIED)
        log.info("%s: what they say now is in use", self._what)
        return True

    def _stamp(self) -> Hashable:
        found = []
        for path in sorted(self._files()):
            try:
                stat = path.stat()
            except OSError:
                continue
            found.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)
