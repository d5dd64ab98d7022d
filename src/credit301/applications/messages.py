"""Looking at the outbox, and giving a dead message another chance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from credit301.applications import statements
from credit301.applications.database import Database


async def recent(database: Database, workspace: str, *, everything: bool, most: int) -> list[Any]:
    """The newest messages, the newest first; without ``everything`` those that were not delivered."""
    return await database.fetch(statements.MESSAGES, workspace=workspace, everything=everything, most=most)


async def revive(database: Database, workspace: str, message: UUID) -> bool:
    """Have the dead ``message`` delivered again, from its first attempt on; false where there is none."""
    row = await database.first(statements.REVIVE, workspace=workspace, id=message, now=datetime.now(UTC))
    return row is not None
