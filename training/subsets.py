"""What the ensemble is worth without some of its sources, as they are lost in production: without training again.

It is measured where all models are: on rows that the model which scores them has never seen, in every repeat. So it
stands beside what the ensemble is worth with all its sources on the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_auc_score

from training import baselines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from credit301.model.scorer import Scorer
    from training.dataset import TrainingSet
    from training.specs import ModelSpec
    from training.splits import Fold

MOST_FOR_ALL = 6
"""Sources up to which every subset of them is measured; of more, each lost and each alone."""

MOST_REDUCED, MOST_RETRAINED = 20_000, 200_000
"""Test rows of a repeat on which subsets are measured, and training rows of all repeats up to which there are peers."""

Subset = tuple[str, ...]
"""Names of the sources that are there, in the order of the contracts."""


@dataclass(frozen=True)
class Reduced:
    """The ensemble on the tested rows when only the sources ``kept`` have data; means over the repeats.

    ``peer`` is one LightGBM trained without the one source that is lost; ``None`` where more are.
    """

    kept: Subset
    auc: float
    peer: float | None


@dataclass(frozen=True)
class Whole:
    """The ensemble with all its sources on the rows on which it is :class:`Reduced`, ``rows`` of them in a repeat."""

    auc: float
    rows: int


@dataclass(frozen=True)
class Lessened:
    """Probabilities on some tested ``rows`` of a fold, by subset: the ensemble's, and its peer's where there is one."""

    rows: np.ndarray
    ensemble: dict[Subset, np.ndarray]
    peer: dict[Subset, np.ndarray]


def subsets(names: tuple[str, ...]) -> tuple[Subset, ...]:
    """Those that are measured, the largest first; all sources, and none of them, are not among them."""
    if len(names) <= MOST_FOR_ALL:
        return tuple(kept for size in range(len(names) - 1, 0, -1) for kept in combinations(names, size))
    lost = tuple(tuple(name for name in names if name != gone) for gone in names)
    return (*lost, *((name,) for name in names))


def probability(scorer: Scorer, vectors: np.ndarray, kept: Subset) -> np.ndarray:
    """Probabilities where only the sources ``kept`` have data, shape (rows,); NaN where they know nothing."""
    gone = [index for index, key in enumerate(scorer.plan) if key.partition(":")[0] not in kept]
    lost = vectors.copy()
    lost[:, gone] = np.nan
    return scorer.probabilities(lost)


def lessened(
    data: TrainingSet,
    fold: Fold,
    scorer: Scorer,
    vectors: np.ndarray,
    specs: Mapping[str, ModelSpec],
    *,
    trees: int | None,
    seed: int,
    threads: int,
) -> Lessened:
    """What every subset of the sources, and the peer without each of them, says of the test rows of ``fold``.

    Args:
        data: has the rows.
        fold: learnt from, and tested.
        scorer: of the ensemble that learnt from ``fold.train``.
        vectors: the test rows, as the scorer reads them.
        specs: the sources' sub-models by name, in the order of the contracts.
        trees: of a peer, which is trained once for each source; ``None`` for no peers.
        seed: of a peer.
        threads: with which a peer is trained.
    """
    ensemble: dict[Subset, np.ndarray] = {}
    peer: dict[Subset, np.ndarray] = {}
    for kept in subsets(tuple(specs)):
        ensemble[kept] = probability(scorer, vectors, kept)
        if trees is not None and len(kept) == len(specs) - 1:
            others = tuple(specs[source] for source in kept)
            peer[kept] = baselines.retrained(data, fold, others, trees=trees, seed=seed, threads=threads)
    return Lessened(fold.test, ensemble, peer)


def together(folds: Sequence[Lessened]) -> Lessened:
    """The folds of one repeat as one; a fold that could not fit a source says nothing of the subsets with it."""

    def joined(parts: list[dict[Subset, np.ndarray]]) -> dict[Subset, np.ndarray]:
        return {
            kept: np.concatenate(
                [found.get(kept, np.full(len(fold.rows), np.nan)) for fold, found in zip(folds, parts, strict=True)]
            )
            for kept in dict.fromkeys(kept for found in parts for kept in found)
        }

    rows = np.concatenate([fold.rows for fold in folds])
    return Lessened(rows, joined([fold.ensemble for fold in folds]), joined([fold.peer for fold in folds]))


def table(
    repeats: Sequence[tuple[np.ndarray, Lessened]], labels: np.ndarray, tested: np.ndarray, rate: float
) -> tuple[Whole, tuple[Reduced, ...]]:
    """The ensemble with all sources, and for each subset of them in the order in which these were scored.

    Args:
        repeats: of each, the ensemble's probability of every row, and what was found with fewer sources.
        labels: of every row.
        tested: rows that count, as in the table of models.
        rate: probability of who is unknown to all.
    """

    def auc(rows: np.ndarray, values: np.ndarray) -> float:
        seen = np.isin(rows, tested)
        return float(roc_auc_score(labels[rows[seen]], np.where(np.isnan(values), rate, values)[seen]))

    def mean(kept: Subset, of: Callable[[Lessened], dict[Subset, np.ndarray]]) -> float | None:
        found = [auc(one.rows, of(one)[kept]) for _, one in repeats if kept in of(one)]
        return float(np.mean(found)) if found else None

    ensemble, peer = attrgetter("ensemble"), attrgetter("peer")
    measured = dict.fromkeys(kept for _, one in repeats for kept in one.ensemble)
    found = ((kept, mean(kept, ensemble)) for kept in measured)
    whole = np.mean([auc(one.rows, probabilities[one.rows]) for probabilities, one in repeats])
    return Whole(float(whole), int(np.isin(repeats[0][1].rows, tested).sum())), tuple(
        Reduced(kept, value, mean(kept, peer)) for kept, value in found if value is not None
    )
