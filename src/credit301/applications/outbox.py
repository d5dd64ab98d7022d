"""Carrying messages away: each at least once, those of one application in order, by as many relays as there are.

A relay takes what is due by putting the next attempt off for a while (a lease) before it delivers: another relay then
leaves it, and a relay that is killed leaves nothing behind but a message that is due again when the lease is over.
Whoever receives a message knows it by its ``id`` and applies it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from credit301.applications import statements
from credit301.applications.database import ApplicationsBusy, ApplicationsUnavailable, Database
from credit301.applications.records import Kind, Message
from credit301.governance.masking import scrub

log = logging.getLogger("credit301.applications")
_LONGEST_ERROR = 300


class Delivered(msgspec.Struct, frozen=True):
    """The receiver has it, now or since before."""


class Again(msgspec.Struct, frozen=True):
    """It could not be delivered now: ``reason``; it is tried again later, not before ``after`` seconds."""

    reason: str
    after: float = 0.0


class Never(msgspec.Struct, frozen=True):
    """The receiver will not take it however often it comes: ``reason``. It waits for a person."""

    reason: str


Outcome = Delivered | Again | Never


class Deliver(Protocol):
    """How a message gets to whom it is for."""

    async def __call__(self, message: Message) -> Outcome:
        """Try to deliver ``message``; an exception counts as :class:`Again`."""


class Schedule(msgspec.Struct, frozen=True):
    """When messages are tried again.

    ``lease``: seconds that a delivery may take before another relay tries. ``first``: seconds before the second try;
    each later wait is twice as long, up to ``longest``, and drawn between half of it and all. After ``attempts`` a
    message is dead: it waits for a person.
    """

    lease: float = 30.0
    first: float = 0.5
    longest: float = 300.0
    attempts: int = 12

    def wait(self, attempts: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds after the ``attempts``-th attempt."""
        whole = min(self.longest, self.first * 2.0 ** min(attempts - 1, 32))
        return whole * (0.5 + draw() / 2)


class Breaker:
    """Keeps a relay from asking a receiver that is away for each of its messages.

    After ``failures`` in a row it lets one message through at a time, after waits that double from ``first`` seconds
    up to ``longest``; the first that is delivered lets all through again.
    """

    def __init__(
        self,
        failures: int = 5,
        first: float = 0.5,
        longest: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._first, self._longest, self._clock = failures, first, longest, clock
        self._failed = 0
        self._next = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the receiver counts as away."""
        return self._failed >= self._limit

    def places(self, free: int, under_way: int) -> int:
        """How many messages may be taken now, of ``free`` places."""
        if not self.is_open:
            return free
        return 0 if under_way or self._clock() < self._next else min(free, 1)

    def note(self, outcome: Outcome) -> None:
        """Take account of how a delivery went; a refusal is an answer, too."""
        if not isinstance(outcome, Again):
            self._failed = 0
            return
        if self.is_open and self._clock() < self._next:
            # It was under way before: many that fail at once are one reason to wait, not many.
            return
        self._failed += 1
        beyond = max(self._failed - self._limit, 0)
        wait = min(self._longest, self._first * 2.0 ** min(beyond, 32))
        self._next = self._clock() + max(wait, min(outcome.after, self._longest))


class Relay:
    """Delivers the messages of one workspace.

    Args:
        database: where the outbox is.
        workspace: name of the workspace.
        deliver: how.
        schedule: when again.
        most: messages that are taken, and delivered side by side, at once.
        bank: only those to this one, so that one that is slow or away keeps back nobody else's.
        breaker: when to leave a receiver alone; by default never.
    """

    def __init__(
        self,
        database: Database,
        workspace: str,
        deliver: Deliver,
        schedule: Schedule | None = None,
        *,
        most: int = 32,
        bank: str | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._database = database
        self._workspace = workspace
        self._deliver = deliver
        self._schedule = schedule or Schedule()
        self._most = most
        self._bank = bank
        self._breaker = breaker or Breaker(failures=sys.maxsize)

    async def once(self) -> int:
        """Try to deliver what is due; how many messages those were.

        Raises:
            ApplicationsUnavailable: the database does not answer.
        """
        messages = await self._due(self._most)
        await asyncio.gather(*map(self._carry, messages))
        return len(messages)

    async def run(self, idle: float = 0.2, stopping: asyncio.Event | None = None) -> None:
        """Deliver, many side by side; where nothing is due, look again after ``idle`` seconds.

        Until cancelled, or ``stopping``: what is under way is then delivered, and nothing more is taken.
        """
        under_way: set[asyncio.Task[None]] = set()
        try:
            while stopping is None or not stopping.is_set():
                free = self._breaker.places(self._most - len(under_way), len(under_way))
                due: list[Message] = []
                try:
                    due = await self._due(free) if free else []
                except (ApplicationsUnavailable, ApplicationsBusy) as error:
                    log.warning("outbox: %s", error)
                under_way |= {asyncio.create_task(self._carry(message)) for message in due}
                if len(due) < max(free, 1):
                    # A message that was delivered may have kept the next of its application back.
                    if under_way:
                        await asyncio.wait(under_way, timeout=idle, return_when=asyncio.FIRST_COMPLETED)
                    else:
                        await asyncio.sleep(idle)
                under_way = {task for task in under_way if not task.done()}
            await asyncio.gather(*under_way)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _due(self, most: int) -> list[Message]:
        now = datetime.now(UTC)
        rows = await self._database.fetch(
            statements.CLAIM_MESSAGES,
            workspace=self._workspace,
            bank=self._bank,
            now=now,
            until=now + timedelta(seconds=self._schedule.lease),
            most=most,
        )
        return [_message(row) for row in rows]

    async def _carry(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._schedule.lease * 0.8):
                outcome = await self._deliver(message)
        except Exception as error:  # noqa: BLE001 - whatever a receiver does, the message is not lost
            outcome = Again(f"{type(error).__name__}: {error}")
        self._breaker.note(outcome)
        now = datetime.now(UTC)
        # What cannot be written down is delivered again when the lease is over.
        with contextlib.suppress(ApplicationsUnavailable, ApplicationsBusy):
            if isinstance(outcome, Delivered):
                await self._database.first(statements.DELIVERED, id=message.id, now=now)
                return
            wait = self._schedule.wait(message.attempts)
            if isinstance(outcome, Again):
                wait = max(wait, min(outcome.after, self._schedule.longest))
            dead = isinstance(outcome, Never) or message.attempts >= self._schedule.attempts
            reason = scrub(outcome.reason)[:_LONGEST_ERROR]
            log.warning("message %s (%s) not delivered: %s", message.id, message.kind.value, reason)
            await self._database.first(
                statements.NOT_DELIVERED,
                id=message.id,
                next_attempt_at=now + timedelta(seconds=wait),
                last_error=reason,
                dead_at=now if dead else None,
            )


def _message(row: Any) -> Message:
    return Message(
        id=row["id"],
        application=row["application_id"],
        tenant=row["tenant"],
        kind=Kind(row["kind"]),
        payload=row["payload"],
        created_at=row["created_at"],
        attempts=row["attempts"],
    )
