"""Which version held which alias when, who approved it and why: a chain of records that only grows.

MLflow's aliases keep no history. Here "what decided on that day, and who approved it" is answered from records each of
which holds the hash of the one before (the chain of the audit trail): none can be changed or removed unnoticed.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from credit301.errors import AuditError
from credit301.governance.audit.chain import CHAIN, HEAD, Hasher
from credit301.governance.audit.verify import check_chain
from credit301.governance.audit.writer import add_link
from credit301.model.stewardship import CHAMPION

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.model.stewardship import Alias
    from credit301.workspace import Workspace

NAME = "promotions"


class Act(StrEnum):
    """What happened to a version, or to an alias."""

    APPROVED = "approved"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    REFUSED = "refused"
    REMOVED = "removed"


HOLDING = (Act.PROMOTED, Act.ROLLED_BACK)


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """One act. ``digest`` is the SHA-256 of the version's bundle; after ``removed`` the alias has no version.

    ``by`` and ``role``: who acted, in which role (empty where none was needed), ``verdict``: what the gate had said.
    """

    number: int
    at: str
    previous: str
    act: Act
    alias: str
    version: str
    digest: str = ""
    verdict: str = ""
    by: str = ""
    role: str = ""
    reason: str = ""


class Signature(msgspec.Struct, frozen=True):
    """Who acts, in which role, and why; empty where nobody is asked for."""

    by: str = ""
    role: str = ""
    reason: str = ""


NOBODY = Signature()


@contextmanager
def exclusive(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace's promotion lock: moving an alias and writing it down are one step for every process."""
    path = _folder(workspace) / f"{NAME}.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def record(
    workspace: Workspace,
    act: Act,
    *,
    version: str,
    alias: Alias = CHAMPION,
    digest: str = "",
    verdict: str = "",
    signed: Signature = NOBODY,
) -> Promotion:
    """Write down one act; it is on the disk when this returns.

    Raises:
        AuditError: the chain is damaged, or the disk did not take the record.
    """
    folder = _folder(workspace)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return add_link(
        folder,
        Hasher.from_settings(workspace.settings),
        NAME,
        lambda number, previous: Promotion(
            number=number,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            previous=previous,
            act=act,
            alias=alias,
            version=version,
            digest=digest,
            verdict=verdict,
            by=signed.by,
            role=signed.role,
            reason=signed.reason,
        ),
    )


def read(workspace: Workspace) -> list[Promotion]:
    """All records, oldest first, each checked.

    Raises:
        AuditError: a record was changed, removed or reordered.
    """
    return checked(workspace)[0]


def checked(workspace: Workspace) -> tuple[list[Promotion], str]:
    """All records, and an anchor ``<number>:<hash>``: kept elsewhere, it finds out even older files put back.

    Raises:
        AuditError: a record was changed, removed or reordered.
    """
    folder = _folder(workspace)
    if not (folder / f"{NAME}{CHAIN}").exists() and not (folder / f"{NAME}{HEAD}").exists():
        return [], ""
    found, hashes, problems = check_chain(folder, Hasher.from_settings(workspace.settings), NAME, Promotion)
    if problems:
        raise AuditError(
            f"晋级记录已被改动。The log of promotions is not what was written: {problems[0]}.",
            hint="Keep the files as they are, and compare with a copy.",
        )
    return found, f"{len(found)}:{hashes[-1]}"


def holder(records: Sequence[Promotion], alias: Alias = CHAMPION, at: datetime | None = None) -> Promotion | None:
    """The record by which a version has, or at ``at`` had, ``alias`` by right; ``None``: none had it."""
    moved = [r for r in _moves(records, alias) if at is None or datetime.fromisoformat(r.at) <= at]
    return moved[-1] if moved and moved[-1].act in HOLDING else None


def during(records: Sequence[Promotion], alias: Alias, start: datetime, end: datetime) -> list[Promotion]:
    """The records by which versions had ``alias`` by right between ``start`` and ``end``, in order."""
    found = holder(records, alias, start)
    moves = [r for r in _moves(records, alias) if start < datetime.fromisoformat(r.at) <= end and r.act in HOLDING]
    return [*([found] if found else []), *moves]


def before(records: Sequence[Promotion], version: str) -> Promotion | None:
    """The last champion by right before ``version`` that is another version."""
    found = [r for r in _moves(records, CHAMPION) if r.act in HOLDING]
    while found and found[-1].version == version:
        found.pop()
    return found[-1] if found else None


def approval(records: Sequence[Promotion], version: str, digest: str) -> Promotion | None:
    """The last approval of this very bundle as ``version``."""
    found = [r for r in records if r.act is Act.APPROVED and (r.version, r.digest) == (version, digest)]
    return found[-1] if found else None


def is_approved(workspace: Workspace, version: str, digest: str) -> bool:
    """Whether the log has an approval of this very bundle as ``version``.

    Raises:
        AuditError: the log is not what was written.
    """
    return approval(read(workspace), version, digest) is not None


def _moves(records: Sequence[Promotion], alias: Alias) -> list[Promotion]:
    return [r for r in records if r.alias == alias and (r.act in HOLDING or r.act is Act.REMOVED)]


def _folder(workspace: Workspace) -> Path:
    return workspace.paths.promotions
