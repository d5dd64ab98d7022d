"""The whole model on one set of rows: sub-models, additive model, the stack over their log-odds, calibration."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from credit301.errors import ModelError
from credit301.model.bundle import Calibration
from training import additive, calibration, ensemble, submodels
from training.additive import FittedAdditive
from training.dataset import TrainingSet
from training.frames import encode, encoded
from training.specs import ModelSpec, pooled_spec
from training.splits import Fold, Plan, inner_folds, joined
from training.submodels import Fitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distributed import Client

ADDITIVE = "additive"


@dataclass(frozen=True)
class Combined:
    """Sub-models made into one score: the stack over their log-odds, and its calibration.

    ``rows`` is the number of rows with out-of-fold log-odds of any of the ``members`` that both were fitted on;
    ``out_of_fold`` the stack's on them before calibration, shape (rows of the training set,), NaN elsewhere.
    """

    members: tuple[str, ...]
    stack: ensemble.Stack
    calibration: Calibration
    rows: int
    out_of_fold: np.ndarray

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of default, shape (rows,), from ``logits``, shape (rows, members), NaN for no data."""
        return calibration.apply(self.calibration, self.stack.z(logits))


@dataclass(frozen=True)
class FittedEnsemble:
    """A fitted model, and the sub-models of each dimension combined in the same way.

    ``whole`` has the sub-models as members in their order and after them, where there is one, the ``additive`` model
    over all their sources. ``skipped`` names the sources that had too few outcomes to learn from.
    """

    sources: tuple[Fitted, ...]
    additive: FittedAdditive | None
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
    data: TrainingSet,
    rows: np.ndarray,
    plan: Plan,
    specs: tuple[ModelSpec, ...],
    *,
    threads: int,
    tuned: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    cluster: Client | None = None,
) -> FittedEnsemble:
    """Fit on ``rows`` of ``data`` only; nothing is learnt from any other row.

    ``tuned`` changes sub-models' parameters. Trees are grown here, or on a ``cluster``.

    Raises:
        ModelError: no source has enough outcomes.
    """
    folds = inner_folds(data, rows, plan)

    def fit_one(spec: ModelSpec) -> Fitted | None:
        changed, own = tuned.get(spec.name, {}), max(1, threads // len(specs))
        return submodels.fit(data, rows, folds, spec, seed=plan.seed, threads=own, changed=changed, cluster=cluster)

    # On some ten columns a thread of LightGBM's waits longer for the others than it computes: one model a thread.
    with ThreadPoolExecutor(max_workers=1 if cluster else threads) as pool:
        tried = dict(zip((spec.name for spec in specs), pool.map(fit_one, specs), strict=True))
    sources = tuple(fitted for fitted in tried.values() if fitted is not None)
    if not sources:
        raise ModelError("No source has data on enough defaults.", hint="Wait for more outcomes, or add a source.")
    block = _blocks(len(data), folds)
    whole, over_all = _additive(data, rows, folds, pooled_spec(ADDITIVE, (f.model.spec for f in sources)))
    dimensions = dict.fromkeys(fitted.model.spec.dimension for fitted in sources)
    return FittedEnsemble(
        sources=sources,
        additive=whole,
        whole=_combine(data, sources, block, over_all),
        dimensions={
            name: _combine(data, tuple(f for f in sources if f.model.spec.dimension == name), block)
            for name in dimensions
        },
        skipped=tuple(name for name, fitted in tried.items() if fitted is None),
    )


def _additive(
    data: TrainingSet, rows: np.ndarray, folds: tuple[Fold, ...], spec: ModelSpec
) -> tuple[FittedAdditive | None, np.ndarray | None]:
    """The additive model on ``rows``, and its out-of-fold log-odds, shape (len(data),), NaN where no fold scored."""
    categories = data.categories((item.column for item in spec.inputs if item.category), rows)
    columns = [item.column for item in spec.inputs]

    def fitted_on(learnt: np.ndarray) -> FittedAdditive | None:
        sample = data.sample(learnt)
        matrix = encoded(data, sample, spec, categories)
        return additive.fit(matrix, data.labels[sample], spec, weights=data.weights_of(sample))

    whole = fitted_on(rows)
    if whole is None:
        return None, None
    out_of_fold = np.full(len(data), np.nan)
    for train, test in joined(folds):
        if (fitted := fitted_on(train)) is not None:
            for tested, frame in data.batches(columns, test):
                out_of_fold[tested] = additive.logits(fitted, encode(frame, spec, categories))
    return whole, out_of_fold


def _combine(
    data: TrainingSet, sources: tuple[Fitted, ...], block: np.ndarray, over_all: np.ndarray | None = None
) -> Combined:
    """``sources`` combined on the rows that a fold tested (``block``) and of which any of them knows something."""
    names = [fitted.model.spec.name for fitted in sources]
    columns = [fitted.out_of_fold for fitted in sources]
    known = ~np.isnan(np.column_stack(columns)).all(axis=1)
    if over_all is not None:
        names, columns, known = [*names, ADDITIVE], [*columns, over_all], known & ~np.isnan(over_all)
    usable = (block >= 0) & known
    logits, labels, block = np.column_stack(columns)[usable], data.labels[usable], block[usable]
    weights = data.weights_of(np.flatnonzero(usable))
    z = _cross_fitted(logits, labels, block, weights)
    out_of_fold = np.full(len(data), np.nan)
    out_of_fold[usable] = z
    return Combined(
        members=tuple(names),
        stack=ensemble.fit(logits, labels, weights),
        calibration=calibration.fit(z, labels, block, weights),
        rows=int(usable.sum()),
        out_of_fold=out_of_fold,
    )


def _blocks(rows: int, folds: tuple[Fold, ...]) -> np.ndarray:
    """Number of the fold that tested each row, -1 where none did."""
    block = np.full(rows, -1)
    for number, fold in enumerate(folds):
        block[fold.test] = number
    return block


def _cross_fitted(logits: np.ndarray, labels: np.ndarray, block: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """``z`` of each row by a stack that was fitted without the row's fold, so that calibration sees no flattery."""
    z = np.empty(len(labels))
    for number in np.unique(block):
        test = block == number
        counted = None if weights is None else weights[~test]
        z[test] = ensemble.fit(logits[~test], labels[~test], counted).z(logits[test])
    return z
