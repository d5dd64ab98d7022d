"""Files that appear under their name whole and durable, or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, durably and at once, if the block succeeds.

    A block that leaves no file there changes nothing. What killed processes have left of earlier tries is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in path.parent.glob(f".{path.name}.*.tmp"):
        if not _runs(left_over.name.split(".")[-2]):
            left_over.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # In a container the process that was killed may have had this very number.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        if temporary.exists():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, value: Any) -> None:
    """Write ``value`` as JSON to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _runs(process: str) -> bool:
    """Whether there is a process of this number; another machine's, or another user's, counts as running."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True
