"""Verbs of training and promotion."""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Any

import typer

from credit301.workspace import Workspace

Version = Annotated[str | None, typer.Option(help="Version; default: the newest. 模型版本，默认最新。")]


def train(
    workspace: Workspace,
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Log to MLflow and register. 记录到 MLflow 并注册。")
    ] = True,
    force: Annotated[bool, typer.Option(help="Train although nothing changed. 数据未变也训练。")] = False,
) -> dict[str, Any]:
    """训练各数据源子模型、集成与校准。Train a model per source, the ensemble and its calibration."""
    from credit301.derive.features import submodel_specs
    from credit301.governance.lineage.events import recorded
    from credit301.governance.lineage.from_contracts import ENSEMBLE
    from credit301.governance.lineage.graph import Layer
    from training.dataset import TrainingSet
    from training.train import train as run

    models = [(Layer.SUBMODEL, spec.name) for spec in submodel_specs(workspace)]
    with recorded(workspace, "train", [*models, (Layer.ENSEMBLE, ENSEMBLE)]):
        return run(workspace, TrainingSet.of(workspace), register=register, force=force)


def report(workspace: Workspace) -> dict[str, Any]:
    """打印最近一次训练的模型评估表。Print the table of models of the last training."""
    from training.report import read, table

    return table(read(workspace))


def gate(workspace: Workspace, version: Version = None) -> dict[str, Any]:
    """对模型版本做准入检查，结论写入 MLflow。Examine a version and write the verdict on it in MLflow."""
    from credit301.console import show_table
    from training.gate import TITLES, run

    verdict = run(workspace, version)
    rows = [[" ".join(TITLES[c.name]), "passed" if c.passed else "refused", c.value, c.limit] for c in verdict.checks]
    show_table(f"version {verdict.version}", ("check", "result", "found", "required"), rows)
    return {"version": verdict.version, "passed": verdict.passed, "reason": verdict.reason}


def promote(workspace: Workspace, version: Version = None) -> dict[str, Any]:
    """通过准入检查后设为冠军模型。Make a version the champion if it passes the gate."""
    from training.promotion import promote as run

    return run(workspace, version)


def rollback(workspace: Workspace) -> dict[str, Any]:
    """回滚到上一个冠军模型。Make the champion before this one the champion again."""
    from training.promotion import rollback as run

    return run(workspace)


def watch_promotions(workspace: Workspace) -> None:
    """监视在 MLflow 界面上的模型晋升。Gate the versions that are promoted in the MLflow UI, until stopped."""
    from training.promotion import watch

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    watch(workspace, stop)
