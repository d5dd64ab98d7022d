"""The table of models: for a person, for ``--metrics FILE`` and for MLflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd

from credit301.console import say, show_table
from credit301.errors import NotFound
from credit301.model.bundle import Scale
from training import verdict
from training.dataset import require_labels
from training.specs import column

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from credit301.workspace import Workspace
    from training.dataset import TrainingSet
    from training.evaluation import Evaluation

FILE = "training.json"
COLUMNS = ("name", "level", "auc", "auc_spread", "ks", "brier")
HEADINGS = ("model 模型", "level 层级", "AUC", "± AUC", "KS", "Brier")
REDUCED_HEADINGS = (
    "lost 缺失来源",
    "ensemble 集成 AUC",
    "one LightGBM trained without it 重训对照 AUC",
    "difference 差",
)
LEVELS = {"source": "数据源", "dimension": "维度", "ensemble": "集成", "baseline": "对照", "limit": "上限"}
TITLES = {
    "ensemble": {"zh": "集成模型", "en": "ensemble"},
    "one_lightgbm": {"zh": "全部字段单一 LightGBM", "en": "one LightGBM on all columns"},
    "logistic": {"zh": "逻辑回归", "en": "logistic regression"},
    "scorecard": {"zh": "评分卡", "en": "logistic scorecard (optbinning)"},
    "bayes_limit": {"zh": "模拟真值上限", "en": "the simulator's own probabilities"},
}
SAMPLED = (
    "加性模型、逻辑回归与评分卡从 {of:,} 行训练样本中均匀抽取 {rows:,} 行学习。"
    "The additive model, the logistic regression and the scorecard learnt from {rows:,} of {of:,} training rows."
)
LIMIT = {"name": "bayes_limit", "level": "limit", "title": TITLES["bayes_limit"]}


def summarize(workspace: Workspace, data: TrainingSet, evaluation: Evaluation) -> dict[str, Any]:
    """The results of a training: ``workspace``, ``rows``, ``test_rows``, ``split``, ``sources`` and ``models``.

    Beside them ``against`` each peer, the ``whole`` ensemble and, on the same rows, ``reduced`` to subsets of the
    sources, ``calibration``, the points' ``scale``.
    """
    models = [
        {
            "name": model.name,
            "level": model.level,
            "title": _title(workspace, model.level, model.name),
            **{name: round(float(getattr(model.metrics, name)), 6) for name in COLUMNS[2:]},
        }
        for model in evaluation.models
    ]
    return {
        "workspace": workspace.name,
        "rows": len(data),
        "test_rows": len(evaluation.rows),
        "split": _split(data, evaluation),
        "sampled": _sampled(data, evaluation),
        "sources": _sources(workspace, data, evaluation),
        "models": models,
        "against": verdict.against(evaluation),
        "whole": verdict.whole(evaluation),
        "reduced": verdict.reduced(evaluation),
        "calibration": verdict.calibration(evaluation),
        "scale": {name: getattr(Scale(), name) for name in Scale.__struct_fields__},
    }


def _title(workspace: Workspace, level: str, name: str) -> dict[str, str]:
    if level == "source":
        return workspace.source(name).title.model_dump()
    return workspace.definition.dimensions[name].model_dump() if level == "dimension" else TITLES[name]


def _sources(workspace: Workspace, data: TrainingSet, evaluation: Evaluation) -> list[dict[str, Any]]:
    """Of each source with features: on how many labelled rows it has data, and whether it got a model of its own."""
    trained = {source.model.spec.name for source in evaluation.fitted.sources}
    found = []
    for contract in workspace.featured():
        columns = [column(contract.name, feature.name) for feature in contract.features]
        rows = int(data.known(columns).sum())
        asked = contract.submodel is not None and contract.submodel.enabled
        model = "trained" if contract.name in trained else "too_few_outcomes" if asked else "not_asked_for"
        found.append(
            {"name": contract.name, "dimension": contract.dimension, "rows": rows, "share": rows / len(data)}
            | {"model": model}
        )
    return found


def _split(data: TrainingSet, evaluation: Evaluation) -> dict[str, Any]:
    """How the data was split, as numbers that a reader can check."""
    plan = evaluation.plan
    if plan.nested:
        folds = len(plan.repeats[0])
        return {"kind": plan.kind, "folds": folds, "repeats": len(plan.repeats), "seed": plan.seed}
    fold = plan.repeats[0][0]
    return {
        "kind": plan.kind,
        "train_rows": len(fold.train),
        "test_rows": len(fold.test),
        "train_until": data.span(fold.train)[1],
        "test_from": data.span(fold.test)[0],
        "test_defaults": int(data.labels[fold.test].sum()),
        **({"embargo": plan.embargo} if plan.kind == "time" else {}),
    }


def _sampled(data: TrainingSet, evaluation: Evaluation) -> dict[str, int] | None:
    """From how many of the training rows those learn that take them at once; ``None`` where it is all of them."""
    learnt = evaluation.plan.repeats[0][0].train
    return {"rows": data.sampled, "of": len(learnt)} if len(learnt) > data.sampled else None


def table(results: dict[str, Any]) -> dict[str, Any]:
    """Print the table of models of ``results`` (as :func:`summarize` made them) and give ``results`` back."""
    limit = results.get("limit")
    rows = [
        [
            " ".join(dict.fromkeys((model["name"], model["title"]["zh"]))),
            f"{model['level']} {LEVELS[model['level']]}",
            *(model[name] for name in COLUMNS[2:]),
        ]
        for model in [*results["models"], *([limit] if limit else [])]
    ]
    split = ", ".join(f"{name} {value}" for name, value in results["split"].items() if name != "kind")
    title = f"{results['workspace']}: {results['rows']} labelled 有标签样本, {results['test_rows']} tested 测试样本"
    show_table(f"{title}; split 划分 {results['split']['kind']}: {split}", HEADINGS, rows)
    show_reduced(results)
    if sampled := results.get("sampled"):
        say(SAMPLED.format(**sampled))
    for text in results.get("verdict", {}).values():
        say(text)
    return results


def show_reduced(results: dict[str, Any]) -> None:
    """Print what the ensemble is worth without each source, beside the peer trained without it."""
    lost = [item for item in results.get("reduced", []) if item["peer"] is not None]
    if lost:
        rows = [(item["lost"][0], item["auc"], item["peer"], round(item["auc"] - item["peer"], 6)) for item in lost]
        title = "without one source 缺一来源（不重训）"
        if whole := results.get("whole"):
            title = f"{title}; with all 不缺 {whole['auc']:.4f}"
        show_table(title, REDUCED_HEADINGS, rows)


def lost_sources(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Of what the ensemble was reduced to: where one source is lost, and of several."""
    return [item for item in results.get("reduced", []) if len(item["lost"]) == 1]


