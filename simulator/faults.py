"""Faults that the exchange injects on purpose: decided by hashing, so the same seed fails in the same places."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.config import Bools, Ints

MOST_IN_A_ROW = 2
"""A transient fault hits the same request at most so often in a row: who retries gets through."""

_NEVER_SENT_AGAIN = 0.15


class Transient(StrEnum):
    """Faults of a request; the same request succeeds later."""

    TOO_MANY = "429"
    BROKEN = "500"
    TIMEOUT = "timeout"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates between 0 and 1 of everything that goes wrong.

    Transient ones (`rate_429`, `rate_500`, `rate_timeout`, `rate_garbage`) are shares of requests; `malformed_rows`
    and `duplicate_rows` are shares of records, always the same ones for a seed. `hold_seconds` is how long a
    request that times out is kept waiting.
    """

    rate_429: float = 0.0
    rate_500: float = 0.0
    rate_timeout: float = 0.0
    rate_garbage: float = 0.0
    malformed_rows: float = 0.0
    duplicate_rows: float = 0.0
    seed: int = 301
    hold_seconds: float = 30.0

    @classmethod
    def demo(cls, seed: int = 301) -> Faults:
        """Small rates of everything, as a city's exchange has them on an ordinary day."""
        return cls(0.02, 0.01, 0.002, 0.005, 0.003, 0.002, seed, hold_seconds=12.0)

    def transient(self, request: str, attempt: int) -> Transient | None:
        """The fault that meets `attempt` (0, 1, ...) of one and the same `request`, None for an honest answer."""
        if attempt >= MOST_IN_A_ROW:
            return None
        chance = _uniform(np.array([attempt], dtype=np.uint64), _number(f"{self.seed}:{request}"))[0]
        rates = (self.rate_429, self.rate_500, self.rate_timeout, self.rate_garbage)
        for kind, rate in zip(Transient, rates, strict=True):
            if chance < rate:
                return kind
            chance -= rate
        return None

    def malformed(self, source: str, position: Ints) -> Bools:
        """Which records at `position` (n) of the stream of `source` are served malformed."""
        return self._chance("malformed", source, position) < self.malformed_rows

    def duplicated(self, source: str, position: Ints) -> Bools:
        """Which records at `position` (n) are served twice."""
        return self._chance("duplicate", source, position) < self.duplicate_rows

    def sent_again(self, source: str, position: Ints) -> Bools:
        """Which of the malformed records at `position` (n) come again in order, some days later."""
        return self.malformed(source, position) & (self._chance("again", source, position) >= _NEVER_SENT_AGAIN)

    def spoil(self, source: str, position: int, record: dict[str, Any]) -> dict[str, Any]:
        """A malformed copy of `record` (JSON values) as it stands at `position`; its key columns may be what breaks."""
        kinds = [spoiler for spoiler in _SPOILERS if spoiler(dict(record))]
        pick = self._chance("kind", source, np.array([position]))[0]
        spoiled = dict(record)
        kinds[int(pick * len(kinds))](spoiled)
        return spoiled

    def _chance(self, purpose: str, source: str, position: Ints) -> np.ndarray:
        return _uniform(position.astype(np.uint64), _number(f"{self.seed}:{purpose}:{source}"))


def _number(text: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _uniform(position: np.ndarray, key: int) -> np.ndarray:
    """Numbers in [0, 1) from positions (n) and a key: the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    mixed = position * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))).astype(np.float64) / 2.0**64


def _first(record: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if record.get(name) is not None), None)


def _text_in_number(record: dict[str, Any]) -> bool:
    name = _first(
        record,
        (
            "declared_sales",
            "contribution_base",
            "total_assets",
            "registered_capital",
            "due_amount",
            "amount",
            "inflow",
            "premises_area",
        ),
    )
    if name:
        record[name] = "见附件"
    return name is not None


def _impossible_date(record: dict[str, Any]) -> bool:
    name = _first(record, ("filed_on", "established_on", "due_on", "disbursed_on", "business_date"))
    if name:
        record[name] = f"{record[name][:4]}-02-30"
    elif "event_time" in record:
        record["event_time"] = f"{record['event_time'][:4]}-13-45T00:00:00"
    return True


def _missing_uscc(record: dict[str, Any]) -> bool:
    record["uscc"] = None
    return True


def _wrong_check_character(record: dict[str, Any]) -> bool:
    code = str(record["uscc"])
    record["uscc"] = code[:-1] + ("0" if code[-1] != "0" else "1")
    return True


def _negative_count(record: dict[str, Any]) -> bool:
    name = _first(
        record,
        (
            "insured_headcount",
            "shareholder_count",
            "term_months",
            "instalment_no",
            "contributor_count",
            "transaction_count",
            "duration_seconds",
            "version_no",
        ),
    )
    if name:
        record[name] = -3
    return name is not None


_SPOILERS: tuple[Callable[[dict[str, Any]], bool], ...] = (
    _text_in_number,
    _impossible_date,
    _missing_uscc,
    _wrong_check_character,
    _negative_count,
)
