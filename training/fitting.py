"""The whole model on one set of rows: sub-models, the stack over their out-of-fold log-odds, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit301.errors import ModelError
from credit301.model.bundle import Calibration
from training import calibration, ensemble, submodels
from training.dataset import TrainingSet
from training.specs import ModelSpec
from training.splits import Fold, Plan, inner_folds
from training.submodels import Fitted


@dataclass(frozen=True)
class Combined:
    """Sub-models made into one score: the stack over their log-odds, and its calibration.

    ``rows`` is the number of rows with out-of-fold log-odds of any of the ``members`` that both were fitted on.
    """

    members: tuple[str, ...]
    stack: ensemble.Stack
    calibration: Calibration
    rows: int

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of default, shape (rows,), from ``logits``, shape (rows, members), NaN for no data."""
        return calibration.apply(self.calibration, self.stack.z(logits))


@dataclass(frozen=True)
class FittedEnsemble:
    """A fitted model, and the sub-models of each dimension combined in the same way.

    ``skipped`` names the sources that had too few outcomes to learn from.
    """

    sources: tuple[Fitted, ...]
    whole: Combined
    dimensions: dict[str, Combined]
    skipped: tuple[str, ...]

    @property
    def stack(self) -> ensemble.Stack:
        """The stack over all sub-models."""
        return self.whole.stack

    @property
    def calibration(self) -> Calibration:
        """The calibration of the whole."""
        return self.whole.calibration

    @property
    def stacked_rows(self) -> int:
        """Rows that the stack over all sub-models was fitted on."""
        return self.whole.rows


def fit(
    data: TrainingSet, rows: np.ndarray, plan: Plan, specs: tuple[ModelSpec, ...], *, threads: int
) -> FittedEnsemble:
    """Fit on ``rows`` of ``data`` only; nothing is learnt from any other row.

    Raises:
        ModelError: no source has enough outcomes.
    """
    folds = inner_folds(data, rows, plan)
    tried = {spec.name: submodels.fit(data, rows, folds, spec, seed=plan.seed, threads=threads) for spec in specs}
    sources = tuple(fitted for fitted in tried.values() if fitted is not None)
    if not sources:
        raise ModelError("No source has data on enough defaults.", hint="Wait for more outcomes, or add a source.")
    block = _blocks(len(data), folds)
    dimensions = dict.fromkeys(fitted.model.spec.dimension for fitted in sources)
    return FittedEnsemble(
        sources=sources,
        whole=_combine(data, sources, block),
        dimensions={
            name: _combine(data, tuple(f for f in sources if f.model.spec.dimension == name), block)
            for name in dimensions
        },
        skipped=tuple(name for name, fitted in tried.items() if fitted is None),
    )


def _combine(data: TrainingSet, sources: tuple[Fitted, ...], block: np.ndarray) -> Combined:
    """``sources`` combined on the rows that a fold tested (``block``) and of which any of them knows something."""
    logits = np.column_stack([fitted.out_of_fold for fitted in sources])
    usable = (block >= 0) & ~np.isnan(logits).all(axis=1)
    logits, labels, block = logits[usable], data.labels[usable], block[usable]
    return Combined(
        members=tuple(fitted.model.spec.name for fitted in sources),
        stack=ensemble.fit(logits, labels),
        calibration=calibration.fit(_cross_fitted(logits, labels, block), labels, block),
        rows=int(usable.sum()),
    )


def _blocks(rows: int, folds: tuple[Fold, ...]) -> np.ndarray:
    """Number of the fold that tested each row, -1 where none did."""
    block = np.full(rows, -1)
    for number, fold in enumerate(folds):
        block[fold.test] = number
    return block


def _cross_fitted(logits: np.ndarray, labels: np.ndarray, block: np.ndarray) -> np.ndarray:
    """``z`` of each row by a stack that was fitted without the row's fold, so that calibration sees no flattery."""
    z = np.empty(len(labels))
    for number in np.unique(block):
        test = block == number
        z[test] = ensemble.fit(logits[~test], labels[~test]).z(logits[test])
    return z
