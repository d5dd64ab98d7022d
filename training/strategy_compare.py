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

if TYPE_CHECKING:
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
    outcomes = _outcomes(workspace)
    months = [_pairs(workspace, month, frame, a.version, b.version) for month, frame in decided.by_month(workspace)]
    seen = [frame for frame in months if len(frame)]
    if not seen:
        raise NotFound(
            f"No application was judged by both {a.version} and {b.version}.",
            hint="Give one `role: shadow` or `role: challenger` in its strategy.yaml, and let the endpoint decide.",
        )
    pairs = decided.with_outcomes(pd.concat(seen, ignore_index=True), outcomes)
    by_month = pairs.groupby("month")
    return Compared(
        a=a,
        b=b,
        first=str(pairs["at"].min())[:10],
        last=str(pairs["at"].max())[:10],
        sums=(_sum(pairs, "a", a.version), _sum(pairs, "b", b.version)),
        swaps=_swaps(pairs),
        same_outcome=float(pairs["outcome_a"].eq(pairs["outcome_b"]).mean()),
        months=[str(month) for month in by_month.groups],
        approval=(
            [float(_approved(frame, "a").mean()) for _, frame in by_month],
            [float(_approved(frame, "b").mean()) for _, frame in by_month],
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
        return decided.outcomes(workspace, TrainingSet.of(workspace))
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


def _approved(pairs: pd.DataFrame, letter: str) -> pd.Series:
    approved: pd.Series = pairs[f"outcome_{letter}"] == Outcome.APPROVE.value
    return approved


def _sum(pairs: pd.DataFrame, letter: str, version: str) -> Sum:
    lent = pairs[_approved(pairs, letter)]
    limits, rates = lent[f"limit_{letter}"], lent[f"annual_rate_{letter}"]
    return Sum(
        applications=len(pairs),
        decided=int((pairs["decided"] == version).sum()),
        approved=len(lent),
        referred=int((pairs[f"outcome_{letter}"] == Outcome.REFER.value).sum()),
        approval_rate=len(lent) / len(pairs),
        mean_limit=float(limits.mean()) if len(lent) else None,
        limits=float(limits.sum()),
        mean_rate=float(rates.mean()) if len(lent) else None,
        outcomes=int(lent[LABEL].notna().sum()),
        bad_rate=_bad_rate(lent),
    )


def _swaps(pairs: pd.DataFrame) -> dict[str, Swap]:
    a, b = _approved(pairs, "a").to_numpy(), _approved(pairs, "b").to_numpy()
    parts = (a & b, a & ~b, ~a & b, ~a & ~b)
    limits = np.where(a, pairs["limit_a"], pairs["limit_b"])
    return {
        name: Swap(
            applications=int(rows.sum()),
            limits=float(np.nansum(limits[rows])),
            outcomes=int(pairs.loc[rows, LABEL].notna().sum()),
            bad_rate=_bad_rate(pairs[rows]),
        )
        for (name, _, _), rows in zip(SWAPS, parts, strict=True)
    }


def _bad_rate(rows: pd.DataFrame) -> float | None:
    known = rows[LABEL].dropna()
    return float(known.mean()) if len(known) else None
