"""Retention of the evidence of decisions: its bytes are destroyed, the audit trail still holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from credit301.governance.audit.attached import destroy
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.verify import DESTROYED_BEFORE, records
from credit301.governance.people import acting

if TYPE_CHECKING:
    from credit301.governance.audit.writer import AuditWriter
    from credit301.workspace import Workspace


def destroy_evidence(workspace: Workspace, audit: AuditWriter, now: datetime | None = None) -> int:
    """Destroy what is older than the workspace keeps it, after putting so on record; gives how many there were.

    Killed in the middle, it goes on when it is called again: what is gone already is not counted twice.

    Raises:
        AuditError: the trail cannot be read or written.
    """
    days = workspace.definition.governance.evidence.retention_days
    before = ((now or datetime.now(UTC)) - timedelta(days=days)).isoformat()
    due = [
        (record.writer, record.entry.attached)
        for record in records(workspace.paths.audit)
        if record.entry.attached is not None and record.at < before
    ]
    if not due:
        return 0
    audit.append(Entry(event=Event.EXPIRED, who=acting(), detail={DESTROYED_BEFORE: before, "retention_days": days}))
    return sum(destroy(workspace.paths.audit, writer, attachment) for writer, attachment in due)