def write(workspace: Workspace, results: dict[str, Any], figures: dict[str, bytes]) -> Path:
    """Keep ``results`` and ``figures`` (PNG by name) among the workspace's reports; the path of the former."""
    folder = workspace.paths.reports
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in figures.items():
        (folder / name).write_bytes(content)
    path = folder / FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2))
    return path


def read(workspace: Workspace) -> dict[str, Any]:
    """The results of the last training.

    Raises:
        ModelError: the workspace declares no labels.
        NotFound: there was none.
    """
    require_labels(workspace)
    path = workspace.paths.reports / FILE
    if not path.is_file():
        raise NotFound(f"{workspace.name} has not been trained yet.", hint="Run: credit301 train.")
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def bayes_limit(workspace: Workspace, data: TrainingSet, rows: np.ndarray) -> dict[str, Any] | None:
    """Measures of the simulator's own probabilities on the tested ``rows``: what no model can beat but by luck.

    ``None`` where the city is not simulated here, or its truth does not cover every tested row.
    """
    files = sorted((workspace.paths.root / "city").glob("truth*.parquet"))
    if not files:
        return None
    from training.dataset import LABEL, TIME
    from training.metrics import measure

    key = [data.entity, TIME]
    truth = pd.concat([pd.read_parquet(file, columns=[data.entity, "decided_at", "true_pd"]) for file in files])
    truth = truth.rename(columns={"decided_at": TIME}).astype({TIME: "datetime64[us]"})
    # Two loans of one decision are one row of the training set, whose label is the worse of the two.
    paid = truth.assign(paid=1 - truth["true_pd"]).groupby(key)["paid"].prod().reset_index()
    joined = data.head.iloc[rows][[*key, LABEL]].merge(paid, on=key, how="left")
    if joined["paid"].isna().any():
        return None
    found = measure(joined[LABEL].to_numpy(), 1 - joined["paid"].to_numpy(dtype=float))
    return {**LIMIT, **{name: round(float(getattr(found, name)), 6) for name in COLUMNS[2:]}}
