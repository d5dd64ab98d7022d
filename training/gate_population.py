"""The gate's checks on populations: is the score stable, and does it treat groups of enterprises alike?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from credit301.model import stewardship
from credit301.model.scorer import Scorer
from training import stability
from training.frames import matrix
from training.gate_result import LABEL, Check
from training.groups import Group, groups

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from training.gate_checks import Candidate
    from training.gate_rules import Fairness

NOT_ASKED = "not asked for"
TWO_ERRORS = 2.0


def run(candidate: Candidate, scorer: Scorer, vectors: np.ndarray) -> list[Check]:
    """Stability against training and champion, and fairness.

    Args:
        candidate: the version.
        scorer: its scorer.
        vectors: the tested rows in the scorer's plan.
    """
    scores = scorer.probabilities(vectors)
    known = ~np.isnan(scores)
    return [
        _against_training(candidate, scorer, scores[known]),
        _against_champion(candidate, scores[known]),
        *_fairness(candidate, scores[known], known),
    ]


def _scored(scorer: Scorer, rows: pd.DataFrame) -> np.ndarray:
    """Probabilities of the rows on which a source has data."""
    scores = scorer.probabilities(matrix(scorer, rows))
    return scores[~np.isnan(scores)]


def _against_training(candidate: Candidate, scorer: Scorer, scores: np.ndarray) -> Check:
    rules, reference = candidate.rules.stability, candidate.reference
    if rules is None:
        return _passed("stability_training", "-", NOT_ASKED)
    if reference is None or not len(reference):
        return _passed("stability_training", "-", "tested by folds")
    moved = stability.psi(_scored(scorer, reference), scores)
    return _psi_check("stability_training", moved, rules.maximum_score_psi, "训练样本", "the training rows")


def _against_champion(candidate: Candidate, scores: np.ndarray) -> Check:
    rules = candidate.rules.stability
    if rules is None:
        return _passed("stability_champion", "-", NOT_ASKED)
    if candidate.champion is None:
        return _passed("stability_champion", "-", "no champion yet")
    moved = stability.psi(_scored(Scorer(candidate.champion), candidate.rows), scores)
    return _psi_check("stability_champion", moved, rules.maximum_champion_psi, "现任冠军", "the champion")


def _psi_check(name: str, moved: stability.Psi, limit: float, zh: str, en: str) -> Check:
    passed = moved.excess <= limit
    return Check(
        name,
        passed=passed,
        value=f"{moved.value:.4f}",
        limit=f"<= {limit:g} beyond chance",
        zh="" if passed else f"评分分布相对{zh}漂移，PSI {moved.value:.3f} 高于上限 {limit:g}",
        en="" if passed else f"the scores have moved against {en}: PSI {moved.value:.3f} is above {limit:g}",
    )


def _fairness(candidate: Candidate, scores: np.ndarray, known: np.ndarray) -> Iterable[Check]:
    rules = candidate.rules.fairness
    names = ("fairness_approval", "fairness_auc", "fairness_calibration")
    segments = stewardship.load(candidate.workspace).segments
    cut_off = candidate.bundle.manifest.cut_off
    if rules is None or not segments or cut_off is None:
        return [_passed(name, "-", NOT_ASKED) for name in names]
    rows = candidate.rows[known]
    found = groups(segments, rows, rows[LABEL].to_numpy(), scores, float(cut_off))
    return [_approval(rules, found), _ranking(rules, found), _calibration(rules, found)]


def _approval(rules: Fairness, found: list[Group]) -> Check:
    """Of those who paid, the share that the score lets pass, in the worst group over that in its segment as a whole."""
    ratios = []
    for segment, members in _by_segment(found).items():
        judged = [g for g in members if g.rows >= rules.minimum_rows and g.good_approved is not None]
        good = sum(g.rows - g.defaults for g in members)
        whole = sum((g.rows - g.defaults) * (g.good_approved or 0.0) for g in members) / max(good, 1)
        ratios += [((g.good_approved or 0.0) / whole, segment, g) for g in judged if whole > 0]
    worst = min(ratios, default=None, key=lambda item: item[0])
    if worst is None:
        return _passed("fairness_approval", "-", "no group is large enough")
    ratio, segment, group = worst
    limit = rules.minimum_approval_ratio
    passed = ratio >= limit
    return Check(
        "fairness_approval",
        passed=passed,
        value=f"{ratio:.3f} ({group.value})",
        limit=f">= {limit:g}",
        zh="" if passed else f"{segment}={group.value} 的守约企业通过率仅为整体的 {ratio:.2f}，低于 {limit:g}",
        en="" if passed else f"payers of {segment}={group.value} pass {ratio:.2f} as often as all, below {limit:g}",
    )


def _ranking(rules: Fairness, found: list[Group]) -> Check:
    """How far the worst group's AUC is below the best's of its segment, beyond two standard errors."""
    gaps = []
    for segment, members in _by_segment(found).items():
        judged = [
            g
            for g in members
            if g.rows >= rules.minimum_rows and g.defaults >= rules.minimum_defaults and g.auc is not None
        ]
        if len(judged) > 1:
            low, high = (choose(judged, key=lambda g: g.auc or 0.0) for choose in (min, max))
            chance = TWO_ERRORS * float(np.hypot(high.auc_error, low.auc_error))
            gaps.append(((high.auc or 0.0) - (low.auc or 0.0) - chance, segment, low))
    worst = max(gaps, default=None, key=lambda item: item[0])
    if worst is None:
        return _passed("fairness_auc", "-", "no two groups are large enough")
    gap, segment, group = worst
    limit = rules.maximum_auc_gap
    passed = gap <= limit
    return Check(
        "fairness_auc",
        passed=passed,
        value=f"{max(gap, 0.0):.3f} ({group.value})",
        limit=f"<= {limit:g} beyond chance",
        zh="" if passed else f"{segment}={group.value} 的 AUC 比同类最高者低 {gap:.3f}，超过 {limit:g}",
        en="" if passed else f"AUC of {segment}={group.value} is {gap:.3f} below the best group's, beyond {limit:g}",
    )


def _calibration(rules: Fairness, found: list[Group]) -> Check:
    """How far the defaults of a group are from its predictions, beyond two standard errors."""
    judged = [g for g in found if g.rows >= rules.minimum_rows]
    if not judged:
        return _passed("fairness_calibration", "-", "no group is large enough")
    excess, group = max(
        ((abs(g.observed - g.expected) - TWO_ERRORS * g.error, g) for g in judged), key=lambda item: item[0]
    )
    limit = rules.maximum_calibration_gap
    passed = excess <= limit
    observed, expected, named = f"{group.observed:.3f}", f"{group.expected:.3f}", f"{group.segment}={group.value}"
    return Check(
        "fairness_calibration",
        passed=passed,
        value=f"{max(excess, 0.0):.4f} ({group.value})",
        limit=f"<= {limit:g} beyond chance",
        zh="" if passed else f"{named} 预测违约率 {expected}，实际 {observed}，偏差超过 {limit:g}",
        en="" if passed else f"{named}: {expected} predicted, {observed} seen, beyond {limit:g}",
    )


def _by_segment(found: list[Group]) -> dict[str, list[Group]]:
    by: dict[str, list[Group]] = {}
    for group in found:
        by.setdefault(group.segment, []).append(group)
    return by


def _passed(name: str, value: str, limit: str) -> Check:
    return Check(name, passed=True, value=value, limit=limit)
