"""The prefilled data of a package: read by consent at the moment of delivery, each reading on record."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from credit301.applications.prefill import Prefilled, online_field, read_back, sources_of
from credit301.errors import Credit301Error, FeatureStoreError
from credit301.features.online_address import OnlineAddress
from credit301.features.packed_wire import entity_key
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import Asking, ConsentRule, Coverage
from credit301.governance.consent.online import decode, online_key
from credit301.identity.keyed_hash import KeyedHash
from credit301.partners.bank import Bank

if TYPE_CHECKING:
    from credit301.applications.records import Message
    from credit301.workspace import Workspace

_SECONDS = 3.0


class ConsentGone(Credit301Error):
    """The enterprise has withdrawn its consent, or it has run out: the package does not go out."""


class KnownReader:
    """Reads, for a bank, what government data say of an enterprise whose package goes to it.

    Args:
        workspace: whose contracts mark what is prefilled.
        audit: where each reading is recorded.
    """

    def __init__(self, workspace: Workspace, audit: AuditWriter) -> None:
        self._name, self._key = workspace.name, workspace.entity.key
        self._rule = ConsentRule.of(workspace)
        self._contracts = {contract.name: contract for contract in sources_of(workspace)}
        self._named = KeyedHash.from_settings(workspace.settings)
        self._client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client(socket_timeout=_SECONDS)
        self._audit = audit

    async def read(self, bank: Bank, message: Message) -> tuple[Prefilled, ...]:
        """What ``bank`` is entitled to, and consent covers at this moment.

        Raises:
            ConsentGone: consent no longer covers a source that the assessment in the package was read from.
            FeatureStoreError: the online store does not answer.
            AuditError: the reading could not be recorded.
        """
        entity = message.payload["entity"]
        named = self._named(entity)
        wanted = {name: item for name, item in self._contracts.items() if name in bank.entitled.data}
        entry, replies = await asyncio.to_thread(self._fetch, entity, named, tuple(wanted))
        decision = message.payload["decision"]
        withheld = decision["withheld_sources"]
        assessed = [source for source in decision["features_as_of"] if source not in withheld]
        asking = Asking(bank.name)
        standings, now = decode(entry), time.time_ns() // 1000
        gone = self._rule.cover(standings, assessed, asking, now).withheld
        if gone:
            await self._record(message, named, asking, Coverage((), gone, ()))
            raise ConsentGone(f"Consent no longer covers {', '.join(sorted(gone))}.")
        coverage = self._rule.cover(standings, wanted, asking, now)
        await self._record(message, named, asking, coverage)
        allowed = {source: wanted[source] for source in coverage.sources}
        values = dict(zip(wanted, replies, strict=True))
        return read_back(allowed, [values[source] for source in allowed])

    async def _record(self, message: Message, named: str, asking: Asking, coverage: Coverage) -> None:
        entry = Entry(
            event=Event.READ if coverage.sources else Event.REFUSED if coverage.withheld else Event.NOTHING,
            who=asking.grantee,
            entity=named,
            application=str(message.application),
            purpose=asking.purpose,
            sources=coverage.sources,
            consents=coverage.consents,
            detail={"for": "package", **coverage.withheld},
        )
        await self._audit.durable(self._audit.append(entry))

    def _fetch(self, entity: str, named: str, sources: tuple[str, ...]) -> tuple[bytes | None, list[bytes | None]]:
        try:
            # Consents first: they are never older than what is read by them.
            consents = self._client.get(online_key(self._name, named))
            if not sources:
                return consents, []
            key = entity_key(self._name, self._key, entity)
            return consents, self._client.hmget(key, [online_field(source) for source in sources])
        except RedisError as error:
            raise FeatureStoreError(f"The online store does not answer: {type(error).__name__}.") from error

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()
