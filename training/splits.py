"""Who is trained on and who is tested on: by time, by folds, or as a column says; never one entity on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from credit301.errors import ModelError
from credit301.workspace import ColumnSplit, KFoldSplit, TimeSplit
from training.dataset import TrainingSet, evenly

if TYPE_CHECKING:
    from collections.abc import Iterator

MINIMUM_PER_CLASS = 5
FORWARD_PER_CLASS = 200
"""Defaults, and others, that a forward block needs in its past; with fewer, measured, the final model ranks worse."""
MINIMUM_FOLDS = 2
MANY_ROWS = 100_000
"""Rows from which one past tells as much as five, and some of what comes after it as much as all of it."""

PAST = 2 / 3
"""Share of the rows that make this one past."""

FIRST_BLOCK = 0.5
"""Share of the rows before the first forward block: a model with less of a past is not like the final one."""


@dataclass(frozen=True)
class Fold:
    """Row numbers to train on and to test on, both ascending."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Plan:
    """``repeats[r]`` are the folds of repeat ``r``; a split by time or by sides is one repeat of one fold.

    ``embargo``: blocks forward in time learn only from what was known when they begin.
    """

    kind: str
    repeats: tuple[tuple[Fold, ...], ...]
    folds: int
    seed: int
    embargo: bool = True

    @property
    def nested(self) -> bool:
        """Whether every row is tested once in each repeat, by models fitted inside the training folds."""
        return len(self.repeats[0]) > 1


def plan(data: TrainingSet, split: TimeSplit | KFoldSplit | ColumnSplit) -> Plan:
    """Outer splits of ``data``.

    Raises:
        ModelError: a side would have fewer than five defaults or five others.
    """
    if isinstance(split, KFoldSplit):
        rows = np.arange(len(data))
        _check_classes(data.labels, "the data")
        repeats = tuple(grouped_folds(data, rows, split.folds, split.seed + r) for r in range(split.repeats))
        return Plan("kfold", repeats, split.folds, split.seed)
    if isinstance(split, ColumnSplit) and split.holds == "folds":
        _check_classes(data.labels, "the data")
        return Plan(split.kind, (_given_folds(data, split.column),), split.folds, split.seed)
    embargo = not isinstance(split, TimeSplit) or split.embargo
    fold = out_of_time(data, split.test_share, embargo) if isinstance(split, TimeSplit) else _given_sides(data, split)
    _check_classes(data.labels[fold.train], "the training side")
    _check_classes(data.labels[fold.test], "the test side")
    return Plan(split.kind, ((fold,),), split.folds, split.seed, embargo)


def out_of_time(data: TrainingSet, test_share: float, embargo: bool = True) -> Fold:
    """Train before a moment, test from it on.

    The moment is the decision time above which ``test_share`` of the rows lie. With an ``embargo`` a training row's
    label must have been known before it. An entity with rows on both sides stays on the side where it has more of them
    (on a tie on the training side); its rows on the other side are dropped.
    """
    times = data.times
    start = np.sort(times)[min(len(times) - 1, int(np.floor(len(times) * (1 - test_share))))]
    test = times >= start
    train = ~test & (_known(data, embargo) <= start)
    groups = data.groups
    before = np.bincount(groups, weights=train, minlength=groups.max() + 1)
    after = np.bincount(groups, weights=test, minlength=groups.max() + 1)
    stays_in_train = before >= after
    train &= stays_in_train[groups] | (after[groups] == 0)
    test &= ~stays_in_train[groups] | (before[groups] == 0)
    return Fold(np.flatnonzero(train), np.flatnonzero(test))


def grouped_folds(data: TrainingSet, rows: np.ndarray, folds: int, seed: int) -> tuple[Fold, ...]:
    """``folds`` folds of ``rows``, stratified by label; all rows of an entity are in one fold."""
    labels, groups = data.labels[rows], data.groups[rows]
    folds = min(folds, int(labels.sum()), int((1 - labels).sum()))
    if folds < MINIMUM_FOLDS:
        raise ModelError("There are too few defaults for folds.", hint="Wait for more outcomes, or lower the folds.")
    single = len(np.unique(groups)) == len(groups)
    splitter = (StratifiedKFold if single else StratifiedGroupKFold)(n_splits=folds, shuffle=True, random_state=seed)
    return tuple(
        Fold(rows[train], rows[test]) for train, test in splitter.split(rows, labels, None if single else groups)
    )


def forward_folds(
    data: TrainingSet, rows: np.ndarray, folds: int, *, per_class: int = FORWARD_PER_CLASS, embargo: bool = True
) -> tuple[Fold, ...]:
    """Expanding windows over the later half of ``rows``: a block is tested by what was known before it began.

    Without an ``embargo`` it is tested by what was decided before it.

    Rows of the block's entities are not in its past. Blocks whose past has fewer than ``per_class`` defaults or
    others are left out, so the result may be shorter than ``folds``.
    """
    times, known, groups = data.times, _known(data, embargo), data.groups
    ordered = np.sort(times[rows])
    shares = FIRST_BLOCK + (1 - FIRST_BLOCK) * np.arange(folds) / folds
    starts = [ordered[int(len(ordered) * share)] for share in shares]
    found = []
    for k, start in enumerate(starts):
        end = starts[k + 1] if k + 1 < folds else None
        inside = times[rows] >= start if end is None else (times[rows] >= start) & (times[rows] < end)
        test = rows[inside]
        past = rows[(times[rows] < start) & (known[rows] <= start)]
        train = past[~np.isin(groups[past], groups[test])]
        enough = min(data.outcomes(train)) >= per_class
        if enough and len(test):
            found.append(Fold(train, test))
    return tuple(found)


