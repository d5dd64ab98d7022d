"""Which client acts, said in the audit trail beside the bank that it acts for."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

import msgspec

from credit301.governance.audit.entry import Entry
from credit301.governance.audit.writer import AuditWriter
from serving.access.scopes import Principal

CLIENT = "client"
"""The detail of an entry that names the client; without it, the client is the one that is called as the bank is."""
acting: ContextVar[Principal | None] = ContextVar("acting", default=None)
"""Who asks in the request that is under way."""


class ClientTrail(AuditWriter):
    """A writer that names the client, where the bank in an entry is one that another client acts for."""

    def append_all(self, acts: Sequence[tuple[Entry, bytes | None]]) -> int:
        """As :meth:`AuditWriter.append_all`."""
        principal = acting.get()
        if principal is not None and principal.client != principal.tenant:
            acts = [(_named(entry, principal), attached) for entry, attached in acts]
        return super().append_all(acts)


def _named(entry: Entry, principal: Principal) -> Entry:
    if entry.who != principal.tenant:
        return entry
    return msgspec.structs.replace(entry, detail={**entry.detail, CLIENT: principal.client})
