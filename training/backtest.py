"""A strategy on the applications of a past period: approvals, bad rate, limits, profit, and the swap set."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from credit301.domain.verdict import Outcome
from credit301.errors import ConfigError, NotFound
from credit301.model import stewardship
from credit301.strategy.backtest import AMOUNT, PROBABILITY, SCORE, TERM, Economics, answers
from training import versions
from training.dataset import SEPARATOR, TrainingSet
from training.groups import values_of

if TYPE_CHECKING:
    from credit301.strategy.strategy import Strategy
    from credit301.workspace import Workspace
    from training.versions import Version

WHOLE = "全部 all"
SWAPS = (
    ("both", "两者都批准", "approved by both"),
    ("only_candidate", "仅新策略批准", "approved by the candidate alone"),
    ("only_current", "仅现行策略批准", "approved by the current one alone"),
    ("neither", "两者都未批准", "approved by neither"),
)


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

    @property
    def approval_rate(self) -> float:
        """Share of the applications that are approved."""
        return self.approved / self.applications if self.applications else 0.0


@dataclass(frozen=True)
class Backtest:
    """A candidate beside the current strategy on the same applications.

    ``sums`` are by (segment, value) the candidate's and the current one's; ``swaps`` by part of the swap set how many,
    and the sum of whoever approved them; ``causes`` how often each was the first cause of a decline.
    """

    candidate: Strategy
    current: Strategy
    model: Version
    first: str
    last: str
    learnt_from: int
    sums: dict[tuple[str, str], tuple[Sum, Sum]]
    swaps: dict[str, Sum]
    causes: tuple[dict[str, int], dict[str, int]]
    months: list[str]
    by_month: dict[str, tuple[list[float], list[float]]]


def run(
    workspace: Workspace,
    candidate: Strategy,
    current: Strategy,
    *,
    model: str = "champion",
    start: str = "",
    end: str = "",
    amount: Decimal | None = None,
    term: int | None = None,
) -> Backtest:
    """Ask both strategies about the labelled applications between ``start`` and ``end`` (ISO dates, the last excluded).

    Args:
        workspace: whose applications: its training set, features as they were known at each decision.
        candidate: the strategy that is tried.
        current: the one that it is held against.
        model: version or alias whose probabilities are decided on.
        start: first day; empty from the beginning.
        end: day after the last; empty to the end.
        amount: yuan that each asks for; the candidate's product's maximum by default.
        term: months; the product's maximum by default.

    Raises:
        NotFound: there is no training set, no such version, or no application in the period.
        ConfigError: a date cannot be read.
        StrategyError: a strategy cannot be evaluated on some application.
    """
    data = TrainingSet.of(workspace)
    chosen = _period(data, start, end)
    version = versions.find(workspace, model)
    frame = data.frame.iloc[chosen].reset_index(drop=True)
    probability = versions.probabilities(version.bundle, frame)
    asked = _applications(
        frame, probability, version, (candidate, current), amount or candidate.product.maximum_amount, term
    )
    processes = workspace.settings.cpu_threads
    said = [answers(one, asked, processes).to_pandas() for one in (candidate, current)]
    known = said[0]["outcome"].notna().to_numpy()
    if not known.any():
        raise NotFound("Nothing is known of any enterprise in this period.", hint="Choose another one.")
    labels, times = data.labels[chosen][known], data.times[chosen][known]
    frame, probability = frame[known].reset_index(drop=True), probability[known]
    money = Economics.of(candidate) or Economics.of(current)
    told = [_told(one[known].reset_index(drop=True), labels, probability, asked, known, money) for one in said]
    segments = {(WHOLE, WHOLE): np.ones(len(frame), dtype=bool)}
    for segment in stewardship.load(workspace).segments:
        of = values_of(segment, frame)
        named = sorted(np.unique(of), key=lambda value: -int((of == value).sum()))
        segments |= {(f"{segment.title.zh} {segment.title.en}", str(value)): of == value for value in named}
    months = times.astype("datetime64[M]").astype(str)
    since = version.seen_until
    return Backtest(
        candidate=candidate,
        current=current,
        model=version,
        first=str(times.min())[:10],
        last=str(times.max())[:10],
        learnt_from=int((times <= np.datetime64(since)).sum()) if since else 0,
        sums={key: (_sum(told[0][rows]), _sum(told[1][rows])) for key, rows in segments.items()},
        swaps=_swaps(*told),
        causes=(_causes(told[0]), _causes(told[1])),
        months=sorted(set(months)),
        by_month=_by_month(months, told),
    )


def _period(data: TrainingSet, start: str, end: str) -> np.ndarray:
    try:
        first = np.datetime64(start) if start else data.times.min()
        last = np.datetime64(end) if end else None
    except ValueError as error:
        raise ConfigError(f"{error}.", hint="Give days as 2024-03-01.") from error
    inside = data.times >= first
    if last is not None:
        inside &= data.times < last
    if not inside.any():
        span = f"{str(data.times.min())[:10]} to {str(data.times.max())[:10]}"
        raise NotFound("There is no application in this period.", hint=f"Those that there are go from {span}.")
    return np.flatnonzero(inside)


def _applications(
    frame: pd.DataFrame,
    probability: np.ndarray,
    version: Version,
    strategies: tuple[Strategy, Strategy],
    amount: Decimal,
    term: int | None,
) -> pa.Table:
    """What both strategies read, as columns."""
    scores = versions.points_of(version.bundle, probability)
    features = {key for strategy in strategies for key in strategy.features()}
    read = {key: key.replace(":", SEPARATOR) for key in sorted(features)}
    rows = len(frame)
    return pa.table(
        {
            PROBABILITY: pa.array(probability, from_pandas=True),
            SCORE: pa.array(scores, pa.int64(), from_pandas=True),
            AMOUNT: pa.array([amount] * rows, pa.decimal128(18, 2)),
            TERM: pa.array([term or strategies[0].product.maximum_term_months] * rows, pa.int64()),
            **{
                key: pa.array(frame[column], from_pandas=True)
                for key, column in read.items()
                if column in frame.columns
            },
        }
    )


def _told(
    said: pd.DataFrame,
    labels: np.ndarray,
    probability: np.ndarray,
    asked: pa.Table,
    known: np.ndarray,
    money: Economics | None,
) -> pd.DataFrame:
    """``said`` with the label, the probability, and profit realised and expected."""
    months = asked.column(TERM).to_numpy()[known].astype(float)
    limit, rate = said["limit"].to_numpy(dtype=float), said["annual_rate"].to_numpy(dtype=float)
    nothing = np.full(len(said), np.nan)
    return said.assign(
        label=labels,
        probability=probability,
        approved=said["outcome"] == Outcome.APPROVE.value,
        profit=nothing if money is None else money.profit(limit, rate, months, labels.astype(float)),
        expected=nothing if money is None else money.profit(limit, rate, months, probability),
    )


def _sum(told: pd.DataFrame) -> Sum:
    lent = told[told["approved"]]
    some = len(lent) > 0
    has_profit = some and not bool(lent["profit"].isna().any())
    return Sum(
        applications=len(told),
        approved=len(lent),
        referred=int((told["outcome"] == Outcome.REFER.value).sum()),
        defaults=int(lent["label"].sum()),
        bad_rate=float(lent["label"].mean()) if some else None,
        expected_bad_rate=float(lent["probability"].mean()) if some else None,
        limits=float(lent["limit"].sum()),
        mean_limit=float(lent["limit"].mean()) if some else None,
        mean_rate=float(lent["annual_rate"].mean()) if some else None,
        profit=float(lent["profit"].sum()) if has_profit else None,
        expected_profit=float(lent["expected"].sum()) if has_profit else None,
    )


def _swaps(candidate: pd.DataFrame, current: pd.DataFrame) -> dict[str, Sum]:
    """Each part of the swap set on the terms of whoever approved it; the candidate's where both did."""
    new, old = candidate["approved"].to_numpy(), current["approved"].to_numpy()
    parts = ((candidate, new & old), (candidate, new & ~old), (current, ~new & old), (candidate, ~new & ~old))
    return {name: _sum(told[rows]) for (name, _, _), (told, rows) in zip(SWAPS, parts, strict=True)}


def _causes(told: pd.DataFrame) -> dict[str, int]:
    counted = told.loc[~told["approved"], "cause"].value_counts()
    return {str(code): int(count) for code, count in counted.items()}


def _by_month(months: np.ndarray, told: list[pd.DataFrame]) -> dict[str, tuple[list[float], list[float]]]:
    new, old = ([_sum(one[months == month]) for month in sorted(set(months))] for one in told)
    return {
        "approval": ([one.approval_rate for one in new], [one.approval_rate for one in old]),
        "bad_rate": ([_or_nan(one.bad_rate) for one in new], [_or_nan(one.bad_rate) for one in old]),
    }


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def summary(found: Backtest) -> dict[str, Any]:
    """The figures as values."""
    from dataclasses import asdict

    whole = found.sums[WHOLE, WHOLE]
    return {
        "applications": whole[0].applications,
        "learnt_from": found.learnt_from,
        "candidate": asdict(whole[0]),
        "current": asdict(whole[1]),
        "swap_set": {name: asdict(part) for name, part in found.swaps.items()},
    }
