"""Two strategies in production on the same applications: what each says, whom one takes and the other not, outcomes.

Whatever one of them decides, the others judge afterwards with the same score and values (``serving.shadow``), so that
each application that both have seen is a pair. What became of a loan is known of those that were made: the bad rate of
whom only the strategy that did not decide would have taken is known where somebody else lent to them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from credit301.domain.verdict import Outcome
from credit301.errors import NotFound
from training import decided
from training.dataset import LABEL, TIME, TrainingSet
from training.tally import CENTS, MILLIONTHS, Tally, whole

if TYPE_CHECKING:
    from collections import Counter

    from credit301.strategy.strategy import Strategy
    from credit301.workspace import Workspace

TERMS = ("outcome", "limit", "annual_rate")
SWAPS = (
    ("both", "两者都批准", "approved by both"),
    ("only_a", "仅 A 批准", "approved by A alone"),
    ("only_b", "仅 B 批准", "approved by B alone"),
    ("neither", "两者都未批准", "approved by neither"),
)


@dataclass(frozen=True)
class Sum:
    """What a strategy says of some applications. Money in yuan; ``bad_rate`` is of those approved with known outcomes.

    ``decided`` are those that it decided on itself.
    """

    applications: int
    decided: int
    approved: int
    referred: int
    approval_rate: float
    mean_limit: float | None
    limits: float
    mean_rate: float | None
    outcomes: int
    bad_rate: float | None


@dataclass(frozen=True)
class Swap:
    """A part of the swap set; ``limits`` are those of whoever approves, A's where both do."""

    applications: int
    limits: float
    outcomes: int
    bad_rate: float | None


@dataclass(frozen=True)
class Compared:
    """Two strategies on the applications that both judged, with the sums of each and the approval rates by month."""

    a: Strategy
    b: Strategy
    first: str
    last: str
    sums: tuple[Sum, Sum]
    swaps: dict[str, Swap]
    same_outcome: float
    months: list[str]
    approval: tuple[list[float], list[float]]


def run(workspace: Workspace, a: Strategy, b: Strategy) -> Compared:
    """Hold ``a`` against ``b``, each in the version that its file has now.

    Raises:
        NotFound: no application was judged by both.
        AuditError: the audit trail is not what it was when it was read last.
    """
    outcomes, both = _outcomes(workspace), Both(a.version, b.version)
    days: list[pd.Timestamp] = []
    for month, frame in decided.by_month(workspace):
        pairs = _pairs(workspace, month, frame, a.version, b.version)
        if len(pairs):
            both.add(decided.with_outcomes(pairs, outcomes))
            days += [pairs["at"].min(), pairs["at"].max()]
    if not days:
        raise NotFound(
            f"No application was judged by both {a.version} and {b.version}.",
            hint="Give one `role: shadow` or `role: challenger` in its strategy.yaml, and let the endpoint decide.",
        )
    return Compared(
        a=a,
        b=b,
        first=str(min(days))[:10],
        last=str(max(days))[:10],
        sums=both.sums,
        swaps=both.swaps,
        same_outcome=both.same_outcome,
        months=list(both.by_month),
        approval=(
            [one.approval_rate for one, _ in both.by_month.values()],
            [other.approval_rate for _, other in both.by_month.values()],
        ),
    )


def summary(found: Compared) -> dict[str, Any]:
    """The figures as values."""
    return {
        "applications": found.sums[0].applications,
        "same_outcome": round(found.same_outcome, 6),
        "a": {"strategy": found.a.version, **asdict(found.sums[0])},
        "b": {"strategy": found.b.version, **asdict(found.sums[1])},
        "swap_set": {name: asdict(part) for name, part in found.swaps.items()},
    }


def _outcomes(workspace: Workspace) -> pd.DataFrame:
    """Those known; of a workspace without a training set none."""
    try:
        return decided.outcomes(workspace, TrainingSet.of(workspace, stored=True))
    except NotFound:
        nothing = {"entity": pd.Series(dtype=str), TIME: pd.Series(dtype="datetime64[us]")}
        return pd.DataFrame({**nothing, LABEL: pd.Series(dtype=float)})


