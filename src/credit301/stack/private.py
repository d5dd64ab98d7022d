"""Files that hold secrets."""

from __future__ import annotations

import os
from pathlib import Path

MODE = 0o600


def write(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, which only its owner may read from the first moment on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    # A file that was there before kept its mode.
    path.chmod(MODE)
