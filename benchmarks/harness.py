"""Taking samples: rounds of each contender in turn, so that a disturbance of the machine meets them all."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from credit301.errors import Credit301Error

Call = Callable[[int], object]
"""One unit of work; its argument counts up, so that each call can take other input than the one before."""

Round = Callable[[int, int], list[float]]
"""Makes some calls, numbered from its first argument on, as many as its second says; microseconds that each took."""


class BenchmarkError(Credit301Error):
    """Something could not be measured: a server did not start, or a request was not answered with success."""


@dataclass(frozen=True)
class Measured:
    """One quantity over the rounds: their median, and the least and the greatest of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Measured:
        """The summary of one value a round.

        Raises:
            ValueError: there is no round.
        """
        return cls(statistics.median(rounds), min(rounds), max(rounds))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` (0 to 1) of them do not exceed (nearest rank).

    Raises:
        ValueError: there are no values, or ``share`` is not from 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values, and a share from 0 to 1")
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 10_000) // 10_000) - 1)]


def time_in_turn(contenders: dict[str, tuple[Round, int]], rounds: int) -> dict[str, dict[float, Measured]]:
    """Time the contenders in turn, ``rounds`` times over, after one round that does not count.

    Args:
        contenders: by name, what makes a round and how many calls make one.
        rounds: how many count.

    Returns:
        By name, the median (0.5) and the 99th percentile (0.99) of a call in microseconds.
    """
    kept: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, (make, count) in contenders.items():
            taken = make(number * count, count)
            if number:
                kept[name].append(taken)
    return {
        name: {share: Measured.of([percentile(taken, share) for taken in each]) for share in (0.5, 0.99)}
        for name, each in kept.items()
    }


def calling(call: Call) -> Round:
    """Rounds of ``call``, one call after the other."""

    def make(first: int, count: int) -> list[float]:
        clock = time.perf_counter_ns
        taken = []
        for number in range(first, first + count):
            start = clock()
            call(number)
            taken.append((clock() - start) / 1000)
        return taken

    return make


@contextmanager
def settled_memory() -> Iterator[None]:
    """What was loaded before is not looked through again by the garbage collector, as in a process that only serves."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
