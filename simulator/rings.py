"""Rings of applicants: who is behind which applications is a truth that no source serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.columns import moment, numbered, pick
from simulator.schema import RINGS

if TYPE_CHECKING:
    from simulator.config import CityConfig, Ints
    from simulator.enterprises import Enterprises
    from simulator.loans import Loans

_SHARE = 0.012
"""Share of loans that a ring applied for."""

_SMALLEST, _LARGEST = 4, 9


@dataclass(frozen=True, slots=True)
class Rings:
    """Rings of one block: `of_loan` (loans) and `of_firm` (n) give the ring of each, -1 for none."""

    count: int
    of_loan: Ints
    of_firm: Ints


def conspire(config: CityConfig, block: int, firms: Enterprises, loans: Loans) -> Rings:
    """Choose rings: applications close in time, the more likely the weaker the enterprise.

    They are chosen by the true probability of default, never by what came of the loan: a ring says nothing about a
    default that the drivers of it do not say.
    """
    rng = config.rng("rings", block)
    of_loan, of_firm = np.full(len(loans), -1), np.full(len(firms), -1)
    race = rng.exponential(1.0, len(loans)) / np.maximum(loans.true_pd, 0.01)
    _, first = np.unique(loans.firm, return_index=True)
    candidates = first[np.argsort(race[first], kind="stable")][: int(_SHARE * len(loans))]
    candidates = candidates[np.argsort(loans.decided[candidates], kind="stable")]
    sizes = rng.integers(_SMALLEST, _LARGEST + 1, len(candidates) // _SMALLEST + 1)
    ring = np.searchsorted(np.cumsum(sizes), np.arange(len(candidates)), side="right")
    whole = np.bincount(ring, minlength=1) >= _SMALLEST
    members = whole[ring] if len(ring) else np.zeros(0, dtype=bool)
    of_loan[candidates[members]] = ring[members]
    of_firm[loans.firm[candidates[members]]] = ring[members]
    return Rings(int(of_loan.max(initial=-1)) + 1, of_loan, of_firm)


def ring_table(firms: Enterprises, loans: Loans, rings: Rings) -> pa.Table:
    """What nobody is served: which loans a ring applied for, in the order of ring and time."""
    rows = np.flatnonzero(rings.of_loan >= 0)
    rows = rows[np.lexsort((loans.decided[rows], rings.of_loan[rows]))]
    first = int(firms.index[0]) * 10 if len(firms) else 0
    return pa.table(
        [
            numbered("G", first + rings.of_loan[rows]), pick(firms.uscc, loans.firm[rows]),
            loans.ids(firms).take(pa.array(rows)), moment(loans.decided[rows]),
        ],
        schema=RINGS,
    )  # fmt: skip
