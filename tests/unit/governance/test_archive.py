"""The archive of what has decided: written once, however many decisions ask for it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from credit301.evidence import archive
from credit301.files import replacing


def test_decisions_that_come_at_once_keep_a_strategy_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(4)
    writing: list[Path] = []

    @contextmanager
    def watched(path: Path) -> Iterator[Path]:
        writing.append(path)
        # Whoever else wants to write would have come by now.
        threading.Event().wait(0.05)
        with replacing(path) as staged:
            yield staged

    monkeypatch.setattr(archive, "replacing", watched)
    kept = archive.Archive(tmp_path)
    strategy: Any = SimpleNamespace(sha256="a" * 64, text=b"{}")

    def keep(_: int) -> None:
        together.wait(60)
        kept.keep_strategy(strategy)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(keep, range(4)))
    assert len(writing) == 1
    assert (tmp_path / f"{'a' * 64}.json").read_bytes() == b"{}"
