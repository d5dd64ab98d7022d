"""The checks of the gate, each a function from what is known of a version to a :class:`Check`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from credit301.contracts.model import Classification
from credit301.errors import Credit301Error
from credit301.model.scorer import Scorer
from credit301.strategy.folder import load_all
from training import bundling, gate_population, metrics
from training.frames import columns, matrix
from training.gate_result import LABEL, Check

if TYPE_CHECKING:
    import pandas as pd

    from credit301.model.bundle import Bundle
    from credit301.workspace import Workspace
    from training.gate_rules import Rules

PARITY = 1e-9
LATENCY_CALLS = 200


@dataclass(frozen=True)
class Candidate:
    """A version under examination: its verified bundle, the tested rows, and the champion's bundle, if there is one.

    ``predict`` is the registered MLflow model: raw features to a frame with ``probability``. ``reference``: rows that
    it learnt from, ``None`` where it was tested by folds, on those same rows.
    """

    workspace: Workspace
    rules: Rules
    bundle: Bundle
    rows: pd.DataFrame
    predict: Callable[[pd.DataFrame], pd.DataFrame]
    champion: Bundle | None
    reference: pd.DataFrame | None = None

    @property
    def recorded(self) -> dict[str, Any]:
        """What training's evaluation found, from the bundle."""
        return self.bundle.manifest.metrics


def run(candidate: Candidate) -> list[Check]:
    """All checks but that of the bundle's integrity, which comes before there is a candidate."""
    scorer = Scorer(candidate.bundle)
    vectors = matrix(scorer, candidate.rows)
    found = measure(candidate, candidate.bundle)
    return [
        *_quality(candidate.rules, found),
        _brier(candidate, found),
        _champion(candidate, found),
        _parity(candidate, scorer, vectors),
        *_speed(candidate.rules, scorer, vectors),
        *gate_population.run(candidate, scorer, vectors),
        _lost_sources(scorer, vectors),
        _plan(candidate),
        _forbidden(candidate),
        _strategies(candidate),
    ]


def measure(candidate: Candidate, bundle: Bundle) -> metrics.Metrics:
    """Measures of ``bundle`` on the tested rows.

    Where training tested by folds, the shipped model has seen these rows: then what the nested evaluation recorded.
    """
    if bundle.manifest.metrics.get("nested"):
        return metrics.Metrics(*(float(bundle.manifest.metrics[name]) for name in metrics.Metrics.__dataclass_fields__))
    return _measured(candidate, _probabilities(candidate, bundle))


def _probabilities(candidate: Candidate, bundle: Bundle) -> np.ndarray:
    """What ``bundle`` says on the tested rows, shape (rows,); NaN where no source has any data."""
    scorer = Scorer(bundle)
    return scorer.probabilities(matrix(scorer, candidate.rows))


def _measured(candidate: Candidate, probability: np.ndarray) -> metrics.Metrics:
    known = ~np.isnan(probability)
    return metrics.measure(candidate.rows[LABEL].to_numpy()[known], probability[known])


def _quality(rules: Rules, found: metrics.Metrics) -> Iterable[Check]:
    yield _bound("auc_floor", found.auc, rules.minimum_auc, "AUC", above=True)
    leak = ("，疑似标签泄漏", ": a leak is likely")
    yield _bound("auc_ceiling", found.auc, rules.maximum_auc, "AUC", above=False, why=leak)
    yield _bound("ks_floor", found.ks, rules.minimum_ks, "KS", above=True)
    by_chance = (f"（已扣除随机误差 {found.ece_by_chance:.4f}）", f", beyond the {found.ece_by_chance:.4f} of chance")
    excess = found.ece - found.ece_by_chance
    limit = rules.maximum_calibration_error
    yield _bound("calibration_error", excess, limit, "ECE", above=False, why=by_chance)


def _bound(name: str, value: float, limit: float, label: str, *, above: bool, why: tuple[str, str] = ("", "")) -> Check:
    passed = value >= limit if above else value <= limit
    sign = ">=" if above else "<="
    if passed:
        return Check(name, passed=True, value=f"{value:.4f}", limit=f"{sign} {limit:g}")
    zh = f"{label} {value:.4f} {'低于下限' if above else '高于上限'} {limit:g}{why[0]}"
    en = f"{label} {value:.4f} is {'below the floor' if above else 'above the ceiling'} of {limit:g}{why[1]}"
    return Check(name, passed=False, value=f"{value:.4f}", limit=f"{sign} {limit:g}", zh=zh, en=en)


