"""What a candidate and the current strategy do with applications, added up batch by batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from credit301.domain.verdict import Outcome
from training.tally import CENTS, MILLIONTHS, Tally, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from credit301.strategy.backtest import Economics

WHOLE = "全部 all"
SWAPS = (
    ("both", "两者都批准", "approved by both"),
    ("only_candidate", "仅新策略批准", "approved by the candidate alone"),
    ("only_current", "仅现行策略批准", "approved by the current one alone"),
    ("neither", "两者都未批准", "approved by neither"),
)
_TRILLIONTHS = 10**12
"""Probabilities are no exact numbers; they count with so many places, as profit does with six."""


@dataclass(frozen=True)
class Sum:
    """What a strategy does with some applications. Money in yuan, at full use of the limits.

    ``bad_rate`` is the share of defaults among the approved whose outcome is known, ``expected_bad_rate`` what the
    model expects of them. ``profit`` is of the known outcomes, ``expected_profit`` of all by their probabilities.
    """

    applications: int
    approved: int
    referred: int
    defaults: int
    bad_rate: float | None
    expected_bad_rate: float | None
    limits: float
    mean_limit: float | None
    mean_rate: float | None
    profit: float | None
    expected_profit: float | None

    @classmethod
    def of(cls, counted: Counter[str]) -> Sum:
        """From the sums of the columns of :func:`count`."""
        approved = counted["approved"]
        has_profit = approved > 0 and counted["without_profit"] == 0

        def mean(name: str, parts: int) -> float | None:
            return counted[name] / (parts * approved) if approved else None

        return cls(
            applications=counted["applications"],
            approved=approved,
            referred=counted["referred"],
            defaults=counted["defaults"],
            bad_rate=mean("defaults", 1),
            expected_bad_rate=mean("probability", _TRILLIONTHS),
            limits=counted["limit"] / CENTS,
            mean_limit=mean("limit", CENTS),
            mean_rate=mean("annual_rate", MILLIONTHS),
            profit=counted["profit"] / MILLIONTHS if has_profit else None,
            expected_profit=counted["expected_profit"] / MILLIONTHS if has_profit else None,
        )

    @property
    def approval_rate(self) -> float:
        """Share of the applications that are approved."""
        return self.approved / self.applications if self.applications else 0.0


def count(
    said: pd.DataFrame, labels: np.ndarray, probability: np.ndarray, term_months: int, money: Economics | None
) -> pd.DataFrame:
    """What a strategy ``said`` of each application as whole numbers that add up, shape (rows, columns), int64.

    Args:
        said: its answers.
        labels: 1 is a default, shape (rows,).
        probability: of a default, shape (rows,).
        term_months: of each loan.
        money: what it costs; ``None``: nothing is known of profit.
    """
    approved = said["outcome"].eq(Outcome.APPROVE.value).to_numpy()
    limit, rate = said["limit"].to_numpy(dtype=float), said["annual_rate"].to_numpy(dtype=float)
    months, nothing = np.full(len(said), float(term_months)), np.full(len(said), np.nan)
    profit = nothing if money is None else money.profit(limit, rate, months, labels.astype(float))
    expected = nothing if money is None else money.profit(limit, rate, months, probability)
    return pd.DataFrame(
        {
            "applications": np.ones(len(said), dtype=np.int64),
            "approved": approved.astype(np.int64),
            "referred": said["outcome"].eq(Outcome.REFER.value).to_numpy().astype(np.int64),
            "defaults": approved * labels,
            "probability": approved * whole(probability, _TRILLIONTHS),
            "limit": approved * whole(limit, CENTS),
            "annual_rate": approved * whole(rate, MILLIONTHS),
            "profit": approved * whole(profit, MILLIONTHS),
            "expected_profit": approved * whole(expected, MILLIONTHS),
            "without_profit": (approved & np.isnan(profit)).astype(np.int64),
        }
    )


class Sums:
    """Takes batches of applications and keeps only what adds up; the candidate is the first of two, always."""

    def __init__(self) -> None:
        self._segments: dict[str, tuple[Tally, Tally]] = {}
        self._months = (Tally(), Tally())
        self._swaps = Tally()
        self._causes: tuple[Counter[str], Counter[str]] = (Counter(), Counter())

    def add(
        self,
        said: tuple[pd.DataFrame, pd.DataFrame],
        counted: tuple[pd.DataFrame, pd.DataFrame],
        months: np.ndarray,
        segments: Mapping[str, np.ndarray],
    ) -> None:
        """Add some applications.

        Args:
            said: the answers of both.
            counted: the same by :func:`count`.
            months: of each, 2026-05, shape (rows,).
            segments: by title of a segment its value for each, shape (rows,).
        """
        of_all = np.full(len(months), WHOLE, dtype=object)
        for title, values in {WHOLE: of_all, **segments}.items():
            for tally, one in zip(self._segments.setdefault(title, (Tally(), Tally())), counted, strict=True):
                tally.add(values, one)
        for tally, one in zip(self._months, counted, strict=True):
            tally.add(months, one)
        new, old = (one["approved"].to_numpy() == 1 for one in counted)
        parts = np.select([new & old, new, old], [name for name, *_ in SWAPS[:-1]], SWAPS[-1][0])
        # Each on the terms of whoever approved it; the candidate's where both did.
        own = new | ~old
        self._swaps.add(parts[own], counted[0][own])
        self._swaps.add(parts[~own], counted[1][~own])
        for causes, answers, approved in zip(self._causes, said, (new, old), strict=True):
            causes.update(answers["cause"][~approved].dropna().astype(str))

    @property
    def segments(self) -> dict[tuple[str, str], tuple[Sum, Sum]]:
        """By (segment, value) the sums of both, the largest values first."""
        return {
            (title, value): (Sum.of(new.of(value)), Sum.of(old.of(value)))
            for title, (new, old) in self._segments.items()
            for value in sorted(new.groups, key=lambda value: -new.of(value)["applications"])
        }

    @property
    def months(self) -> dict[str, tuple[Sum, Sum]]:
        """The sums of both by month, in order."""
        new, old = self._months
        return {month: (Sum.of(new.of(month)), Sum.of(old.of(month))) for month in new.groups}

    @property
    def swaps(self) -> dict[str, Sum]:
        """The sum of each part of the swap set."""
        return {name: Sum.of(self._swaps.of(name)) for name, *_ in SWAPS}

    @property
    def causes(self) -> tuple[dict[str, int], dict[str, int]]:
        """How often each was the first cause of not being approved, the most frequent first."""
        new, old = self._causes
        return dict(new.most_common()), dict(old.most_common())
