"""Month by month: does the champion still rank, are its probabilities still right, who applies now, and for whom?

Outcomes come back as a source (repayments, from which the label is derived), are joined with what was known at each
decision, and scored by the champion. Months that it has learnt from are shown and raise nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from credit301.console import say
from credit301.errors import NotFound
from credit301.files import replacing
from credit301.model import stewardship
from training import decided, memory, metrics, retraining, stability, versions
from training.dataset import LABEL, TrainingSet
from training.groups import groups
from training.weighted import Corrected, corrected

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from credit301.model.stewardship import Monitoring, Stewardship
    from credit301.workspace import Workspace
    from training.versions import Version

CLASSES = 2
WHOLE = ""
FEATURES = "feature"
NAMED = 5
STANDARD_ERRORS = 2.0
KIND = {"month": str, "segment": str, "value": str, "metric": str}


@dataclass(frozen=True)
class Watched:
    """What was seen of a version in ``month``, and in every other with outcomes.

    ``table``: a row a measure with ``month``, ``segment`` (empty: everybody, ``feature``: the PSI of the feature
    ``value``), ``value`` (the group), ``metric``, ``number``, ``rows``, ``defaults`` and ``seen`` (learnt from).
    ``decisions``: what the endpoint decided, by month. ``reference``: measures of the version's own test. ``unjudged``:
    why the month can raise nothing, in both languages.
    """

    version: Version
    month: str
    table: pd.DataFrame
    decisions: pd.DataFrame
    correction: Corrected | None
    reference: metrics.Metrics
    alarms: list[dict[str, str]]
    unjudged: dict[str, str] | None = None

    def of(self, month: str, metric: str, segment: str = WHOLE, value: str = WHOLE) -> float | None:
        """One measure; ``None`` where it was not taken."""
        rows = self.table
        chosen = rows[
            (rows["month"] == month)
            & (rows["metric"] == metric)
            & (rows["segment"] == segment)
            & (rows["value"] == value)
        ]
        return float(chosen["number"].iloc[0]) if len(chosen) else None


def watch(workspace: Workspace, month: str | None = None) -> Watched | None:
    """See how the champion does in ``month`` (default: the last with outcomes) and the others; ``None`` without one.

    Raises:
        NotFound: there are no outcomes of that month.
    """
    version = versions.champion(workspace)
    if version is None:
        return None
    data = TrainingSet.of(workspace, stored=True)
    months = data.times.astype("datetime64[M]")
    there = np.unique(months).astype(str)
    wanted = month or there[-1]
    if wanted not in there:
        raise NotFound(
            f"No outcome of a decision in {wanted} is known.",
            hint=f"There are outcomes of {there[0]} to {there[-1]}.",
        )
    rules = stewardship.load(workspace)
    labels, expected = version.tested()
    before = version.learnt_rows()
    probability = versions.probabilities_of(version.bundle, data)
    known = ~np.isnan(probability)
    rows: list[dict[str, Any]] = []
    for number in np.unique(months[known]):
        chosen = np.flatnonzero(known & (months == number))
        rows += _month(rules, version, data, str(number), chosen, probability[chosen], before, expected)
    reference = metrics.measure(labels[~np.isnan(expected)], expected[~np.isnan(expected)])
    table = pd.DataFrame(rows).astype(KIND)
    decisions, correction = _decided(workspace, data, expected)
    watched = Watched(
        version=version,
        month=wanted,
        table=table,
        decisions=decisions,
        correction=correction,
        reference=reference,
        alarms=[],
        unjudged=_unjudged(rules.monitoring, table[(table["month"] == wanted) & (table["segment"] == WHOLE)]),
    )
    if watched.unjudged is None:
        watched.alarms.extend(_alarms(rules.monitoring, watched))
    return watched


def keep(workspace: Workspace, watched: Watched) -> Path:
    """Write the table as Parquet, the month's measures to the version's run in MLflow, and what counts as drift."""
    path = workspace.paths.monitoring / f"{watched.version.bundle.version}.parquet"
    with replacing(path) as temporary:
        watched.table.to_parquet(temporary, index=False)
    _log(watched)
    retraining.remember(workspace, watched.month, watched.version.number, watched.alarms)
    for alarm in watched.alarms:
        say(f"monitor: {alarm['zh']} · {alarm['en']}")
    return path


def _month(
    rules: Stewardship,
    version: Version,
    data: TrainingSet,
    month: str,
    chosen: np.ndarray,
    probability: np.ndarray,
    before: pd.DataFrame,
    expected: np.ndarray,
) -> Iterable[dict[str, Any]]:
    """All measures of one month; the rows ``chosen`` of ``data`` have these probabilities.

    Features are held against ``before``, which the version learnt from, scores against the test's ``expected``. So many
    features are in memory at a time as make a batch.
    """
    labels = data.labels[chosen]
    seen = bool((data.times[chosen] <= np.datetime64(version.seen_until or "1900-01-01")).any())
    common = {"month": month, "seen": seen}
    size = {"rows": len(labels), "defaults": int(labels.sum())}

    def row(metric: str, number: float | None, segment: str = WHOLE, value: str = WHOLE) -> dict[str, Any]:
        stands = np.nan if number is None else float(number)
        return {**common, "segment": segment, "value": value, "metric": metric, "number": stands, **size}

    cut = versions.cut_off(version.bundle)
    yield row("observed", labels.mean())
    yield row("expected", probability.mean())
    yield row("approved", (probability <= cut).mean())
    if len(np.unique(labels)) == CLASSES:
        found = metrics.measure(labels, probability)
        for name in metrics.Metrics.__dataclass_fields__:
            yield row(name, getattr(found, name))
    moved = stability.psi(expected, probability)
    yield row("score_psi", moved.value)
    yield row("score_psi_excess", moved.excess)
    together = memory.rows_at_once(len(chosen))
    for start in range(0, len(data.feature_names), together):
        names = data.feature_names[start : start + together]
        for name, shift in stability.of_features(before, data.take(names, chosen), names).items():
            yield row("psi", shift.value, FEATURES, name)
            yield row("psi_excess", shift.excess, FEATURES, name)
    of_segments = [s.column for s in rules.segments if s.column in data.feature_names]
    grouped = data.take(of_segments or data.feature_names[:1], chosen)
    for group in groups(rules.segments, grouped, labels, probability, cut):
        size = {"rows": group.rows, "defaults": group.defaults}
        for name in ("auc", "observed", "expected", "approved", "error"):
            yield row(name, getattr(group, name), group.segment, group.value)


def _unjudged(rules: Monitoring, whole: pd.DataFrame) -> dict[str, str] | None:
    """Why nothing can be said of a month by its measures ``whole``; ``None`` where something can."""
    if whole.empty:
        return {"zh": "该月样本均无数据", "en": "no source has data on anybody of this month"}
    rows, least = int(whole["rows"].max()), rules.minimum_rows
    if whole["seen"].any():
        return {"zh": "模型学习过该月样本", "en": "the version has learnt from this month"}
    if rows < least:
        return {"zh": f"该月仅 {rows} 笔结果，少于 {least} 笔", "en": f"{rows} outcomes only, of at least {least}"}
    return None


def _alarms(rules: Monitoring, watched: Watched) -> list[dict[str, str]]:
    """What of the month is drift, in both languages."""
    rows = watched.table[watched.table["month"] == watched.month]
    whole = rows[rows["segment"] == WHOLE]
    month = watched.month
    found = []
    psi, excess = watched.of(month, "score_psi"), watched.of(month, "score_psi_excess")
    if excess is not None and excess > rules.maximum_score_psi:
        found.append({"zh": f"{month} 评分 PSI {psi:.3f} 过高", "en": f"{month}: the PSI of the score is {psi:.3f}"})
    moved = rows[(rows["segment"] == FEATURES) & (rows["metric"] == "psi_excess")]
    features = len(moved)
    moved = moved[moved["number"] > rules.maximum_feature_psi].sort_values("number", ascending=False)
    if len(moved) > rules.maximum_moved_share * features:
        names = ", ".join(moved["value"].head(NAMED))
        found.append(
            {
                "zh": f"{month} 有 {len(moved)} 个特征漂移：{names}",
                "en": f"{month}: {len(moved)} features moved: {names}",
            }
        )
    if int(whole["defaults"].max()) < rules.minimum_defaults:
        return found
    auc, spread = watched.of(month, "auc"), watched.of(month, "auc_spread") or 0.0
    limit = watched.reference.auc - rules.maximum_auc_loss
    if auc is not None and auc + STANDARD_ERRORS * spread < limit:
        text = f"{month}: AUC {auc:.3f} is below {limit:.3f}"
        found.append({"zh": f"{month} AUC {auc:.3f} 低于 {limit:.3f}", "en": text})
    ece, chance = watched.of(month, "ece"), watched.of(month, "ece_by_chance") or 0.0
    if ece is not None and ece - chance > rules.maximum_calibration_error:
        found.append({"zh": f"{month} 校准误差 {ece:.3f}", "en": f"{month}: the calibration error is {ece:.3f}"})
    return found


def _decided(workspace: Workspace, data: TrainingSet, expected: np.ndarray) -> tuple[pd.DataFrame, Corrected | None]:
    """What the endpoint decided in each month, and measures on what became of it; one month is in memory at a time."""
    outcomes = decided.outcomes(workspace, data)
    rows, known = [], [decided.empty()[[LABEL, "probability", "propensity"]]]
    for month, frame in decided.by_month(workspace):
        made = decided.with_outcomes(frame, outcomes)
        rows.append(_decisions_of(month, made, expected))
        known.append(made.loc[made[LABEL].notna() & (made["propensity"] > 0), known[0].columns])
    followed = pd.concat([part for part in known if len(part)] or known[:1]).dropna()
    correction = corrected(
        followed[LABEL].to_numpy(dtype=int),
        followed["probability"].to_numpy(dtype=float),
        followed["propensity"].to_numpy(dtype=float),
    )
    return pd.DataFrame(rows), correction


def _decisions_of(month: str, made: pd.DataFrame, expected: np.ndarray) -> dict[str, Any]:
    """Counts and shares of one month's decisions, and how the applicants' scores compare with the test's."""
    shadowed = made.dropna(subset=["shadow_probability"])
    agrees = shadowed["outcome"].eq(shadowed["shadow_outcome"])
    scores = made["probability"].dropna().to_numpy(dtype=float)
    return {
        "month": month,
        "decisions": len(made),
        "approved": float(made["outcome"].eq("approve").mean()),
        "challenger": int(made["alias"].eq("challenger").sum()),
        "lots": int(made["lot_drawn"].fillna(0).sum()),
        "lots_granted": int(made["lot_granted"].fillna(0).sum()),
        "shadowed": len(shadowed),
        "shadow_agrees": float(agrees.mean()) if len(shadowed) else np.nan,
        "score_psi": stability.psi(expected, scores).value if len(scores) else np.nan,
        "outcomes": int(made[LABEL].notna().sum()),
    }


def _log(watched: Watched) -> None:
    """The month's measures as metrics of the version's run: the month is the step, and is logged once."""
    step = int(watched.month.replace("-", ""))
    client, run = watched.version.client, watched.version.run_id
    rows = watched.table
    chosen = rows[(rows["month"] == watched.month) & (rows["segment"] == WHOLE) & rows["number"].notna()]
    if any(old.step == step for old in client.get_metric_history(run, "monitor_observed")):
        return
    for name, number in zip(chosen["metric"], chosen["number"], strict=True):
        client.log_metric(run, f"monitor_{name}", float(number), step=step)
