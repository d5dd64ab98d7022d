"""Two versions side by side on known outcomes: who ranks better, and whom would one take and the other not?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from credit301.console import show_table
from credit301.errors import ModelError
from training import decided, metrics, stability, versions
from training.dataset import LABEL, TrainingSet
from training.metrics import Metrics
from training.weighted import corrected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from credit301.workspace import Workspace
    from training.versions import Version

CLASSES = 2
JUDGED = ("registered", "probability", "shadow_probability", "propensity", LABEL)
"""What is kept of a decision whose outcome is known."""

SWAPS = (
    ("both", "两者都批准", "approved by both"),
    ("only_a", "仅 A 批准", "approved by A alone"),
    ("only_b", "仅 B 批准", "approved by B alone"),
    ("neither", "两者都拒绝", "approved by neither"),
)


@dataclass(frozen=True)
class Swap:
    """One part of the swap set: how many, and what became of them. ``rate`` is ``None`` where there is nobody."""

    name: str
    zh: str
    en: str
    rows: int
    defaults: int

    @property
    def rate(self) -> float | None:
        """Share of defaults."""
        return self.defaults / self.rows if self.rows else None


@dataclass(frozen=True)
class Comparison:
    """``new`` says whether the rows are new to both versions; else one of them has learnt from some.

    ``p``: probabilities by A and B, shape (rows, 2). ``agreement`` is the rank correlation (Spearman), ``difference``
    the mean distance in probability. ``auc_error``: standard error of the AUCs' difference.
    """

    a: Version
    b: Version
    rows: int
    first: str
    last: str
    new: bool
    labels: np.ndarray
    p: np.ndarray
    measured: tuple[Metrics, Metrics]
    auc_error: float
    agreement: float
    difference: float
    psi: stability.Psi
    swaps: tuple[Swap, ...]
    live: dict[str, Any]


def compare(workspace: Workspace, a: str, b: str) -> Comparison:
    """Hold versions (numbers or aliases) ``a`` and ``b`` against the outcomes that neither has learnt from.

    Where there are too few of them, all outcomes are taken and it is said so.

    Raises:
        NotFound: a version is not registered.
        ModelError: the outcomes known are all alike.
    """
    one, other = versions.find(workspace, a), versions.find(workspace, b)
    data = TrainingSet.of(workspace, stored=True)
    since = max(one.seen_until, other.seen_until)
    unseen = data.times > np.datetime64(since) if since else np.ones(len(data), dtype=bool)
    new = len(np.unique(data.labels[unseen])) == CLASSES
    chosen = np.flatnonzero(unseen) if new else np.arange(len(data))
    p = np.column_stack([versions.probabilities_of(v.bundle, data, chosen) for v in (one, other)])
    known = ~np.isnan(p).any(axis=1)
    chosen, p = chosen[known], p[known]
    labels = data.labels[chosen]
    if len(np.unique(labels)) < CLASSES:
        raise ModelError("The outcomes known are all alike.", hint="Wait for more outcomes.")
    first, last = data.span(chosen)
    outcomes = decided.outcomes(workspace, data)
    return Comparison(
        a=one,
        b=other,
        rows=len(chosen),
        first=first,
        last=last,
        new=new,
        labels=labels,
        p=p,
        measured=(metrics.measure(labels, p[:, 0]), metrics.measure(labels, p[:, 1])),
        auc_error=metrics.auc_difference(labels, p[:, 1], p[:, 0])[1],
        agreement=float(spearmanr(p[:, 0], p[:, 1]).statistic),
        difference=float(np.abs(p[:, 0] - p[:, 1]).mean()),
        psi=stability.psi(p[:, 0], p[:, 1]),
        swaps=_swaps(labels, p[:, 0] <= versions.cut_off(one.bundle), p[:, 1] <= versions.cut_off(other.bundle)),
        live=_live((decided.with_outcomes(frame, outcomes) for _, frame in decided.by_month(workspace)), one, other),
    )


def show(found: Comparison) -> None:
    """Print the comparison as tables."""
    one, other = found.measured
    names = ("auc", "auc_spread", "ks", "brier", "ece")
    seen = "" if found.new else " (其中有已学习过的样本 some were learnt from)"
    pair = f"A = {found.a.number}, B = {found.b.number}"
    show_table(
        f"{pair}; {found.rows} outcomes 已知结果 {found.first[:10]} .. {found.last[:10]}{seen}",
        ("measure 指标", "A", "B", "B - A"),
        [(name, x := getattr(one, name), y := getattr(other, name), y - x) for name in names],
    )
    show_table(
        "互换集 swap set",
        ("", "rows 样本", "defaults 违约", "bad rate 违约率"),
        [(f"{swap.zh} {swap.en}", swap.rows, swap.defaults, swap.rate) for swap in found.swaps],
    )


def summary(found: Comparison) -> dict[str, Any]:
    """The comparison as values."""
    return {
        "a": found.a.number,
        "b": found.b.number,
        "rows": found.rows,
        "new_to_both": found.new,
        "auc": [round(m.auc, 6) for m in found.measured],
        "auc_difference_error": round(found.auc_error, 6),
        "ks": [round(m.ks, 6) for m in found.measured],
        "brier": [round(m.brier, 6) for m in found.measured],
        "rank_correlation": round(found.agreement, 6),
        "mean_difference": round(found.difference, 6),
        "psi": round(found.psi.value, 6),
        "swap_set": {swap.name: {"rows": swap.rows, "bad_rate": swap.rate} for swap in found.swaps},
        "live": found.live,
    }


def _swaps(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[Swap, ...]:
    parts = (a & b, a & ~b, ~a & b, ~a & ~b)
    return tuple(
        Swap(*names, int(part.sum()), int(labels[part].sum())) for names, part in zip(SWAPS, parts, strict=True)
    )


def _live(months: Iterable[pd.DataFrame], a: Version, b: Version) -> dict[str, Any]:
    """What the endpoint recorded where one decided and the other shadowed it; one month is in memory at a time."""
    pair = {a.number, b.number}
    count, same, apart, known = 0, 0, 0.0, [decided.empty()[list(JUDGED)]]
    for frame in months:
        of_both = frame["registered"].isin(pair) & frame["shadow_registered"].isin(pair)
        chosen = frame[of_both & (frame["registered"] != frame["shadow_registered"])]
        count += len(chosen)
        same += int(chosen["outcome"].eq(chosen["shadow_outcome"]).sum())
        apart += float((chosen["probability"] - chosen["shadow_probability"]).abs().sum())
        known.append(chosen.loc[chosen[LABEL].notna(), list(JUDGED)])
    if not count:
        return {"decisions": 0}
    both = pd.concat([part for part in known if len(part)] or known[:1])
    return {
        "decisions": count,
        "same_outcome": round(same / count, 6),
        "mean_difference": round(apart / count, 6),
        "outcomes": len(both),
        **_weighted(both, a, b),
    }


def _weighted(chosen: pd.DataFrame, a: Version, b: Version) -> dict[str, float]:
    """AUC and Brier of both on the outcomes of these decisions, weighted to all who were scored; empty without them."""
    known = chosen[chosen["propensity"] > 0]
    found: dict[str, float] = {}
    for name, version in (("a", a), ("b", b)):
        own = known["probability"].where(known["registered"] == version.number, known["shadow_probability"])
        measured = corrected(
            known[LABEL].to_numpy(dtype=int), own.to_numpy(dtype=float), known["propensity"].to_numpy()
        )
        if measured is not None:
            found[f"auc_weighted_{name}"] = round(measured.auc_weighted, 6)
            found[f"brier_weighted_{name}"] = round(measured.brier_weighted, 6)
    return found
