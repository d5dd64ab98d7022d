"""Trying again, with growing waits, what may pass by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from credit301 import console
from credit301.sources.connectors.options import Patience

MAXIMUM_WAIT_SECONDS = 60.0
T = TypeVar("T")


class Again(Exception):
    """A fault that may pass; ``wait`` is how long the source asked to be left alone, in seconds."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


def persistently(name: str, patience: Patience, ask: Callable[[], T]) -> T:
    """What ``ask`` returns, asked again while it raises :class:`Again`; the waits and their reasons are told.

    Raises:
        Again: the last fault, once the attempts are used up.
    """

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        console.say(f"  {name}: {error}; attempt {state.attempt_number} of {patience.attempts}, again in {pause:.1f} s")

    retrying = Retrying(
        retry=retry_if_exception_type(Again),
        stop=stop_after_attempt(patience.attempts),
        wait=lambda state: wait_seconds(patience, state),
        before_sleep=tell,
        reraise=True,
    )
    return retrying(ask)


def wait_seconds(patience: Patience, state: RetryCallState) -> float:
    """Seconds to wait after the attempt that ``state`` is about: what the source asked for, or longer each time."""
    backoff = wait_exponential_jitter(
        initial=patience.first_wait_seconds, max=MAXIMUM_WAIT_SECONDS / 2, jitter=patience.first_wait_seconds
    )
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, Again) else None
    return min(max(asked or 0.0, backoff(state)), MAXIMUM_WAIT_SECONDS)
