"""What government data say of an enterprise, read for a bank: by the consents of this moment, each reading on record.

The applicant finds it filled in, and the bank in the package that it decides on; how the online store is asked is the
reader's own matter.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING

import msgspec

from credit301.applications.prefill import Prefilled, online_field, read_back, sources_of
from credit301.features.packed_wire import entity_key
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import Asking, ConsentRule, Coverage
from credit301.governance.consent.online import decode, online_key

if TYPE_CHECKING:
    from credit301.workspace import Workspace

Ask = Callable[[bytes, bytes, Sequence[str]], Awaitable[tuple[bytes | None, Sequence[bytes | None]]]]
"""Asks the online store for the value of a key and, of the hash under another, these fields; for no fields, nothing.

The value comes first, so that consents are never older than what is read by them.
"""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of whom.

    Args:
        entity: of whom.
        named: its keyed hash.
        bank: for whom.
        application: number of the application that it is read for.
        purpose: what it is read for, as the record says it.
        sources: which sources; those of them that mark nothing to be filled in have nothing.
        relied_on: sources that consent has to cover still; where it does not, nothing is read.
    """

    entity: str
    named: str
    bank: str
    application: str
    purpose: str
    sources: Collection[str]
    relied_on: Collection[str] = ()


class Known(msgspec.Struct, frozen=True):
    """What is known: ``values`` of the sources that ``coverage`` lets be read.

    ``is_gone``: consent no longer covers what is relied on; ``coverage`` then says why.
    """

    values: tuple[Prefilled, ...]
    coverage: Coverage
    is_gone: bool


class KnownData:
    """Reads what is known.

    Args:
        workspace: whose contracts mark what is filled in.
        ask: asks the online store.
        audit: where each reading is recorded.
    """

    def __init__(self, workspace: Workspace, ask: Ask, audit: AuditWriter) -> None:
        self._workspace, self._key = workspace.name, workspace.entity.key
        self._rule = ConsentRule.of(workspace)
        self._ask = ask
        self._audit = audit
        self.contracts = {contract.name: contract for contract in sources_of(workspace)}

    async def read(self, reading: Reading) -> Known:
        """What consent lets the bank see at this moment.

        Raises:
            FeatureStoreError: the online store does not answer, or what it has cannot be read.
            AuditError: the reading could not be recorded.
        """
        wanted = {name: contract for name, contract in self.contracts.items() if name in reading.sources}
        entry, replies = await self._ask(
            online_key(self._workspace, reading.named),
            entity_key(self._workspace, self._key, reading.entity),
            [online_field(source) for source in wanted],
        )
        standings, asking, now = decode(entry), Asking(reading.bank), time.time_ns() // 1000
        gone = self._rule.cover(standings, reading.relied_on, asking, now).withheld
        coverage = Coverage((), gone, ()) if gone else self._rule.cover(standings, wanted, asking, now)
        await self._audit.durable(self._audit.append(_entry(reading, asking, coverage)))
        values = dict(zip(wanted, replies, strict=True))
        allowed = {source: wanted[source] for source in coverage.sources}
        return Known(read_back(allowed, [values[source] for source in allowed]), coverage, bool(gone))


def _entry(reading: Reading, asking: Asking, coverage: Coverage) -> Entry:
    return Entry(
        event=Event.READ if coverage.sources else Event.REFUSED if coverage.withheld else Event.NOTHING,
        who=asking.grantee,
        entity=reading.named,
        application=reading.application,
        purpose=asking.purpose,
        sources=coverage.sources,
        consents=coverage.consents,
        detail={"for": reading.purpose, **coverage.withheld},
    )
