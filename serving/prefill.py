"""What is filled in for whoever applies: read in one round trip with the consents that allow it, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from credit301.applications.known import KnownData, Reading
from credit301.applications.records import Application
from credit301.domain.text import Text
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import ConsentMissing
from serving.application_types import PrefillView
from serving.features import OnlineStore
from serving.wire import Command

if TYPE_CHECKING:
    from credit301.workspace import Workspace


class PrefillReader:
    """Reads what government data say of an enterprise that applies.

    Args:
        workspace: whose contracts mark what is filled in.
        store: the online store.
        audit: where each reading is recorded.
    """

    def __init__(self, workspace: Workspace, store: OnlineStore, audit: AuditWriter) -> None:
        self._store = store
        self._known = KnownData(workspace, self._ask, audit)

    async def read(self, application: Application) -> PrefillView:
        """What consent lets the applicant's bank see.

        Raises:
            ConsentMissing: there is something, and consent covers none of it.
            AuditError: the reading could not be recorded.
            FeatureStoreError: the store cannot be read.
        """
        contracts = self._known.contracts
        found = await self._known.read(
            Reading(
                entity=application.entity,
                named=application.named,
                bank=application.tenant,
                application=str(application.id),
                purpose="prefill",
                sources=contracts,
            )
        )
        coverage = found.coverage
        if coverage.withheld and not coverage.sources:
            titles = {name: Text(zh=item.title.zh, en=item.title.en) for name, item in contracts.items()}
            raise ConsentMissing(coverage.withheld, titles)
        return PrefillView(fields=found.values, withheld_sources=tuple(coverage.withheld))

    async def _ask(
        self, consents: bytes, row: bytes, fields: Sequence[str]
    ) -> tuple[bytes | None, Sequence[bytes | None]]:
        commands = [Command.of(consents, b"GET", consents)]
        commands += [Command.of(row, b"HMGET", row, *fields)] if fields else []
        entry, *replies = await self._store.send(commands)
        return entry, replies[0] if replies else ()
