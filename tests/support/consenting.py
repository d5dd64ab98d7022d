"""Consents of enterprises, recorded for the client that the tests ask as."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.desk import ConsentDesk
from credit301.governance.consent.ledger import FileLedger
from credit301.governance.consent.online import OnlineConsents
from credit301.governance.consent.records import Consent
from credit301.identity.keyed_hash import KeyedHash
from credit301.workspace import Workspace
from serving.auth import DEMO

LATER = datetime.now(UTC) + timedelta(days=30)


class _Nowhere:
    """An online store that takes everything, for workspaces that have none."""

    def client(self) -> AbstractContextManager[_Nowhere]:
        return nullcontext(self)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: (1, 0)


def desk_of(workspace: Workspace, audit: AuditWriter) -> ConsentDesk:
    """The desk of ``workspace``, with its online store where its settings name one."""
    if workspace.settings.redis_url:
        return ConsentDesk.of(workspace, audit)
    hashed = KeyedHash.from_settings(workspace.settings)
    online = OnlineConsents(_Nowhere(), workspace.name)  # type: ignore[arg-type]
    return ConsentDesk(FileLedger(workspace.paths.consents), online, workspace.entity, hashed, workspace.sources, audit)


def consent(workspace: Workspace, *entities: str, grantee: str = DEMO, **options: Any) -> list[Consent]:
    """Record that each of ``entities`` lets ``grantee`` read everything for a decision, for thirty days."""
    with AuditWriter.of(workspace) as audit:
        desk = desk_of(workspace, audit)
        return [desk.grant(entity, grantee, by="a test", **{"valid_until": LATER, **options}) for entity in entities]
