"""What each method of reject inference is worth here: declines are played through on rows whose outcomes are known.

A bank of old is put before the training rows: it declines a share of them by a score of its own and by what its people
see. The outcomes of these are hidden; each method trains on what is left; then every model is held against *all* who
applied in the test's time, declined or not, beside the model of the accepted alone and one that knew every outcome.

Two banks: one declines by the score and by chance (what the columns tell explains it), the other's people also see
something of the outcome itself that no column tells (Heckman 1979): columns alone cannot make that good.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import logit
from threadpoolctl import threadpool_limits

from credit301.console import say
from credit301.errors import ModelError
from training import fitting, metrics, rejects, splits
from training.dataset import LABEL, TrainingSet, evenly
from training.rejects import Method, Population
from training.rows import OnDisk
from training.splits import Fold, Plan

if TYPE_CHECKING:
    from credit301.workspace import Workspace
    from training.fitting import FittedEnsemble
    from training.specs import ModelSpec

FILE = "reject_inference.json"
MOST_ROWS = 30_000
CHANCE, INSIGHT = 0.5, 0.5
"""Deviation of what the old bank's people add by chance, and how far the outcome itself shows to those who look; both
in deviations of the old score."""

BANKS = {
    "by_score": {"zh": "按旧评分与随机因素拒绝", "en": "declined by an old score and by chance"},
    "by_insight": {"zh": "信贷员还看到数据之外的情况", "en": "its people also see what no column tells"},
}
ACCEPTED, ORACLE, WITH_LOTS = "accepted_only", "all_outcomes", "fuzzy_with_lots"
TITLES = {
    ACCEPTED: {"zh": "仅用已放款样本", "en": "accepted only"},
    Method.FUZZY.value: {"zh": "模糊扩增", "en": "fuzzy augmentation"},
    Method.PARCELLING.value: {"zh": "分段推断", "en": "parcelling"},
    Method.REWEIGHT.value: {"zh": "接受概率倒数加权（估计）", "en": "inverse probability of acceptance, estimated"},
    Method.LANE.value: {"zh": "随机准入加权（概率已知）", "en": "accept lane, probabilities known"},
    WITH_LOTS: {"zh": "模糊扩增加随机准入结果", "en": "fuzzy augmentation with the lots' outcomes"},
    ORACLE: {"zh": "全部结果已知", "en": "every outcome known"},
}


@dataclass(frozen=True)
class Row:
    """One model on all who applied: ``difference`` of its AUC from the accepted-only model's, and its ``error``."""

    bank: str
    method: str
    auc: float
    ks: float
    brier: float
    ece: float
    predicted: float
    observed: float
    difference: float
    error: float


@dataclass(frozen=True)
class Played:
    """Who of the training rows the old bank lent to, and whom of the declined a lot lent to; both ascending rows."""

    accepted: np.ndarray
    declined: np.ndarray
    lots: np.ndarray


def study(
    workspace: Workspace,
    data: TrainingSet,
    specs: tuple[ModelSpec, ...],
    *,
    declined: float = 0.3,
    lane: float = 0.05,
) -> dict[str, Any]:
    """Train by every method and measure; the figures as they are kept.

    Args:
        workspace: its split and contracts.
        data: labelled rows with data of some source.
        specs: what is learnt from.
        declined: share of the applications that the old bank declines.
        lane: share of these that a lot lends to.

    Raises:
        ModelError: the split is by folds, the rows are on disk, or too few would be left.
    """
    if isinstance(data.rows, OnDisk):
        raise ModelError("The study has its rows in memory. 评估须在内存中进行。", hint="Allow more memory.")
    if len(data) > MOST_ROWS:
        data = data.where(np.isin(np.arange(len(data)), evenly(np.arange(len(data)), MOST_ROWS)))
    split = workspace.definition.split
    if split is None:
        raise ModelError("The workspace declares no split. 未声明样本划分。", hint="Add split to its workspace.yaml.")
    plan = splits.plan(data, split)
    if plan.nested:
        raise ModelError(
            "The study needs a split by time or by sides. 评估需要按时间或按两侧划分。",
            hint="Set split in workspace.yaml to kind: time, or to a column of sides.",
        )
    with threadpool_limits(1):
        fit = partial(_fit, specs, workspace.settings.cpu_threads)
        tested = _Tested(workspace, data, plan, fit)
        rows = []
        oracle = tested.of(data, plan)
        for bank in BANKS:
            played = play(workspace, data, plan, specs, bank, declined=declined, lane=lane)
            rows += _of_bank(workspace, data, plan, specs, bank, played, tested, oracle)
    fold = plan.repeats[0][0]
    return {
        "declined_share": declined,
        "lane_share": lane,
        "train_rows": len(fold.train),
        "test_rows": len(fold.test),
        "test_defaults": int(data.labels[fold.test].sum()),
        "rows": [asdict(row) | {"title": TITLES[row.method], "bank_title": BANKS[row.bank]} for row in rows],
    }


