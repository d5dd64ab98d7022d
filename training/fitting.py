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
class FittedEnsemble:
    """A fitted model. ``skipped`` names the sources that had too few outcomes to learn from."""

    sources: tuple[Fitted, ...]
    stack: ensemble.Stack
    calibration: Calibration
    skipped: tuple[str, ...]
    stacked_rows: int


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
    logits = np.column_stack([fitted.out_of_fold for fitted in sources])
    block = _blocks(len(data), folds)
    usable = (block >= 0) & ~np.isnan(logits).all(axis=1)
    logits, labels, block = logits[usable], data.labels[usable], block[usable]
    return FittedEnsemble(
        sources=sources,
        stack=ensemble.fit(logits, labels),
        calibration=calibration.fit(_cross_fitted(logits, labels, block), labels, block),
        skipped=tuple(name for name, fitted in tried.items() if fitted is None),
        stacked_rows=int(usable.sum()),
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
