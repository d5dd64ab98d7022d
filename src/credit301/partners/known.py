"""The prefilled data of a package: read by consent at the moment of delivery, each reading on record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from credit301.applications.known import KnownData, Reading
from credit301.applications.prefill import Prefilled
from credit301.errors import Credit301Error, FeatureStoreError
from credit301.features.online_address import OnlineAddress
from credit301.governance.audit.writer import AuditWriter
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
        self._named = KeyedHash.from_settings(workspace.settings)
        self._client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client(socket_timeout=_SECONDS)
        self._known = KnownData(workspace, self._ask, audit)

    async def read(self, bank: Bank, message: Message) -> tuple[Prefilled, ...]:
        """What ``bank`` is entitled to, and consent covers at this moment.

        Raises:
            ConsentGone: consent no longer covers a source that the assessment in the package was read from.
            FeatureStoreError: the online store does not answer.
            AuditError: the reading could not be recorded.
        """
        entity, decision = message.payload["entity"], message.payload["decision"]
        withheld = decision["withheld_sources"]
        found = await self._known.read(
            Reading(
                entity=entity,
                named=self._named(entity),
                bank=bank.name,
                application=str(message.application),
                purpose="package",
                sources=bank.entitled.data,
                relied_on=[source for source in decision["features_as_of"] if source not in withheld],
            )
        )
        if found.is_gone:
            raise ConsentGone(f"Consent no longer covers {', '.join(sorted(found.coverage.withheld))}.")
        return found.values

    async def _ask(
        self, consents: bytes, row: bytes, fields: Sequence[str]
    ) -> tuple[bytes | None, Sequence[bytes | None]]:
        return await asyncio.to_thread(self._fetch, consents, row, fields)

    def _fetch(self, consents: bytes, row: bytes, fields: Sequence[str]) -> tuple[bytes | None, Sequence[bytes | None]]:
        try:
            entry = self._client.get(consents)
            return entry, self._client.hmget(row, list(fields)) if fields else []
        except RedisError as error:
            raise FeatureStoreError(f"The online store does not answer: {type(error).__name__}.") from error

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()
