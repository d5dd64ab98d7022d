"""How fresh the online store is: for each view, when it was last materialized and the event time of its newest row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from credit301.workspace import Workspace

DAY = 86_400


@dataclass(frozen=True)
class ViewFreshness:
    """Ages in seconds; ``None`` where the view was never materialized, or its contract says no maximum."""

    view: str
    newest_row_age: float | None
    materialized_age: float | None
    maximum_age: float | None

    @property
    def stale(self) -> bool:
        """Whether the newest row is older than the contract allows, or there is none although it says how old."""
        if self.maximum_age is None:
            return False
        return self.newest_row_age is None or self.newest_row_age > self.maximum_age


class FreshnessBook:
    """One hash in the online store: a field a view, its value two times in seconds since 1970.

    Args:
        project: name of the workspace.
        maximum_days: how old each view may be, by the contract of its source; ``None`` where it does not say.
    """

    def __init__(self, project: str, maximum_days: Mapping[str, int | None]) -> None:
        self.key = f"credit301:{project}:freshness".encode()
        self._maximum_days = dict(maximum_days)

    @classmethod
    def of(cls, workspace: Workspace) -> FreshnessBook:
        """That of ``workspace``."""
        return cls(
            workspace.name,
            {contract.name: contract.freshness.maximum_age_days for contract in workspace.featured()},
        )

    def write(self, client: Any, newest: Mapping[str, datetime | None]) -> None:
        """Note that the views have just been materialized, with the event time of the newest row of each."""
        now = time.time()
        noted = {
            view: f"{now} {moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()}"
            for view, moment in newest.items()
            if moment is not None
        }
        if noted:
            client.hset(self.key, mapping=noted)

    def read(self, reply: Any, now: float | None = None) -> list[ViewFreshness]:
        """The freshness of every view, from a reply to ``HGETALL``: a mapping, or names and values in turn."""
        flat = reply if isinstance(reply, Mapping) else dict(zip(reply[::2], reply[1::2], strict=True))
        times = {_text(view): tuple(map(float, _text(value).split())) for view, value in flat.items()}
        now = time.time() if now is None else now
        found = []
        for view, days in self._maximum_days.items():
            written, newest = times.get(view, (None, None))
            found.append(
                ViewFreshness(
                    view,
                    None if newest is None else now - newest,
                    None if written is None else now - written,
                    None if days is None else float(days * DAY),
                )
            )
        return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