def play(
    workspace: Workspace,
    data: TrainingSet,
    plan: Plan,
    specs: tuple[ModelSpec, ...],
    bank: str,
    *,
    declined: float,
    lane: float,
) -> Played:
    """Let the old bank decide on the training rows, each scored by the other half's model; the same each time."""
    train, random = plan.repeats[0][0].train, np.random.default_rng(plan.seed)
    score = np.zeros(len(data))
    for half in splits.grouped_folds(data, train, 2, plan.seed):
        fitted = _fit(specs, workspace.settings.cpu_threads, data, half.train, plan)
        asked = data.where(np.isin(np.arange(len(data)), half.test))
        score[half.test] = logit(rejects.probabilities(workspace, data, half, fitted, asked))
    seen = (score[train] - score[train].mean()) / max(float(score[train].std()), 1e-9)
    seen = seen + random.normal(0.0, CHANCE, len(train))
    if bank == "by_insight":
        seen = seen + INSIGHT * data.labels[train]
    refused = seen > np.quantile(seen, 1 - declined)
    drawn = refused & (random.random(len(train)) < lane)
    return Played(train[~refused], train[refused & ~drawn], train[drawn])


def words(found: dict[str, Any]) -> dict[str, str]:
    """What the figures say, in each language: for each bank whether any method is above the accepted-only model."""
    zh, en = [], []
    for bank, title in BANKS.items():
        rows = [row for row in found["rows"] if row["bank"] == bank and row["method"] not in {ACCEPTED, ORACLE}]
        better = [row for row in rows if row["difference"] > 2 * row["error"]]
        worse = [row for row in rows if row["difference"] < -2 * row["error"]]
        oracle = next(row for row in found["rows"] if row["bank"] == bank and row["method"] == ORACLE)
        gap = oracle["difference"]
        said_zh, said_en = _listed(better, "zh"), _listed(better, "en")
        zh.append(
            f"{title['zh']}：知道全部结果时 AUC 比仅用已放款样本高 {gap:+.4f} ± {oracle['error']:.4f}；"
            + (f"超出随机误差更好的方法：{said_zh}。" if better else "没有方法超出随机误差地更好。")
            + (f"更差：{_listed(worse, 'zh')}。" if worse else "")
        )
        en.append(
            f"{title['en'].capitalize()}: knowing every outcome is worth {gap:+.4f} +- {oracle['error']:.4f} AUC over "
            "the accepted alone; "
            + (f"better beyond chance: {said_en}." if better else "no method is better beyond chance.")
            + (f" Worse: {_listed(worse, 'en')}." if worse else "")
        )
        calm = min(rows, key=lambda row: abs(row["predicted"] - row["observed"]))
        before = next(row for row in found["rows"] if row["bank"] == bank and row["method"] == ACCEPTED)
        zh.append(
            f"对全部申请人，仅用已放款样本预测违约率 {before['predicted']:.2%}，实际 {before['observed']:.2%}；"
            f"最接近的是{calm['title']['zh']}（{calm['predicted']:.2%}）。"
        )
        en.append(
            f"Of all who applied the accepted-only model expects {before['predicted']:.2%} to default, "
            f"{before['observed']:.2%} did; nearest is {calm['title']['en']} ({calm['predicted']:.2%})."
        )
    return {"zh": "".join(zh), "en": " ".join(en)}


