"""A strategy on the applications of a past period: approvals, bad rate, limits, profit, and the swap set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from credit301 import console
from credit301.errors import ConfigError, NotFound
from credit301.model import stewardship
from credit301.strategy.backtest import (
    AMOUNT,
    PROBABILITY,
    SCORE,
    TERM,
    WORTH_A_PROCESS,
    Economics,
    answers,
)
from training import memory, versions
from training.backtest_sums import WHOLE, Sum, Sums, count
from training.dataset import SEPARATOR, TrainingSet
from training.groups import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from credit301.model.stewardship import Segment
    from credit301.strategy.strategy import Strategy
    from credit301.workspace import Workspace
    from training.versions import Version

MOST_AT_ONCE = 10_000
"""Applications of a batch at most: a process that answers holds them as Python's values."""

PROGRESS_ROWS = 100_000


@dataclass(frozen=True)
class Backtest:
    """A candidate beside the current strategy on the same applications.

    ``sums`` are by (segment, value) the candidate's and the current one's; ``swaps`` by part of the swap set how many,
    and the sum of whoever approved them; ``causes`` how often each was the first cause of a decline; ``by_month`` is
    as ``sums``.
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
    by_month: dict[str, tuple[Sum, Sum]]


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
        Refusal: amount or term are outside the product of one of them.
        ConfigError: a date cannot be read.
        ModelError: the training set is not in the order of time and key.
        StrategyError: a strategy cannot be evaluated on some application.
    """
    asks = amount or candidate.product.maximum_amount, term or candidate.product.maximum_term_months
    for strategy in (candidate, current):
        strategy.product.check_request(*asks)
    data = TrainingSet.of(workspace, stored=True)
    chosen = _period(data, start, end)
    version = versions.find(workspace, model)
    past = _Past(data, chosen, version, (candidate, current), tuple(stewardship.load(workspace).segments))
    money = Economics.of(candidate) or Economics.of(current)
    processes = workspace.settings.cpu_threads if len(chosen) >= WORTH_A_PROCESS else 1
    sums, known = Sums(), np.zeros(len(data), dtype=bool)
    for of, answered in answers((candidate, current), past.applications(*asks), processes):
        new, old = (one.to_pandas() for one in answered)
        labels = data.labels[of.rows]
        counted = [count(one, labels, of.probability, asks[1], money) for one in (new, old)]
        months = data.times[of.rows].astype("datetime64[M]").astype(str)
        sums.add((new, old), (counted[0], counted[1]), months, of.segments)
        known[of.rows] = True
    times = data.times[known]
    if not len(times):
        raise NotFound("Nothing is known of any enterprise in this period.", hint="Choose another one.")
    since = version.seen_until
    return Backtest(
        candidate=candidate,
        current=current,
        model=version,
        first=str(times.min())[:10],
        last=str(times.max())[:10],
        learnt_from=int((times <= np.datetime64(since)).sum()) if since else 0,
        sums=sums.segments,
        swaps=sums.swaps,
        causes=sums.causes,
        by_month=sums.months,
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


class _Batch(NamedTuple):
    """Applications of whose enterprises something is known: numbers of their rows, probabilities, segments' values."""

    rows: np.ndarray
    probability: np.ndarray
    segments: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Past:
    """The ``chosen`` applications of the training set, which stays on disk, as ``strategies`` are asked about them."""

    data: TrainingSet
    chosen: np.ndarray
    version: Version
    strategies: tuple[Strategy, Strategy]
    segments: tuple[Segment, ...]

    def applications(self, amount: Decimal, term_months: int) -> Iterator[tuple[_Batch, pa.Table]]:
        """Some at a time, and what the strategies read of them as columns; says how far it is."""
        read = {key: key.replace(":", SEPARATOR) for one in self.strategies for key in one.features()}
        wanted = {*versions.columns_of(self.version.bundle, self.data), *read.values()}
        wanted |= {segment.column for segment in self.segments}
        names = [name for name in self.data.feature_names if name in wanted]
        done, size = 0, min(MOST_AT_ONCE, memory.rows_at_once(len(names)))
        for batch in self.data.rows.batches(names, self.chosen, size):
            before, done = done, done + len(batch)
            scored = versions.probabilities(self.version.bundle, batch)
            known = ~np.isnan(scored)
            frame, probability, rows = batch[known], scored[known], self.chosen[before:done][known]
            columns = {
                PROBABILITY: pa.array(probability),
                SCORE: pa.array(versions.points_of(self.version.bundle, probability)).cast(pa.int64()),
                AMOUNT: pa.array([amount] * len(rows), pa.decimal128(18, 2)),
                TERM: pa.array([term_months] * len(rows), pa.int64()),
            }
            columns |= {key: pa.array(frame[name], from_pandas=True) for key, name in read.items() if name in names}
            if len(rows):
                groups = {f"{one.title.zh} {one.title.en}": values_of(one, frame) for one in self.segments}
                yield _Batch(rows, probability, groups), pa.table(columns)
            if before // PROGRESS_ROWS != done // PROGRESS_ROWS:
                of = len(self.chosen)
                console.say(f"已回测 {done:,} / {of:,} 笔申请 · {done:,} of {of:,} applications are tried")


def summary(found: Backtest) -> dict[str, Any]:
    """The figures as values."""
    whole = found.sums[WHOLE, WHOLE]
    return {
        "applications": whole[0].applications,
        "learnt_from": found.learnt_from,
        "candidate": asdict(whole[0]),
        "current": asdict(whole[1]),
        "swap_set": {name: asdict(part) for name, part in found.swaps.items()},
    }
