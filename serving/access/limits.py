"""How often a client may ask: a bucket of tokens for each, filled by the clock.

Each worker gives its share of the rate, so that no question goes to another process before an answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from serving.access.clients import Client, RateLimit


class Bucket:
    """Holds up to ``burst`` tokens, and gains ``rate`` of them a second.

    Args:
        rate: tokens a second.
        burst: tokens that it holds, and begins with.
        clock: seconds.
    """

    __slots__ = ("_at", "_clock", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()

    def take(self) -> float:
        """Take a token: 0, or the seconds until there is one (none is taken then)."""
        now = self._clock()
        tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if tokens >= 1:
            self._tokens = tokens - 1
            return 0.0
        self._tokens = tokens
        return (1 - tokens) / self.rate

    @property
    def left(self) -> int:
        """Whole tokens in it, as of the last time that one was asked for."""
        return int(self._tokens)


class Allowance:
    """One client's bucket, with what is said of it in the headers of each answer.

    The headers are those of draft-ietf-httpapi-ratelimit-headers: a quota ``q`` for a window of ``w`` seconds, of which
    ``r`` requests remain and which is whole again in ``t`` seconds.
    """

    __slots__ = ("bucket", "policy")

    def __init__(self, limit: RateLimit, share: float) -> None:
        burst = max(1.0, limit.burst * share)
        self.bucket = Bucket(limit.per_second * share, burst)
        self.policy = f'"client";q={int(burst)};w={math.ceil(burst / self.bucket.rate)}'.encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the answer says."""
        left = self.bucket.left
        full = math.ceil((self.bucket.burst - left) / self.bucket.rate)
        return [(b"ratelimit-policy", self.policy), (b"ratelimit", b'"client";r=%d;t=%d' % (left, full))]


def allowances(clients: Mapping[str, Client], workers: int = 1) -> dict[str, Allowance]:
    """The allowance of each client at one of ``workers``."""
    return {name: Allowance(client.rate_limit, 1 / workers) for name, client in clients.items()}