class _Tested:
    """Fits on some rows and scores all who applied in the test's time."""

    def __init__(self, workspace: Workspace, data: TrainingSet, plan: Plan, fit: Any) -> None:
        self.fit = fit
        self._workspace = workspace
        rows = plan.repeats[0][0].test
        self._asked = data.where(np.isin(np.arange(len(data)), rows))
        self.labels = data.labels[rows]

    def of(self, data: TrainingSet, plan: Plan) -> np.ndarray:
        """Probabilities of the tested rows by a model of the training side of ``plan``, shape (tested rows,)."""
        fold = plan.repeats[0][0]
        fitted = self.fit(data, fold.train, plan)
        return rejects.probabilities(self._workspace, data, fold, fitted, self._asked)


def _of_bank(
    workspace: Workspace,
    data: TrainingSet,
    plan: Plan,
    specs: tuple[ModelSpec, ...],
    bank: str,
    played: Played,
    tested: _Tested,
    oracle: np.ndarray,
) -> list[Row]:
    alone, with_lots = population(data, plan, played, lots=False), population(data, plan, played, lots=True)
    said = {ACCEPTED: tested.of(alone.data, alone.plan)}
    for name, method, of in (
        *((method.value, method, alone) for method in (Method.FUZZY, Method.PARCELLING, Method.REWEIGHT)),
        (Method.LANE.value, Method.LANE, with_lots),
        (WITH_LOTS, Method.FUZZY, with_lots),
    ):
        try:
            found = rejects.infer(method, workspace, of, specs, tested.fit)
        except ModelError as error:
            say(f"{bank}, {name}: {error.message}")
            continue
        said[name] = tested.of(found.data, found.plan)
    said[ORACLE] = oracle
    return [_row(bank, name, tested.labels, p, said[ACCEPTED]) for name, p in said.items()]


def population(data: TrainingSet, plan: Plan, played: Played, *, lots: bool) -> Population:
    """What a training would see of the rows: the declined without their outcome, the lots' outcomes if ``lots``."""
    fold = plan.repeats[0][0]
    learnt = np.sort(np.concatenate([played.accepted, played.lots])) if lots else played.accepted
    kept = np.sort(np.concatenate([learnt, fold.test]))
    place = {row: index for index, row in enumerate(kept.tolist())}
    mapped = Fold(np.array([place[row] for row in learnt]), np.array([place[row] for row in fold.test]))
    propensity = np.ones(len(kept))
    drawn = len(played.lots) / max(1, len(played.lots) + len(played.declined))
    if lots:
        propensity[[place[row] for row in played.lots]] = drawn
    hidden = data.frame.iloc[played.declined].assign(**{LABEL: 0}).reset_index(drop=True)
    return Population(
        TrainingSet(data.frame.iloc[kept].reset_index(drop=True), data.entity),
        Plan(plan.kind, ((mapped,),), plan.folds, plan.seed, plan.embargo),
        TrainingSet(pd.DataFrame(hidden), data.entity),
        propensity,
    )


def _fit(specs: tuple[ModelSpec, ...], threads: int, data: TrainingSet, rows: np.ndarray, plan: Plan) -> FittedEnsemble:
    return fitting.fit(data, rows, plan, specs, threads=threads)


def _row(bank: str, name: str, labels: np.ndarray, p: np.ndarray, accepted: np.ndarray) -> Row:
    found = metrics.measure(labels, p)
    difference, error = metrics.auc_difference(labels, p, accepted)
    numbers = (found.auc, found.ks, found.brier, found.ece, p.mean(), labels.mean(), difference, error)
    return Row(bank, name, *(round(float(value), 6) for value in numbers))


def _listed(rows: list[dict[str, Any]], language: str) -> str:
    return ("、" if language == "zh" else ", ").join(f"{r['title'][language]} ({r['difference']:+.4f})" for r in rows)
