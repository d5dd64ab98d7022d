"""The shadow: scores every application after it was answered, decides nothing, and is recorded beside the decision."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from credit301.domain.verdict import Scalar
from credit301.errors import Credit301Error
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.strategy.strategy import Strategy
from serving.judge import Loaded
from serving.metrics import Metrics

log = logging.getLogger("credit301.serving")
WAITING = 1_000
"""Applications that may wait for their shadow; beyond it they go without one, which is counted."""


class Seen(msgspec.Struct, frozen=True):
    """What a decision read, for the shadow to judge."""

    decision: str
    named: str
    who: str
    application: str
    values: Mapping[str, Scalar]
    amount: Decimal
    term_months: int
    strategy: Strategy


class Shadow:
    """Judges what was decided on with another model, one at a time, in a thread beside the event loop.

    Args:
        audit: where it is recorded.
        metrics: counts and times it.
    """

    def __init__(self, audit: AuditWriter, metrics: Metrics) -> None:
        self._audit = audit
        self._metrics = metrics
        self._queue: asyncio.Queue[tuple[Loaded, Seen]] = asyncio.Queue(WAITING)

    def follow(self, loaded: Loaded | None, seen: Seen) -> None:
        """Have ``loaded`` judge ``seen`` later; this costs the caller nothing but the call."""
        if loaded is None:
            return
        try:
            self._queue.put_nowait((loaded, seen))
        except asyncio.QueueFull:
            self._metrics.shadowed("dropped")

    async def run(self) -> None:
        """Judge what comes, for ever."""
        while True:
            loaded, seen = await self._queue.get()
            try:
                await asyncio.to_thread(self._judge, loaded, seen)
            except Exception:
                # Whatever a shadow does must not reach those who decide.
                log.exception("the shadow %s failed", loaded.manifest.version)
                self._metrics.shadowed("failed")
            finally:
                self._queue.task_done()

    async def finish(self, seconds: float = 5.0) -> None:
        """Wait until all that came is judged."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), seconds)

    def _judge(self, loaded: Loaded, seen: Seen) -> None:
        start = time.perf_counter()
        missing = [key for key in loaded.plan.keys if key not in seen.values]
        detail: dict[str, str | int | float] = {"model": loaded.manifest.version, "registered": loaded.registry_version}
        try:
            values = [seen.values.get(key) for key in loaded.plan.keys]
            windows = {key: value for key, value in seen.values.items() if key in loaded.manifest.windows}
            judged = loaded.judge(seen.strategy, values, seen.amount, seen.term_months, windows)
        except Credit301Error as error:
            detail["problem"] = type(error).__name__
        else:
            detail |= {
                "probability": judged.score.probability,
                "score": judged.score.score,
                "outcome": judged.verdict.outcome.value,
            }
        seconds = time.perf_counter() - start
        # What the deciding model did not read is not read for the shadow's sake: it was judged as not known.
        detail |= {"unread": len(missing), "microseconds": int(seconds * 1e6)}
        self._audit.append(
            Entry(
                event=Event.SHADOWED,
                who=seen.who,
                entity=seen.named,
                application=seen.application,
                decision=seen.decision,
                detail=detail,
            )
        )
        self._metrics.shadowed("judged", seconds)
