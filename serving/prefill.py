"""What is filled in for whoever applies: read in one round trip with the consents that allow it, and recorded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from credit301.applications.prefill import online_field, read_back, sources_of
from credit301.applications.records import Application
from credit301.domain.text import Text
from credit301.features.packed_wire import entity_key
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import Asking, ConsentMissing, ConsentRule, Coverage
from credit301.governance.consent.online import decode, online_key
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
        self._name = workspace.name
        self._key = workspace.entity.key
        self._rule = ConsentRule.of(workspace)
        self._contracts = {contract.name: contract for contract in sources_of(workspace)}
        self._store = store
        self._audit = audit

    async def read(self, application: Application) -> PrefillView:
        """What consent lets the applicant's bank see.

        Raises:
            ConsentMissing: there is something, and consent covers none of it.
            AuditError: the reading could not be recorded.
            FeatureStoreError: the store cannot be read.
        """
        key, consents = entity_key(self._name, self._key, application.entity), online_key(self._name, application.named)
        fields = [online_field(source) for source in self._contracts]
        # Consents first: they are never older than what is read by them.
        commands = [Command.of(consents, b"GET", consents)]
        commands += [Command.of(key, b"HMGET", key, *fields)] if fields else []
        entry, *replies = await self._store.send(commands)
        asking = Asking(application.tenant)
        coverage = self._rule.cover(decode(entry), self._contracts, asking, time.time_ns() // 1000)
        await self._audit.durable(self._audit.append(_entry(application, asking, coverage)))
        if coverage.withheld and not coverage.sources:
            titles = {name: Text(zh=item.title.zh, en=item.title.en) for name, item in self._contracts.items()}
            raise ConsentMissing(coverage.withheld, titles)
        values = dict(zip(self._contracts, replies[0] if replies else (), strict=True))
        allowed = {source: self._contracts[source] for source in coverage.sources}
        return PrefillView(
            fields=read_back(allowed, [values[source] for source in allowed]),
            withheld_sources=tuple(coverage.withheld),
        )


def _entry(application: Application, asking: Asking, coverage: Coverage) -> Entry:
    return Entry(
        event=Event.READ if coverage.sources else Event.REFUSED,
        who=application.tenant,
        entity=application.named,
        application=str(application.id),
        purpose=asking.purpose,
        sources=coverage.sources,
        consents=coverage.consents,
        detail={"for": "prefill", **coverage.withheld},
    )