def _brier(candidate: Candidate, found: metrics.Metrics) -> Check:
    rate = float(candidate.rows[LABEL].mean())
    ratio = found.brier / max(rate * (1 - rate), 1e-12)
    return _bound("brier", ratio, candidate.rules.maximum_brier_ratio, "Brier / Brier(rate)", above=False)


def _champion(candidate: Candidate, found: metrics.Metrics) -> Check:
    """Not worse than the champion on the same rows; where it has learnt from them, than what it once was."""
    champion = candidate.champion
    if champion is None:
        return Check("champion", passed=True, value=f"{found.auc:.4f}", limit="no champion yet")
    before = champion.manifest.metrics
    unseen = str(before.get("learnt_until", "")) <= str(candidate.recorded.get("test_from", ""))
    same_test = not before.get("nested") and not candidate.recorded.get("nested") and unseen
    auc, chance = _on_same_rows(candidate, champion) if same_test else (float(before["auc"]), 0.0)
    limit = auc - candidate.rules.maximum_auc_loss - chance
    passed = found.auc >= limit
    where_zh, where_en = ("同一测试集", "on the same test") if same_test else ("其自身测试", "on its own test")
    return Check(
        "champion",
        passed=passed,
        value=f"{found.auc:.4f}",
        limit=f">= {limit:.4f} (champion {auc:.4f} {where_en}, {chance:.4f} may be chance)",
        zh="" if passed else f"AUC {found.auc:.4f} 低于现任冠军（{where_zh} {auc:.4f}）超过容差",
        en="" if passed else f"AUC {found.auc:.4f} is too far below the champion's {auc:.4f} {where_en}",
    )


def _on_same_rows(candidate: Candidate, champion: Bundle) -> tuple[float, float]:
    """The champion's AUC on the tested rows, and two standard errors of the difference between both on them."""
    labels = candidate.rows[LABEL].to_numpy()
    ours, theirs = (_probabilities(candidate, bundle) for bundle in (candidate.bundle, champion))
    known = ~np.isnan(ours) & ~np.isnan(theirs)
    error = metrics.auc_difference(labels[known], ours[known], theirs[known])[1]
    return _measured(candidate, theirs).auc, 0.0 if np.isnan(error) else 2 * error


def _parity(candidate: Candidate, scorer: Scorer, vectors: np.ndarray) -> Check:
    count = min(candidate.rules.parity_rows, len(vectors))
    features = candidate.rows.iloc[:count][columns(scorer.plan)]
    predicted = candidate.predict(features)["probability"].to_numpy(dtype=float)
    blank = np.isnan(vectors[:count]).all(axis=1)
    expected = np.array(
        [np.nan if empty else scorer.score(v).probability for v, empty in zip(vectors, blank, strict=False)]
    )
    same = np.isnan(predicted) == np.isnan(expected)
    difference = float(np.nanmax(np.abs(predicted - expected), initial=0.0)) if same.all() else float("inf")
    passed = difference <= PARITY
    return Check(
        "parity",
        passed=passed,
        value=f"{difference:.1e}",
        limit=f"<= {PARITY:g} on {count} rows",
        zh="" if passed else f"MLflow 模型与评分器结果不一致（相差 {difference:.1e}）",
        en="" if passed else f"the MLflow model and the scorer disagree by {difference:.1e}",
    )


def _speed(rules: Rules, scorer: Scorer, vectors: np.ndarray) -> Iterable[Check]:
    """One row at a time, with its contributions, as the endpoint scores: the slowest and the usual.

    In processor time of the thread: what else the gate's machine does is not the model's fault.
    """
    known = vectors[~np.isnan(vectors).all(axis=1)]
    scorer.score(known[0])  # what is made at the first call is made before the first applicant comes
    taken = []
    for call in range(LATENCY_CALLS):
        start = time.thread_time()
        scorer.score(known[call % len(known)])
        taken.append((time.thread_time() - start) * 1000)
    p99, usual = float(np.percentile(taken, 99)), float(np.median(taken)) * 1000
    passed = p99 <= rules.maximum_latency_ms_p99
    yield Check(
        "latency",
        passed=passed,
        value=f"{p99:.2f} ms (p99)",
        limit=f"<= {rules.maximum_latency_ms_p99:g} ms",
        zh="" if passed else f"单笔评分耗时 {p99:.1f} 毫秒（p99）超过上限",
        en="" if passed else f"one row takes {p99:.1f} ms (p99), above the ceiling",
    )
    most = rules.maximum_microseconds_per_row
    passed = most is None or usual <= most
    yield Check(
        "speed",
        passed=passed,
        value=f"{usual:.0f} µs (p50)",
        limit=gate_population.NOT_ASKED if most is None else f"<= {most:g} µs",
        zh="" if passed else f"单笔评分通常耗时 {usual:.0f} 微秒，高于上限 {most:g}",
        en="" if passed else f"one row usually takes {usual:.0f} µs, above the ceiling of {most:g}",
    )


