"""What the accept lane has lent: a chain of grants for each month, on the disk before any of them is answered.

All workers of a workspace share its files, and take turns; the chain is that of the audit trail, so that no grant can
be taken out unnoticed. Nothing else knows the sum: what other stores lose cannot raise it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import msgspec

from credit301.errors import AuditError
from credit301.governance.audit.chain import CHAIN, HEAD, Hasher
from credit301.governance.audit.verify import check_chain
from credit301.governance.audit.writer import add_link

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.workspace import Workspace


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Money set aside for ``entity`` (its keyed hash), in cents."""

    number: int
    at: str
    previous: str
    entity: str
    cents: int


class _Answered(Exception):
    """The answer is known without another grant."""

    def __init__(self, granted: bool) -> None:
        super().__init__()
        self.granted = granted


class LaneLedger:
    """The grants of one workspace.

    Args:
        folder: where the months' chains are.
        hasher: makes their hashes.
    """

    def __init__(self, folder: Path, hasher: Hasher) -> None:
        self._folder = folder
        self._hasher = hasher

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """The ledger of the workspace."""
        return cls(workspace.paths.accept_lane, Hasher.from_settings(workspace.settings))

    def reserve(self, entity: str, cents: int, cap: int, now: datetime | None = None) -> bool:
        """Set ``cents`` aside for ``entity`` if the month's sum stays within ``cap``, and say whether they are.

        An entity gets money once a month; asking again takes none.

        Raises:
            AuditError: the ledger is damaged, or the disk did not take the grant: nothing may be lent.
        """
        month = f"{now or datetime.now(UTC):%Y-%m}"

        def grant(number: int, previous: str) -> Grant:
            there = self._grants(month)
            if (earlier := next((item for item in there if item.entity == entity), None)) is not None:
                raise _Answered(earlier.cents >= cents)
            if sum(item.cents for item in there) + cents > cap:
                raise _Answered(False)
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            return Grant(number=number, at=at, previous=previous, entity=entity, cents=cents)

        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            add_link(self._folder, self._hasher, month, grant)
        except _Answered as answered:
            return answered.granted
        except OSError as error:
            raise AuditError(f"The accept lane's ledger cannot be written: {error.strerror or error}.") from error
        return True

    def _grants(self, month: str) -> list[Grant]:
        empty = (self._folder / f"{month}{CHAIN}").stat().st_size == 0
        if empty and not (self._folder / f"{month}{HEAD}").exists():
            return []
        found, _, problems = check_chain(self._folder, self._hasher, month, Grant)
        if problems:
            raise AuditError(
                f"随机准入台账已被改动。The accept lane's ledger is not what was written: {problems[0]}.",
                hint="Nothing is lent by lot this month until the files are put right.",
            )
        return found
