"""Asking a strategy about many past applications at once, on all cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa

from credit301.domain.verdict import Outcome, Scalar
from credit301.strategy.strategy import Strategy

PROBABILITY, SCORE, AMOUNT, TERM = "probability", "score", "amount", "term_months"
_CHUNK = 20_000
_HERE = 5_000
"""Fewer applications than this are not worth another process."""
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


def answers(strategy: Strategy, applications: pa.Table, processes: int) -> pa.Table:
    """What ``strategy`` says on each application, in order; :data:`SCHEMA`.

    Without a probability, nothing is known of the enterprise: the ``outcome`` is null.

    Args:
        strategy: who decides.
        applications: columns ``probability``, ``score``, ``amount`` (decimal yuan), ``term_months``, and those of
            :meth:`Strategy.features` that are known.
        processes: how many to use.

    Raises:
        Refusal: an amount or term is outside the product.
        StrategyError: an expression cannot be evaluated on some application.
    """
    parts = [
        applications.slice(begin, _CHUNK).combine_chunks() for begin in range(0, max(1, applications.num_rows), _CHUNK)
    ]
    document = strategy.text
    if processes == 1 or applications.num_rows < _HERE:
        return pa.concat_tables([_answered(document, part) for part in parts])
    # A fresh process: this one may hold threads, and locks of theirs.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        return pa.concat_tables(list(pool.map(_answered, [document] * len(parts), parts)))


def _answered(document: bytes, applications: pa.Table) -> pa.Table:
    strategy = Strategy.from_text(document)
    columns: dict[str, list[str | float | None]] = {name: [] for name in SCHEMA.names}
    for row in _rows(applications, strategy.features()):
        said = _answer(strategy, row)
        for column, value in zip(columns.values(), said, strict=True):
            column.append(value)
    return pa.table(columns, schema=SCHEMA)


def _rows(applications: pa.Table, features: tuple[str, ...]) -> Iterator[Mapping[str, Scalar | Decimal]]:
    wanted = [PROBABILITY, SCORE, AMOUNT, TERM, *(name for name in features if name in applications.column_names)]
    columns = [applications.column(name).to_pylist() for name in wanted]
    for values in zip(*columns, strict=True):
        yield dict(zip(wanted, values, strict=True))


def _answer(
    strategy: Strategy, row: Mapping[str, Scalar | Decimal]
) -> tuple[str | None, str | None, float | None, float | None, str | None]:
    probability, amount = row[PROBABILITY], row[AMOUNT]
    if not isinstance(probability, float) or not isinstance(amount, Decimal):
        return None, None, None, None, None
    values = {name: value for name, value in row.items() if not isinstance(value, Decimal)}
    verdict = strategy.decide(
        probability=probability,
        score=int(row[SCORE] or 0),
        values=values,
        amount=amount,
        term_months=int(row[TERM] or 0),
    )
    approved = verdict.outcome is Outcome.APPROVE
    return (
        verdict.outcome.value,
        verdict.band,
        None if verdict.limit is None else float(verdict.limit),
        None if verdict.annual_rate is None else float(verdict.annual_rate),
        None if approved or not verdict.causes else verdict.causes[0].code,
    )