def _pairs(workspace: Workspace, month: str, frame: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """The applications of a month that both judged, a row each: ``outcome_a``, ``limit_a``, ... and who ``decided``."""
    shadows = decided.shadowed_strategies(workspace, month)
    own = frame[["decision", "at", "entity", "month", "strategy", *TERMS]].copy()
    # The lot lent to them, not the strategy.
    by_lot = frame["lot_granted"].fillna(0) > 0
    own["outcome"] = own["outcome"].mask(by_lot, Outcome.DECLINE.value)
    for term in ("limit", "annual_rate"):
        own[term] = own[term].mask(by_lot)
    told = pd.concat([own[["decision", "strategy", *TERMS]], shadows[["decision", "strategy", *TERMS]]])
    told = told[told["outcome"].notna()].drop_duplicates(["decision", "strategy"], keep="first")
    pairs = own[["decision", "at", "entity", "month", "strategy"]].rename(columns={"strategy": "decided"})
    for letter, version in (("a", a), ("b", b)):
        of = told[told["strategy"] == version].drop(columns="strategy")
        pairs = pairs.merge(of.rename(columns={name: f"{name}_{letter}" for name in TERMS}), on="decision")
    return pairs


class Both:
    """Takes pairs of judgements month by month and keeps only what adds up.

    Args:
        a: version of a strategy.
        b: version of the other one.
    """

    def __init__(self, a: str, b: str) -> None:
        self._versions = {"a": a, "b": b}
        self._months = {"a": Tally(), "b": Tally()}
        self._swaps = Tally()

    def add(self, pairs: pd.DataFrame) -> None:
        """Add applications that both judged: ``decided`` by whom, in which ``month``, with their ``label``."""
        known = pairs[LABEL].notna().to_numpy()
        bad = whole(pairs[LABEL].to_numpy(dtype=float), 1)
        approved = {letter: (pairs[f"outcome_{letter}"] == Outcome.APPROVE.value).to_numpy() for letter in "ab"}
        for letter, tally in self._months.items():
            of, lent = approved[letter], approved[letter].astype(np.int64)
            columns = {
                "applications": np.ones(len(pairs), dtype=bool),
                "decided": pairs["decided"] == self._versions[letter],
                "approved": of,
                "referred": pairs[f"outcome_{letter}"] == Outcome.REFER.value,
                "limit": lent * whole(pairs[f"limit_{letter}"].to_numpy(dtype=float), CENTS),
                "annual_rate": lent * whole(pairs[f"annual_rate_{letter}"].to_numpy(dtype=float), MILLIONTHS),
                "outcomes": of & known,
                "bad": lent * bad,
            }
            tally.add(pairs["month"].to_numpy(), pd.DataFrame(columns).astype(np.int64))
        a, b = approved["a"], approved["b"]
        limits = np.where(a, pairs["limit_a"].to_numpy(dtype=float), pairs["limit_b"].to_numpy(dtype=float))
        swapped = {
            "applications": np.ones(len(pairs), dtype=bool),
            "same": pairs["outcome_a"].eq(pairs["outcome_b"]),
            "limit": (a | b) * whole(limits, CENTS),
            "outcomes": known,
            "bad": bad,
        }
        parts = np.select([a & b, a, b], [name for name, *_ in SWAPS[:-1]], SWAPS[-1][0])
        self._swaps.add(parts, pd.DataFrame(swapped).astype(np.int64))

    @property
    def sums(self) -> tuple[Sum, Sum]:
        """What each says of all."""
        return _sum(self._months["a"].total), _sum(self._months["b"].total)

    @property
    def by_month(self) -> dict[str, tuple[Sum, Sum]]:
        """What each says in each month, in order."""
        a, b = self._months["a"], self._months["b"]
        return {month: (_sum(a.of(month)), _sum(b.of(month))) for month in a.groups}

    @property
    def swaps(self) -> dict[str, Swap]:
        """Each part of the swap set."""
        return {name: _swap(self._swaps.of(name)) for name, *_ in SWAPS}

    @property
    def same_outcome(self) -> float:
        """Share of the applications on which both say the same."""
        return self._swaps.total["same"] / self._swaps.total["applications"]


def _sum(counted: Counter[str]) -> Sum:
    approved = counted["approved"]
    return Sum(
        applications=counted["applications"],
        decided=counted["decided"],
        approved=approved,
        referred=counted["referred"],
        approval_rate=approved / counted["applications"],
        mean_limit=counted["limit"] / (CENTS * approved) if approved else None,
        limits=counted["limit"] / CENTS,
        mean_rate=counted["annual_rate"] / (MILLIONTHS * approved) if approved else None,
        outcomes=counted["outcomes"],
        bad_rate=_bad_rate(counted),
    )


def _swap(counted: Counter[str]) -> Swap:
    return Swap(counted["applications"], counted["limit"] / CENTS, counted["outcomes"], _bad_rate(counted))


def _bad_rate(counted: Counter[str]) -> float | None:
    return counted["bad"] / counted["outcomes"] if counted["outcomes"] else None
