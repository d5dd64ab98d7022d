"""Columns that know too much: found before anything is trained, and named.

A column that is nearly the label (copied into a source by mistake, or written after the outcome) makes every measure
shine and every decision wrong. Three marks give it away: alone it ranks better than any honest column does; it explains
more than half of what a small model of all columns learns, and that model is too good; or it holds times later than the
decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import lightgbm
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from credit301.errors import ModelError
from training.dataset import NAMED, evenly
from training.frames import encoded
from training.specs import pooled_spec
from training.splits import grouped_folds

if TYPE_CHECKING:
    from training.dataset import TrainingSet
    from training.specs import ModelSpec

MOST_AUC = 0.90
"""Of one column alone. The best honest one of the reference city has 0.72."""

FAR_ABOVE = 0.12
"""By which a column's AUC must be above the second best source's best column to be suspect where it is below 0.9."""

SUSPECT_AUC = 0.80
DOMINANT_SHARE, TOO_GOOD = 0.5, 0.93
MINIMUM_ROWS = 30
"""Rows of each outcome that a column needs to be judged: with fewer, chance alone ranks well."""

SAMPLE = 50_000
TREES = 30


@dataclass(frozen=True)
class Leak:
    """A column under suspicion, and why in both languages."""

    column: str
    zh: str
    en: str


def check(data: TrainingSet, specs: tuple[ModelSpec, ...]) -> None:
    """Refuse to train on columns that know too much.

    Raises:
        ModelError: naming each of them with its reason.
    """
    found = leaks(data, specs)
    if found:
        named = "; ".join(f"{leak.column}: {leak.en}" for leak in found[:NAMED])
        chinese = "；".join(f"{leak.column}：{leak.zh}" for leak in found[:NAMED])
        raise ModelError(
            f"A column knows what nobody can know at the decision. {named}. 疑似标签泄漏：{chinese}。",
            hint="Mend its source's time columns or its window. If it is honest: credit301 train --allow-leaks.",
        )


def leaks(data: TrainingSet, specs: tuple[ModelSpec, ...]) -> tuple[Leak, ...]:
    """Columns of ``data`` that bear a mark of a leak, worst first; each is named once.

    Times are looked at on every row, and what a column tells on a sample of them.
    """
    rows = data.sample(np.arange(len(data)))
    found = [*_later(data, specs), *_alone(data, rows, specs), *_dominant(data, specs)]
    return tuple({leak.column: leak for leak in reversed(found)}.values())[::-1]


def _later(data: TrainingSet, specs: tuple[ModelSpec, ...]) -> list[Leak]:
    """Columns of times later than their row's decision, and of days since something that had yet to happen."""
    elapsed = {item.column for spec in specs for item in spec.inputs if item.elapsed}
    kinds = data.take(data.feature_names, np.arange(min(1, len(data)))).dtypes
    times = [str(name) for name, kind in kinds.items() if pd.api.types.is_datetime64_any_dtype(kind)]
    late = dict.fromkeys([*times, *sorted(elapsed)], 0)
    for rows, frame in data.batches(list(late)) if late else ():
        for name in times:
            values = frame[name].dt.tz_localize(None) if frame[name].dt.tz is not None else frame[name]
            late[name] += int((values.to_numpy() > data.times[rows]).sum())
        for name in elapsed:
            late[name] += int((frame[name].to_numpy(dtype=float, na_value=np.nan) < 0).sum())
    return [
        Leak(name, f"{rows} 行的时间晚于决策时间", f"on {rows} rows its time is after the decision")
        for name, rows in late.items()
        if rows
    ]


def _alone(data: TrainingSet, rows: np.ndarray, specs: tuple[ModelSpec, ...]) -> list[Leak]:
    """Columns that rank the outcomes far better than an honest one does; one source is in memory at a time."""
    best, labels = {}, data.labels[rows]
    for spec in specs:
        frame = data.take([item.column for item in spec.inputs], rows)
        for item in spec.inputs:
            values = (
                _rates(frame[item.column], labels)
                if item.category
                else frame[item.column].to_numpy(dtype=float, na_value=np.nan)
            )
            best[item.column] = (_auc(values, labels), spec.name)
    ranked = sorted(best.items(), key=lambda entry: -entry[1][0])
    found = []
    for column, (auc, source) in ranked:
        others = max((other for other, name in best.values() if name != source), default=0.5)
        if auc >= MOST_AUC or (auc >= SUSPECT_AUC and auc - others >= FAR_ABOVE):
            found.append(
                Leak(
                    column,
                    f"单独使用 AUC 即达 {auc:.3f}，其他来源最好的字段为 {others:.3f}",
                    f"alone it has an AUC of {auc:.3f}, the best column of the other sources {others:.3f}",
                )
            )
    return found


def _rates(values: pd.Series, labels: np.ndarray) -> np.ndarray:
    """Share of defaults of each value of a category, smoothed so that a rare value says little."""
    rate = labels.mean()
    grouped = pd.Series(labels, index=values.index).groupby(values, observed=True)
    smoothed = (grouped.sum() + MINIMUM_ROWS * rate) / (grouped.count() + MINIMUM_ROWS)
    return values.map(smoothed).to_numpy(dtype=float)


def _auc(values: np.ndarray, labels: np.ndarray) -> float:
    """AUC of a column in whichever direction is better, on the rows where it is known; 0.5 where these are too few."""
    known = ~np.isnan(values)
    values, labels = values[known], labels[known]
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if min(positives, negatives) < MINIMUM_ROWS:
        return 0.5
    above = (rankdata(values)[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return float(max(above, 1 - above))


def _dominant(data: TrainingSet, specs: tuple[ModelSpec, ...]) -> list[Leak]:
    """The column from which a small model of all columns has more than half of its gain, where that is too good."""
    rows = evenly(data.sample(np.arange(len(data))), SAMPLE)
    labels = data.labels
    if min(labels[rows].sum(), (1 - labels[rows]).sum()) < MINIMUM_ROWS:
        return []
    spec = pooled_spec("leakage", specs)
    categories = data.categories((item.column for item in spec.inputs if item.category), rows)
    fold = grouped_folds(data, rows, 2, 0)[0]
    names = [item.column for item in spec.inputs]
    learn, test = (encoded(data, side, spec, categories) for side in (fold.train, fold.test))
    codes = [index for index, item in enumerate(spec.inputs) if item.category]
    parameters = {"objective": "binary", "num_leaves": 8, "verbosity": -1, "num_threads": 1, "deterministic": True}
    learning = lightgbm.Dataset(
        learn, labels[fold.train], feature_name=names, categorical_feature=codes, params={"verbosity": -1}
    )
    booster = lightgbm.train(parameters, learning, TREES)
    auc = _auc(np.asarray(booster.predict(test)), labels[fold.test])
    gain = booster.feature_importance("gain")
    most, share = int(np.argmax(gain)), float(gain.max() / max(gain.sum(), 1e-12))
    if auc < TOO_GOOD or share < DOMINANT_SHARE:
        return []
    return [
        Leak(
            names[most],
            f"占试验模型增益的 {share:.0%}，该模型 AUC 高达 {auc:.3f}",
            f"it has {share:.0%} of the gain of a trial model, whose AUC of {auc:.3f} is too good",
        )
    ]
