"""A relay as a process of its own, for tests that kill it: ``python -m tests.support.relay DATABASE RECEIVER LEASE``."""

from __future__ import annotations

import asyncio
import sys

import httpx
import msgspec

from credit301.applications.database import Database
from credit301.applications.outbox import Again, Delivered, Outcome, Relay, Schedule
from credit301.applications.records import Message


async def _run(database: str, receiver: str, lease: float) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:

        async def deliver(message: Message) -> Outcome:
            answer = await client.post(receiver, content=msgspec.json.encode(message))
            return Delivered() if answer.is_success else Again(str(answer.status_code))

        relay = Relay(Database(database), "wuhan", deliver, Schedule(lease=lease, first=0.05), most=4)
        await relay.run(idle=0.02)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2], float(sys.argv[3])))
