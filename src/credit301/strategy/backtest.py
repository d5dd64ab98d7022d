"""Asking a strategy about many past applications at once, on all cores."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from credit301.domain.verdict import Outcome
from credit301.strategy.strategy import Strategy

PROBABILITY, SCORE, AMOUNT, TERM = "probability", "score", "amount", "term_months"
WORTH_A_PROCESS = 5_000
"""Fewer applications than this are not worth another process."""

AHEAD = 2
"""Batches that each process has taken before its answers are asked for."""

T = TypeVar("T")
SCHEMA = pa.schema(
    {
        "outcome": pa.string(),
        "band": pa.string(),
        "limit": pa.float64(),
        "annual_rate": pa.float64(),
        "cause": pa.string(),
    }
)


@dataclass(frozen=True)
class Economics:
    """What money costs and what a default loses, as shares; from the strategy's parameters of these names."""

    cost_of_funds: float
    loss_given_default: float

    @classmethod
    def of(cls, strategy: Strategy) -> Economics | None:
        """Those of ``strategy``; ``None`` where it does not say them."""
        said = strategy.definition.parameters
        if not {"cost_of_funds", "loss_given_default"} <= said.keys():
            return None
        return cls(float(said["cost_of_funds"]), float(said["loss_given_default"]))

    def profit(self, limit: np.ndarray, rate: np.ndarray, months: np.ndarray, default: np.ndarray) -> np.ndarray:
        """Yuan earned by loans that are drawn in full and repaid at the end, shape (rows,).

        Args:
            limit: yuan lent.
            rate: a year's, as a share.
            months: the term.
            default: 1 or 0, or its probability.
        """
        earned = limit * (rate - self.cost_of_funds) * months / 12
        lost = default * self.loss_given_default * limit
        profit: np.ndarray = (1 - default) * earned - lost
        return profit


def answers(
    strategies: Sequence[Strategy], applications: Iterable[tuple[T, pa.Table]], processes: int
) -> Iterator[tuple[T, list[pa.Table]]]:
    """What each of ``strategies`` says on batches of applications, in order, as soon as it is known; :data:`SCHEMA`.

    No more than a few batches are taken ahead, so that memory does not depend on how many there are.

    Args:
        strategies: who decide.
        applications: batches, each beside something of the caller's that comes back with the answers: columns
            ``probability``, ``score``, ``amount`` (decimal yuan), ``term_months``, and those of
            :meth:`Strategy.features` that are known. Amount and term are within the products.
        processes: how many to use; with one, it is this one.

    Raises:
        StrategyError: an expression cannot be evaluated on some application.
    """
    if processes == 1:
        for own, batch in applications:
            yield own, [_answered(strategy, batch) for strategy in strategies]
        return
    # A fresh process: this one may hold threads, and locks of theirs.
    context = multiprocessing.get_context("spawn")
    documents = [strategy.text for strategy in strategies]
    with ProcessPoolExecutor(processes, context, _load, (documents,)) as pool:
        waiting: deque[tuple[T, Future[list[pa.Table]]]] = deque()
        for own, batch in applications:
            waiting.append((own, pool.submit(_answered_by_loaded, batch)))
            if len(waiting) > AHEAD * processes:
                known, answer = waiting.popleft()
                yield known, answer.result()
        for known, answer in waiting:
            yield known, answer.result()


_loaded: list[Strategy] = []
"""The strategies of a process that answers for another one: compiling one may take seconds."""


def _load(documents: list[bytes]) -> None:
    _loaded[:] = map(Strategy.from_text, documents)


def _answered_by_loaded(applications: pa.Table) -> list[pa.Table]:
    return [_answered(strategy, applications) for strategy in _loaded]


def _answered(strategy: Strategy, applications: pa.Table) -> pa.Table:
    columns: dict[str, list[str | float | None]] = {name: [] for name in SCHEMA.names}
    for row in _rows(applications, strategy.features()):
        said = _answer(strategy, row)
        for column, value in zip(columns.values(), said, strict=True):
            column.append(value)
    return pa.table(columns, schema=SCHEMA)


def _rows(applications: pa.Table, features: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    wanted = [PROBABILITY, SCORE, AMOUNT, TERM, *(name for name in features if name in applications.column_names)]
    columns = [applications.column(name).to_pylist() for name in wanted]
    for values in zip(*columns, strict=True):
        yield dict(zip(wanted, values, strict=True))


def _answer(
    strategy: Strategy, values: dict[str, Any]
) -> tuple[str, str | None, float | None, float | None, str | None]:
    verdict = strategy.decide(
        probability=values.pop(PROBABILITY),
        score=values.pop(SCORE),
        amount=values.pop(AMOUNT),
        term_months=values.pop(TERM),
        values=values,
    )
    approved = verdict.outcome is Outcome.APPROVE
    return (
        verdict.outcome.value,
        verdict.band,
        None if verdict.limit is None else float(verdict.limit),
        None if verdict.annual_rate is None else float(verdict.annual_rate),
        None if approved or not verdict.causes else verdict.causes[0].code,
    )
