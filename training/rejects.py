"""Reject inference: what a training makes of applications that were declined, whose outcomes nobody will ever know.

Who was lent to was chosen, by what looked good; a model of them alone is a model of the chosen (Hand and Henley 1993).

- ``fuzzy``: each declined application is learnt from twice, as a default that counts p and as none that counts 1 - p,
  p being what the model of the accepted says (fuzzy augmentation; Siddiqi 2006).
- ``parcelling``: the same, but p is the share of defaults seen among the accepted of the same band of that model, times
  :data:`PRUDENCE`, because who was declined in a band is worse than who was accepted in it (Siddiqi 2006).
- ``reweight``: an accepted application counts for those like it that were declined: by the inverse of its probability
  of acceptance, estimated from who was accepted and who was not (augmentation, Hsia 1978; Banasik and Crook 2007).
- ``lane``: as ``reweight``, with the probabilities that the accept lane's lots are known to have (Horvitz and Thompson
  1952); the only one that learns outcomes of those who would have been declined.

No outcome of a declined application is read anywhere: rows get ``inferred`` labels, and are learnt from only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from credit301.errors import ModelError
from training import calibration, evaluation, submodels
from training.dataset import INFERRED, KNOWN_AT, LABEL, TIME, WEIGHT, TrainingSet
from training.rows import OnDisk
from training.specs import ModelSpec, pooled_spec
from training.splits import Fold, Plan, grouped_folds

if TYPE_CHECKING:
    from collections.abc import Callable

    from credit301.workspace import Workspace
    from training.fitting import FittedEnsemble

PRUDENCE = 1.3
"""How much worse the declined of a band are taken to be than the accepted of it."""

BANDS, LEAST_IN_BAND, LARGEST = 5, 20, 0.95
MOST_WEIGHT = 20.0
"""Rows that one may stand for by an estimated probability: one of 1 % is not known that well."""

LEAST_DECLINED = 20
PROPENSITY = "propensity"


class Method(StrEnum):
    """How the declined are inferred."""

    FUZZY = "fuzzy"
    PARCELLING = "parcelling"
    REWEIGHT = "reweight"
    LANE = "lane"


@dataclass(frozen=True)
class Population:
    """What is learnt from, and what is known of how it was chosen.

    Attributes:
        data: the labelled rows.
        plan: their outer split; of one fold.
        declined: applications without an outcome (its labels mean nothing), or ``None``.
        propensity: probability that the row's outcome would be known, shape (rows of ``data``,); 1 where it was not
            left to a lot. ``None`` where no lot was ever drawn.
    """

    data: TrainingSet
    plan: Plan
    declined: TrainingSet | None = None
    propensity: np.ndarray | None = None


@dataclass(frozen=True)
class Inferred:
    """What to train on: rows with weights, the split of them, how many declined are in it, and what rows now count."""

    data: TrainingSet
    plan: Plan
    declined: int
    largest_weight: float


def infer(
    method: Method,
    workspace: Workspace,
    population: Population,
    specs: tuple[ModelSpec, ...],
    fit: Callable[[TrainingSet, np.ndarray, Plan], FittedEnsemble],
) -> Inferred:
    """The rows of ``population`` as ``method`` has them learnt from; tested are the same rows as before.

    ``fit`` fits the model of the accepted on rows of a training set.

    Raises:
        ModelError: there is nothing to infer from, or the split or the rows' place does not allow it.
    """
    data, plan = population.data, population.plan
    if plan.nested:
        raise ModelError(
            "Reject inference needs a split by time or by sides: of folds, each would need inferences of its own. "
            "拒绝推断需要按时间或按训练、检验两侧划分。",
            hint="Set split in workspace.yaml, or train without --reject-inference.",
        )
    if isinstance(data.rows, OnDisk):
        raise ModelError(
            "Reject inference has its rows in memory. 拒绝推断须在内存中进行。",
            hint="Allow more memory (--memory), or train without --reject-inference.",
        )
    fold = plan.repeats[0][0]
    if method is Method.LANE:
        return _weighted(population, _by_lot(population, fold))
    declined = usable(population)
    if method is Method.REWEIGHT:
        return _weighted(population, _by_acceptance(data, fold, declined, specs, plan.seed, workspace))
    fitted = fit(data, fold.train, plan)
    p = probabilities(workspace, data, fold, fitted, declined)
    if method is Method.PARCELLING:
        p = parcels(p, *_out_of_fold(fitted, data))
    return _augmented(population, declined, p)


def usable(population: Population) -> TrainingSet:
    """The declined applications before the test begins, of enterprises that are not in the test.

    Raises:
        ModelError: there are none, or too few.
    """
    data, declined = population.data, population.declined
    test = population.plan.repeats[0][0].test
    if declined is None:
        raise ModelError(
            "There are no declined applications to infer from. 没有被拒绝的申请，无法做拒绝推断。",
            hint="Decisions leave them in the evidence: decide first (credit301 decide), or --reject-inference none.",
        )
    begins = data.times[test].min()
    kept = (declined.times < begins) & ~declined.head[data.entity].isin(data.head[data.entity].iloc[test]).to_numpy()
    if kept.sum() < LEAST_DECLINED:
        raise ModelError(
            f"Of {len(declined)} declined applications {int(kept.sum())} are before the test begins "
            f"({pd.Timestamp(begins):%Y-%m-%d}) and of enterprises outside it; at least {LEAST_DECLINED} are needed. "
            f"检验期开始前可用的被拒申请只有 {int(kept.sum())} 笔，至少需要 {LEAST_DECLINED} 笔。",
            hint="Wait, or train as usual; `credit301 reject-inference` shows what it would be worth.",
        )
    return declined if kept.all() else declined.where(kept)


def probabilities(
    workspace: Workspace, data: TrainingSet, fold: Fold, fitted: FittedEnsemble, asked: TrainingSet
) -> np.ndarray:
    """What ``fitted``, learnt from ``fold.train`` of ``data``, says of ``asked``, shape (rows,).

    Where no source knows anything, the share of defaults learnt from.
    """
    scorer = evaluation.scorer_of(workspace, data, fold, fitted)
    said = np.full(len(asked), float(data.labels[fold.train].mean()))
    for rows, vectors in evaluation.vectors_of(asked, scorer, np.arange(len(asked))):
        known = scorer.known(vectors)
        said[rows[known]] = scorer.score_batch(vectors[known]).probability
    return said


def parcels(p: np.ndarray, accepted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probability of each declined application's band, shape (declined,).

    Args:
        p: of the declined, by the model of the accepted, shape (declined,).
        accepted: of the accepted, out of fold, shape (accepted,).
        labels: their outcomes, shape (accepted,).
    """
    edges = np.unique(np.quantile(p, np.linspace(0, 1, BANDS + 1)[1:-1]))
    of, theirs = np.searchsorted(edges, p, "right"), np.searchsorted(edges, accepted, "right")
    result = np.empty(len(p))
    for band in np.unique(of):
        seen = labels[theirs == band]
        # Of so few accepted their share would be chance: what the model expects of the band stands.
        rate = seen.mean() if len(seen) >= LEAST_IN_BAND else p[of == band].mean()
        result[of == band] = min(PRUDENCE * rate, LARGEST)
    return result


