"""Everything a workspace keeps in files, each kind rewritten in its way; and the search for what was left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from credit301.errors import Credit301Error
from credit301.files import replacing
from credit301.governance.erasure import duckdb_file, parquet
from credit301.governance.erasure.target import Counts, Target

if TYPE_CHECKING:
    from credit301.workspace import Workspace

DUCKDB, PARQUET = ".duckdb", ".parquet"
_CHUNK = 1 << 22


class ErasureIncomplete(Credit301Error):
    """Something still mentions whom was to be erased."""


def every_file(workspace: Workspace) -> Iterator[Path]:
    """Files below the workspace's home, without the records that must stay: they hold keyed hashes only."""
    kept = (workspace.paths.audit, workspace.paths.consents)
    for path in sorted(workspace.paths.root.rglob("*")):
        if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(folder) for folder in kept):
            yield path


def erase(path: Path, target: Target) -> Counts:
    """Take ``target`` out of ``path``, whatever kind of file it is."""
    if path.suffix == PARQUET:
        return parquet.erase(path, target)
    if path.suffix == DUCKDB:
        return duckdb_file.erase(path, target)
    return _erase_text(path, target)


def _erase_text(path: Path, target: Target) -> Counts:
    if not mentions(path, target):
        return Counts()
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        # Of a kind that is not known here; the search for what was left names it.
        return Counts()
    clean, hits = target.pattern.subn(target.stand_in, text)
    with replacing(path) as temporary:
        temporary.write_text(clean, encoding="utf-8")
        temporary.chmod(path.stat().st_mode)
    return Counts(values=hits, files=1)


def mentions(path: Path, target: Target) -> bool:
    """Whether the bytes of ``path`` hold the value, in upper or lower case."""
    wanted = target.value.upper().encode("utf-8")
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if wanted in (before + chunk).upper():
                return True
            before = chunk[-len(wanted) :]
    return False
