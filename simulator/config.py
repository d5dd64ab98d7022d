"""What a city is made from: its size, its history, its seed, and where every random stream comes from."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from credit301.errors import ConfigError

BLOCK = 20_000
"""Enterprises made at once: memory stays bounded by it, and every block has random streams of its own."""

WARM_UP = 24
"""Months lived before the history starts, so that the first served month already has a past."""

TAIL_DAYS = 62
"""Days after the history's end for which records are still made: what an advanced clock lets appear."""

SECONDS_PER_DAY = 86_400

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Text = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class CityConfig:
    """One city: the same values always give the same bytes.

    Raises ConfigError for a size or a history that cannot hold a performance window.
    """

    enterprises: int = 4000
    months: int = 36
    seed: int = 301
    start: date = date(2023, 10, 1)

    def __post_init__(self) -> None:
        """Refuse what no city can be made from."""
        if self.enterprises < 1:
            raise ConfigError(
                f"A city needs at least one enterprise, got {self.enterprises}.", hint="Raise --enterprises."
            )
        if self.months < MIN_MONTHS:
            raise ConfigError(
                f"{self.months} months cannot hold a 12-month performance window and a history before it.",
                hint=f"Ask for at least {MIN_MONTHS} months.",
            )
        if self.start.day != 1:
            raise ConfigError(f"History starts on the first of a month, not on {self.start}.", hint="Use day 1.")

    @property
    def steps(self) -> int:
        """Months in every latent path: warm-up and history."""
        return WARM_UP + self.months

    @property
    def month0(self) -> int:
        """Number of the first history month, counted from 1970-01."""
        return (self.start.year - 1970) * 12 + self.start.month - 1

    @property
    def end(self) -> date:
        """The day after the history: the exchange's clock by default."""
        year, month = divmod(self.month0 + self.months, 12)
        return date(1970 + year, month + 1, 1)

    @property
    def end_day(self) -> int:
        """`end` in days since 1970-01-01."""
        return (self.end - date(1970, 1, 1)).days

    @property
    def blocks(self) -> list[range]:
        """The enterprises' indices, block by block."""
        return [range(low, min(low + BLOCK, self.enterprises)) for low in range(0, self.enterprises, BLOCK)]

    def rng(self, purpose: str, block: int = 0) -> np.random.Generator:
        """A random stream of its own for `purpose` in `block`; no stream depends on how much another one drew."""
        name = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=4).digest())
        return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(self.seed, spawn_key=(block, name))))

    def as_dict(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return {**asdict(self), "start": self.start.isoformat()}

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name this city; cursors carry it, so that no cursor outlives its city."""
        return hashlib.blake2b(msgspec.json.encode(self.as_dict(), order="sorted"), digest_size=8).hexdigest()


MIN_MONTHS = 24


def month_start_day(month: Ints) -> Ints:
    """First day (days since 1970-01-01) of months counted from 1970-01."""
    return month.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def day_month(day: Ints) -> Ints:
    """Month (counted from 1970-01) of days since 1970-01-01."""
    return day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def sigmoid(value: Floats) -> Floats:
    """Log-odds to probability."""
    return 1.0 / (1.0 + np.exp(-value))


def at_work(rng: np.random.Generator, day: Ints) -> Ints:
    """A second between 08:00 and 18:00 on each day (seconds since 1970-01-01, local time)."""
    return day * SECONDS_PER_DAY + rng.integers(8 * 3600, 18 * 3600, len(day))
