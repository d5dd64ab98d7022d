"""The whole road in one call, for a workspace that is run by hand rather than by the scheduler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from credit301 import console, verbs
from credit301.derive.dbt import feature_model_name
from credit301.strategy.folder import FOLDER, folders
from credit301.workspace import Workspace

FORMAT = "credit301.metrics/1"
"""Layout of ``--metrics FILE``, described in docs/workspaces.md; a layout with other meanings gets another number."""
LANDED_KEYS = ("rows", "landed", "quarantined", "duplicates")
TRAINED_KEYS = ("rows", "test_rows", "split", "models")


def run(
    workspace: Workspace,
    metrics: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file as JSON. 同时写入该 JSON 文件。")
    ] = None,
    register: Annotated[
        bool, typer.Option(help="Register the models in the MLflow server. 在 MLflow 注册模型。")
    ] = False,
    docs: Annotated[bool, typer.Option(help="Also write the dbt docs. 同时生成 dbt 文档。")] = True,
) -> dict[str, Any]:
    """Pull, validate, build, make features, train, report; decide on whoever has no history. 全流程运行并输出指标。"""
    pulled: dict[str, dict[str, Any]] = {}
    for source in workspace.sources:
        console.say(f"== {source}: pull, validate, land 拉取、校验、入库")
        pulled |= verbs.call("ingest", workspace, source=source)
    console.say("== coverage and data docs 覆盖情况与数据质量页面")
    verbs.call("coverage", workspace)
    verbs.call("data_docs", workspace)
    console.say("== warehouse and features 数仓与特征")
    built = verbs.call("build", workspace, docs=docs)
    verbs.call("catalogue", workspace)
    trained = _train(workspace, register=register)
    if metrics is not None:
        figures = _figures(workspace, pulled, built, trained)
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.write_text(json.dumps(figures, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        console.say(f"figures: {metrics}")
    if trained is None:
        return {"features": sum(len(contract.features) for contract in workspace.featured())}
    if not folders(workspace):
        console.say(f"There is no strategy below {FOLDER}/: nobody is decided on. 未配置授信策略，不做决策。")
        return {"version": trained["version"]}
    console.say("== decisions on whoever has no history 对无履约历史者决策")
    return verbs.call("decide_all", workspace)


def _train(workspace: Workspace, *, register: bool) -> dict[str, Any] | None:
    """What ``train`` found, with its table printed; ``None`` where there is nothing to learn from."""
    if workspace.definition.labels is None:
        console.say("No labels are declared: features are made, nothing is trained. 未声明标签，不训练模型。")
        return None
    console.say("== training set 训练集")
    verbs.call("training_set", workspace)
    console.say("== models 模型")
    trained = verbs.call("train", workspace, register=register, force=True)
    verbs.call("report", workspace)
    return trained


def _figures(
    workspace: Workspace,
    pulled: dict[str, dict[str, Any]],
    built: dict[str, Any],
    trained: dict[str, Any] | None,
) -> dict[str, Any]:
    """What ``--metrics`` writes."""
    known = {source["name"]: source for source in trained["sources"]} if trained else {}
    sources = [
        {
            "name": contract.name,
            "dimension": contract.dimension,
            **{key: pulled[contract.name][key] for key in LANDED_KEYS},
            "feature_rows": built["rows"].get(feature_model_name(contract.name), 0),
            "labelled_rows": known.get(contract.name, {}).get("rows", 0),
            "labelled_share": round(known.get(contract.name, {}).get("share", 0.0), 6),
            "model": known.get(contract.name, {}).get("model", "not_asked_for"),
        }
        for contract in workspace.sources.values()
    ]
    empty: dict[str, Any] = {"rows": 0, "test_rows": 0, "split": None, "models": []}
    return {
        "format": FORMAT,
        "workspace": workspace.name,
        "as_of": built["as_of"],
        "trained": trained is not None,
        "sources": sources,
        **{key: (trained or empty)[key] for key in TRAINED_KEYS},
    }
