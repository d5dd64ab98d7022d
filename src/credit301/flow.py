"""The whole road in one call, for a workspace that is run by hand rather than by the scheduler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from credit301 import console, verbs
from credit301.workspace import Workspace

MODEL_KEYS = ("name", "level", "auc", "auc_spread", "ks", "brier")


def run(
    workspace: Workspace,
    metrics: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file as JSON. 同时写入该 JSON 文件。")
    ] = None,
    register: Annotated[
        bool, typer.Option(help="Register the models in the MLflow server. 在 MLflow 注册模型。")
    ] = False,
) -> dict[str, Any]:
    """Pull, validate, build, make features, train, report; decide on whoever has no history. 全流程运行并输出指标。"""
    for source in workspace.sources:
        console.say(f"== {source}: pull, validate, land")
        verbs.call("ingest", workspace, source=source)
    console.say("== warehouse")
    verbs.call("build", workspace)
    console.say("== training set")
    verbs.call("training_set", workspace)
    console.say("== models")
    trained = verbs.call("train", workspace, register=register, force=True)
    figures = {
        "workspace": workspace.name,
        "rows": trained["rows"],
        "split": trained["split"],
        "models": [{key: model[key] for key in MODEL_KEYS} for model in trained["models"]],
    }
    console.show_table(
        f"{workspace.title.zh} {workspace.title.en}: {figures['rows']} decisions, split {json.dumps(figures['split'])}",
        MODEL_KEYS,
        [[model[key] for key in MODEL_KEYS] for model in figures["models"]],
    )
    if metrics is not None:
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.write_text(json.dumps(figures, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    console.say("== decisions on whoever has no history")
    return verbs.call("decide_all", workspace)