def _out_of_fold(fitted: FittedEnsemble, data: TrainingSet) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and outcomes of the accepted, by models that have not seen them."""
    z = fitted.whole.out_of_fold
    seen = ~np.isnan(z)
    return calibration.apply(fitted.calibration, z[seen]), data.labels[seen]


def _by_lot(population: Population, fold: Fold) -> np.ndarray:
    propensity = population.propensity
    if propensity is None or not (propensity[fold.train] < 1).any():
        raise ModelError(
            "No outcome of the accept lane is among the rows to learn from. 训练样本中没有随机准入的还款结果。",
            hint="Lots and their outcomes come with `accept_lane` in strategies/models.yaml and time.",
        )
    return 1.0 / propensity[fold.train]


def _by_acceptance(
    data: TrainingSet,
    fold: Fold,
    declined: TrainingSet,
    specs: tuple[ModelSpec, ...],
    seed: int,
    workspace: Workspace,
) -> np.ndarray:
    """One over the probability of acceptance of each row of ``fold.train``, from a model that has not seen the row."""
    pooled = pooled_spec("acceptance", specs)
    # Which way risk moves says nothing of whom a bank once accepted.
    spec = replace(pooled, inputs=tuple(replace(item, monotone=0) for item in pooled.inputs))
    names = [data.entity, TIME, *(item.column for item in spec.inputs)]
    accepted = data.frame.iloc[fold.train][names].assign(**_columns({LABEL: 1, "row": np.arange(len(fold.train))}))
    refused = declined.frame.reindex(columns=names).assign(**{LABEL: 0, "row": -1})
    both = TrainingSet(pd.concat([accepted, refused], ignore_index=True), data.entity)
    rows = np.arange(len(both))
    folds = grouped_folds(both, rows, 5, seed)
    found = submodels.fit(both, rows, folds, spec, seed=seed, threads=workspace.settings.cpu_threads)
    share = both.labels.mean()
    chance = np.full(len(both), share) if found is None else expit(found.out_of_fold)
    chance = np.where(np.isnan(chance), share, chance)
    place = both.head["row"].to_numpy()
    weights = np.empty(len(fold.train))
    weights[place[place >= 0]] = 1.0 / chance[place >= 0]
    return np.minimum(weights, MOST_WEIGHT)


def _columns(added: dict[str, Any]) -> dict[str, Any]:
    """Columns by name whose names are not words of this code."""
    return added


def _weighted(population: Population, weights: np.ndarray) -> Inferred:
    """The accepted alone, with ``weights`` of the training rows, which count as many rows as they are (Hajek 1971)."""
    data, fold = population.data, population.plan.repeats[0][0]
    counted = np.ones(len(data))
    counted[fold.train] = weights / weights.mean()
    frame = data.frame.assign(**_columns({WEIGHT: counted, INFERRED: False}))
    return Inferred(TrainingSet(frame, data.entity), population.plan, 0, float(counted[fold.train].max()))


def _augmented(population: Population, declined: TrainingSet, p: np.ndarray) -> Inferred:
    """The accepted, and each of the ``declined`` twice: a default that counts ``p``, and none that counts the rest."""
    data, plan = population.data, population.plan
    fold = plan.repeats[0][0]
    # The outcome of a declined application is none of the columns from here on.
    blank = declined.frame.drop(columns=[LABEL]).reindex(columns=[c for c in data.rows.columns if c != LABEL])
    if KNOWN_AT in blank:
        blank = blank.assign(**{KNOWN_AT: blank[TIME]})
    parts = [
        data.frame.assign(**_columns({WEIGHT: 1.0, INFERRED: False, "_row": np.arange(len(data))})),
        blank.assign(**_columns({LABEL: 1, WEIGHT: p, INFERRED: True, "_row": -1})),
        blank.assign(**_columns({LABEL: 0, WEIGHT: 1.0 - p, INFERRED: True, "_row": -1})),
    ]
    frame = pd.concat(parts, ignore_index=True).sort_values([TIME, data.entity], kind="stable", ignore_index=True)
    row = frame.pop("_row").to_numpy()
    place = np.empty(len(data), dtype=np.intp)
    place[row[row >= 0]] = np.flatnonzero(row >= 0)
    train = np.sort(np.concatenate([place[fold.train], np.flatnonzero(row < 0)]))
    mapped = replace(plan, repeats=((Fold(train, place[fold.test]),),))
    return Inferred(TrainingSet(frame, data.entity), mapped, len(declined), 1.0)
