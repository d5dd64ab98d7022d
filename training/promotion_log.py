"""Which version was the champion when, by whom, and what the gate had said: one JSON line a promotion.

MLflow's aliases keep no history, so that "what was in production on that day, and who put it there" is answered here.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.workspace import Workspace

FILE = "promotions.jsonl"
PROMOTED, ROLLED_BACK, REFUSED, REMOVED = "promoted", "rolled_back", "refused", "removed"


@contextmanager
def exclusive(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace's promotion lock: moving the alias and writing it down are one step for every process."""
    path = _path(workspace).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def append(workspace: Workspace, action: str, *, version: str | None, verdict: str, by: str, reason: str = "") -> None:
    """Write one line. ``version`` is what the action is about; after ``removed`` there is no champion."""
    path = _path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "action": action,
        "version": version,
        "verdict": verdict,
        "by": by,
        "reason": reason,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def read(workspace: Workspace) -> list[dict[str, Any]]:
    """All lines, oldest first."""
    path = _path(workspace)
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def champions(workspace: Workspace) -> list[str]:
    """Versions in the order in which they became champion by right; empty after the alias was taken away."""
    found: list[str] = []
    for entry in read(workspace):
        if entry["action"] in (PROMOTED, ROLLED_BACK):
            found.append(str(entry["version"]))
        elif entry["action"] == REMOVED:
            found.append("")
    return found


def last_good(workspace: Workspace) -> str | None:
    """The version that is, or before a change not yet dealt with was, champion by right."""
    found = champions(workspace)
    return found[-1] or None if found else None


def before(workspace: Workspace, version: str) -> str | None:
    """The last champion by right before ``version`` that is another version."""
    found = champions(workspace)
    while found and found[-1] in (version, ""):
        found.pop()
    return found[-1] if found else None


def _path(workspace: Workspace) -> Path:
    return workspace.paths.state / FILE
