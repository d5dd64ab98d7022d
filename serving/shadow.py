"""Shadows judge every application after it was answered, decide nothing, and are recorded beside the decision.

A model that is a shadow scores what the model in use has scored. Strategies beside the one that decided (a shadow, a
challenger that did not draw the enterprise, the champion where a challenger decided) are asked with the same score.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from credit301.domain.verdict import Scalar, Verdict
from credit301.errors import Credit301Error
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.strategy.fallback import Gap
from credit301.strategy.strategy import Strategy
from serving.judge import Loaded
from serving.metrics import Metrics

log = logging.getLogger("credit301.serving")
WAITING = 1_000
"""Applications that may wait for their shadow; beyond it they go without one, which is counted."""


class Seen(msgspec.Struct, frozen=True):
    """What a decision read and what it was scored, for shadows to judge; ``beside`` are the strategies that do."""

    decision: str
    named: str
    who: str
    application: str
    values: Mapping[str, Scalar]
    amount: Decimal
    term_months: int
    strategy: Strategy
    probability: float
    score: int
    gaps: tuple[Gap, ...] = ()
    beside: tuple[Strategy, ...] = ()


def said_of(verdict: Verdict) -> dict[str, str | int | float]:
    """What the trail says of a verdict: the outcome, and of an approval the terms."""
    said: dict[str, str | int | float] = {"outcome": verdict.outcome.value}
    if verdict.limit is not None and verdict.annual_rate is not None:
        said |= {"limit": float(verdict.limit), "annual_rate": float(verdict.annual_rate)}
    return said


class Shadow:
    """Judges what was decided on, one application at a time, in a thread beside the event loop.

    Args:
        audit: where it is recorded.
        metrics: counts and times it.
    """

    def __init__(self, audit: AuditWriter, metrics: Metrics) -> None:
        self._audit = audit
        self._metrics = metrics
        self._queue: asyncio.Queue[tuple[Loaded | None, Seen]] = asyncio.Queue(WAITING)

    def follow(self, loaded: Loaded | None, seen: Seen) -> None:
        """Have ``loaded`` and the strategies beside judge ``seen`` later; it costs the caller nothing but the call."""
        if loaded is None and not seen.beside:
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
                await asyncio.to_thread(self._judged, loaded, seen)
            except Exception:
                # Whatever a shadow does must not reach those who decide.
                log.exception("a shadow failed")
                self._metrics.shadowed("failed")
            finally:
                self._queue.task_done()

    async def finish(self, seconds: float = 5.0) -> None:
        """Wait until all that came is judged."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), seconds)

    def _judged(self, loaded: Loaded | None, seen: Seen) -> None:
        for strategy in seen.beside:
            self._asked(strategy, seen)
        if loaded is not None:
            self._judge(loaded, seen)

    def _asked(self, strategy: Strategy, seen: Seen) -> None:
        start = time.perf_counter()
        detail: dict[str, str | int | float] = {"strategy": strategy.version, "probability": seen.probability}
        try:
            verdict = strategy.decide(
                probability=seen.probability,
                score=seen.score,
                values=seen.values,
                amount=seen.amount,
                term_months=seen.term_months,
                taken=strategy.fallen((*seen.gaps, *strategy.gaps(seen.values))),
            )
        except Credit301Error as error:
            detail["problem"] = type(error).__name__
        else:
            detail |= said_of(verdict)
        seconds = time.perf_counter() - start
        self._recorded(Event.STRATEGY_SHADOWED, seen, detail | {"microseconds": int(seconds * 1e6)})
        self._metrics.shadowed("strategy", seconds)

    def _recorded(self, event: Event, seen: Seen, detail: dict[str, str | int | float]) -> None:
        self._audit.append(
            Entry(
                event=event,
                who=seen.who,
                entity=seen.named,
                application=seen.application,
                decision=seen.decision,
                detail=detail,
            )
        )

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
            detail["outcome"] = judged.verdict.outcome.value
            if judged.score is not None:
                detail |= {"probability": judged.score.probability, "score": judged.score.score}
        seconds = time.perf_counter() - start
        # What the deciding model did not read is not read for the shadow's sake: it was judged as not known.
        detail |= {"unread": len(missing), "microseconds": int(seconds * 1e6)}
        self._recorded(Event.SHADOWED, seen, detail)
        self._metrics.shadowed("judged", seconds)