def _lost_sources(scorer: Scorer, vectors: np.ndarray) -> Check:
    """With any one source lost, every row that another source knows still gets a probability between 0 and 1."""
    failed = []
    for view in scorer.bundle.manifest.views:
        lost = vectors.copy()
        lost[:, [index for index, key in enumerate(scorer.plan) if key.startswith(f"{view.name}:")]] = np.nan
        probability = scorer.probabilities(lost)[scorer.known(lost)]
        if not ((probability > 0) & (probability < 1)).all():
            failed.append(view.name)
    return Check(
        "lost_sources",
        passed=not failed,
        value=f"{len(scorer.bundle.manifest.views) - len(failed)} of {len(scorer.bundle.manifest.views)}",
        limit="all",
        zh=f"缺少数据源时无法评分：{'、'.join(failed)}" if failed else "",
        en=f"no score without {', '.join(failed)}" if failed else "",
    )


def _plan(candidate: Candidate) -> Check:
    """The features that the bundle reads are those of the contracts, name by name and meaning by meaning."""
    manifest = candidate.bundle.manifest
    mine = {f"{view.name}:{feature.name}" for view in manifest.views for feature in view.features}
    now = {f"{c.name}:{feature.name}" for c in candidate.workspace.featured() for feature in c.features}
    differing = sorted(mine ^ now)
    same = not differing and manifest.feature_version == bundling.feature_version(candidate.workspace)
    names = ", ".join(differing[:5]) or "definitions"
    return Check(
        "feature_plan",
        passed=same,
        value=manifest.feature_version,
        limit=bundling.feature_version(candidate.workspace),
        zh="" if same else f"特征与现行数据契约不一致：{names}，请重新训练",
        en="" if same else f"the contracts' features have changed since training ({names}): train again",
    )


def _forbidden(candidate: Candidate) -> Check:
    words = candidate.rules.forbidden_features
    found = []
    for contract in candidate.workspace.featured():
        personal = {column.name for column in contract.columns if column.classification is Classification.PERSONAL}
        for feature in contract.features:
            named = {feature.name, *feature.reads}
            if feature.tells & personal or any(word in name for word in words for name in named):
                found.append(f"{contract.name}:{feature.name}")
    known = {f"{view.name}:{f.name}" for view in candidate.bundle.manifest.views for f in view.features}
    found += [key for key in sorted(known - set(found)) if any(word in key.split(":")[1] for word in words)]
    used = [key for key in found if key in known]
    return Check(
        "forbidden_attributes",
        passed=not used,
        value=", ".join(used) or "none",
        limit="none",
        zh=f"使用了禁用属性：{'、'.join(used)}" if used else "",
        en=f"forbidden attributes are used: {', '.join(used)}" if used else "",
    )


def _strategies(candidate: Candidate) -> Check:
    """Whether the workspace's strategies hold, and read nothing that the version has not got."""
    manifest = candidate.bundle.manifest
    there = {f"{view.name}:{feature.name}" for view in manifest.views for feature in view.features}
    try:
        made = load_all(candidate.workspace)
    except Credit301Error as error:
        return _unfit("invalid", f"策略无效：{error}", str(error))
    missing = sorted({key for strategy in made for key in strategy.features()} - there - {*manifest.windows})
    if missing:
        names = ", ".join(missing)
        return _unfit("unfit", f"策略读取了模型没有的特征：{names}", f"a strategy reads what it has not: {names}")
    return Check("strategies", passed=True, value="valid", limit="valid")


def _unfit(value: str, zh: str, en: str) -> Check:
    return Check("strategies", passed=False, value=value, limit="valid", zh=zh, en=en)
