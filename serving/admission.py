"""Who is let in when there is more to do than can be done: a bounded number at once, a short queue, and no more.

Work that has begun is finished; what would wait too long is refused at once, which costs little, so that an endpoint
that is asked for twice what it can do still does nearly all that it can. How long one would wait is measured: the time
between two departures while somebody waits, times those who wait. It follows the clock, so it recovers by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from serving.errors import ApiError
from serving.metrics import Metrics
from serving.refusals import DEADLINE_PASSED, OVERLOADED

_WEIGHT = 0.1
_FIRST_GUESS = 0.0015


class Rules(msgspec.Struct, frozen=True):
    """How many are at work at once, how many wait without question and at most, and for how many seconds."""

    at_once: int = 16
    always: int = 32
    most: int = 512
    wait: float = 0.05
    longest: float = 1.0


class Deadline(NamedTuple):
    """When the request came, and the seconds that its sender gives it (``None``: it did not say)."""

    arrived: float
    budget: float | None


class _Waiting(NamedTuple):
    future: asyncio.Future[None]
    since: float
    until: float


class Admission:
    """The door to one kind of work, in one process.

    Args:
        lane: its name in the metrics.
        rules: its bounds.
        metrics: count who was refused.
        clock: seconds.
    """

    def __init__(self, lane: str, rules: Rules, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._metrics = metrics.lane(lane)
        self._clock = clock
        self._running = 0
        self._queue: deque[_Waiting] = deque()
        self._interval = _FIRST_GUESS
        self._departed: float | None = None

    @property
    def running(self) -> int:
        """Those at work."""
        return self._running

    @property
    def waiting(self) -> int:
        """Those in the queue."""
        return len(self._queue)

    def refuses(self, budget: float | None = None) -> bool:
        """Whether somebody who came now would be refused."""
        waiting = len(self._queue)
        expected = waiting * self._interval
        if budget is not None and expected > budget:
            return True
        if waiting < self._rules.always:
            return False
        if waiting >= self._rules.most:
            return True
        # Where nobody leaves at all, the one who waits longest says so.
        return max(expected, self._clock() - self._queue[0].since) > self._rules.wait

    def refused(self) -> None:
        """Count somebody who was sent away."""
        self._metrics.shed("queue")

    async def enter(self, deadline: Deadline) -> None:
        """Wait for a place; whoever gets one must :meth:`leave`.

        Raises:
            ApiError: too many wait already, or its deadline passed before it began.
        """
        if self._running < self._rules.at_once and not self._queue:
            self._running += 1
            self._metrics.running(self._running)
            return
        if self.refuses(deadline.budget):
            self._metrics.shed("queue")
            raise ApiError(OVERLOADED)
        patience = self._rules.longest if deadline.budget is None else min(deadline.budget, self._rules.longest)
        place = _Waiting(asyncio.get_running_loop().create_future(), deadline.arrived, deadline.arrived + patience)
        self._queue.append(place)
        self._metrics.waiting(len(self._queue))
        try:
            await place.future
        except asyncio.CancelledError:
            if place.future.done() and not place.future.cancelled() and place.future.exception() is None:
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to the next, or back."""
        now = self._clock()
        if self._queue:
            if self._departed is not None:
                self._interval += _WEIGHT * (now - self._departed - self._interval)
            self._departed = now
        else:
            self._departed = None
        while self._queue:
            place = self._queue.popleft()
            if place.future.done():
                continue
            if now > place.until:
                self._metrics.shed("deadline")
                place.future.set_exception(ApiError(DEADLINE_PASSED))
                continue
            self._metrics.waited(now - place.since)
            self._metrics.waiting(len(self._queue))
            place.future.set_result(None)
            return
        self._running -= 1
        self._metrics.waiting(0)
        self._metrics.running(self._running)