def one_past(data: TrainingSet, rows: np.ndarray, *, most: int = MANY_ROWS, embargo: bool = True) -> tuple[Fold, ...]:
    """Two blocks, one after the other, both tested by what was known before the first began.

    Without an ``embargo`` they are tested by what was decided before it. Of what comes after that moment at most
    ``most`` rows are tested, evenly spaced. Empty where the past has fewer than 200 defaults or others.
    """
    times, groups = data.times, data.groups
    ordered = np.sort(times[rows])
    start, middle = (ordered[int(len(ordered) * share)] for share in (PAST, (1 + PAST) / 2))
    later = evenly(rows[times[rows] >= start], most)
    past = rows[(times[rows] < start) & (_known(data, embargo)[rows] <= start)]
    train = past[~np.isin(groups[past], groups[later])]
    if min(data.outcomes(train)) < FORWARD_PER_CLASS:
        return ()
    blocks = later[times[later] < middle], later[times[later] >= middle]
    return tuple(Fold(train, test) for test in blocks if len(test))


def inner_folds(data: TrainingSet, rows: np.ndarray, plan: Plan) -> tuple[Fold, ...]:
    """Folds inside the training ``rows``, from which out-of-fold sub-scores come.

    Forward in time where the split is by time and at least two blocks have enough of a past (on many rows one past for
    both); else grouped folds. The outer test stays strictly later either way; on few defaults the models of early
    blocks are so much weaker than the final one that the stack and the calibration learnt from them do not fit it.
    """
    if plan.kind == "time":
        if len(rows) >= MANY_ROWS:
            forward = one_past(data, rows, embargo=plan.embargo)
        else:
            forward = forward_folds(data, rows, plan.folds, embargo=plan.embargo)
        if len(forward) >= MINIMUM_FOLDS:
            return forward
    return grouped_folds(data, rows, plan.folds, plan.seed)


def joined(folds: tuple[Fold, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on and to test on; folds that learn from the same rows are tested together."""
    tests: dict[int, list[np.ndarray]] = {}
    for fold in folds:
        tests.setdefault(id(fold.train), []).append(fold.test)
    for fold in folds:
        if found := tests.pop(id(fold.train), None):
            yield fold.train, np.sort(np.concatenate(found))


def _known(data: TrainingSet, embargo: bool) -> np.ndarray:
    return data.known_at if embargo else data.times


def _given(data: TrainingSet, name: str) -> np.ndarray:
    """What the column ``name`` says of each row, shape (rows,).

    Raises:
        ModelError: there is no such column, or it says two things of one entity.
    """
    if name not in data.head:
        raise ModelError(f"The training set has no column {name!r} to split by.", hint="The label table must carry it.")
    said = data.head.groupby(data.entity)[name].nunique(dropna=False)
    if (said > 1).any():
        raise ModelError(
            f"{int((said > 1).sum())} entities are on both sides of column {name!r}.", hint="Give each one side."
        )
    return data.head[name].to_numpy()


def _given_sides(data: TrainingSet, split: ColumnSplit) -> Fold:
    said = data.head[split.column].tolist() if split.column in data.head else []
    unknown = [value for value in said if value not in {split.train, split.test}]
    if unknown:
        raise ModelError(
            f"Column {split.column!r} must say {split.train!r} or {split.test!r}, not {unknown[0]!r}.",
            hint="Its two words can be set in workspace.yaml (split: train, test); folds need `holds: folds`.",
        )
    sides = _given(data, split.column)
    return Fold(np.flatnonzero(sides == split.train), np.flatnonzero(sides == split.test))


def _given_folds(data: TrainingSet, name: str) -> tuple[Fold, ...]:
    values = _given(data, name)
    if data.head[name].isna().any():
        raise ModelError(f"Column {name!r} names no fold on some rows.", hint="Give each entity a fold.")
    names = sorted(set(values), key=str)
    if len(names) < MINIMUM_FOLDS:
        raise ModelError(f"Column {name!r} names one fold only.", hint="At least two folds are needed.")
    return tuple(Fold(np.flatnonzero(values != fold), np.flatnonzero(values == fold)) for fold in names)


def _check_classes(labels: np.ndarray, side: str) -> None:
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < MINIMUM_PER_CLASS:
        raise ModelError(
            f"There are {positives} defaults among the {len(labels)} rows of {side}; at least "
            f"{MINIMUM_PER_CLASS} of each kind are needed.",
            hint="Wait for more outcomes, or choose another split in workspace.yaml.",
        )
