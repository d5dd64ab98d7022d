"""Verbs of training and promotion."""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Any, Literal

import typer

from credit301.errors import ConfigError
from credit301.model import stewardship
from credit301.workspace import Workspace

Inference = Literal["none", "fuzzy", "parcelling", "reweight", "lane"]
Version = Annotated[str | None, typer.Option(help="Version; default: the newest. 模型版本，默认最新。")]


def train(
    workspace: Workspace,
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Log to MLflow and register. 记录到 MLflow 并注册。")
    ] = True,
    force: Annotated[bool, typer.Option(help="Train although nothing changed. 数据未变也训练。")] = False,
    tune: Annotated[
        float, typer.Option(help="Seconds to search for better parameters; 0 does not. 调参时限（秒）。", min=0)
    ] = 0.0,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Train on columns that look like leaks. 容许疑似泄漏的字段。")
    ] = False,
    memory: Annotated[
        float | None, typer.Option(help="GiB of memory to train in; default: half of it. 训练内存上限（GiB）。", min=0)
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler that grows the trees. Dask 调度器地址。")
    ] = None,
    reject_inference: Annotated[
        Inference | None,
        typer.Option(help="What is made of declined applications; default: strategies/models.yaml. 拒绝推断方法。"),
    ] = None,
) -> dict[str, Any]:
    """训练各数据源子模型、集成与校准。Train a model per source, the ensemble and its calibration."""
    from credit301.derive.features import submodel_specs
    from credit301.governance.lineage.events import recorded
    from credit301.governance.lineage.from_contracts import ENSEMBLE
    from credit301.governance.lineage.graph import Layer
    from training.dataset import TrainingSet
    from training.distributed import joined_to
    from training.rejects import Method
    from training.train import train as run

    address = workspace.settings.training_cluster if cluster is None else cluster
    chosen = reject_inference or stewardship.load(workspace).retraining.reject_inference
    inference = None if chosen == "none" else Method(chosen)
    if address and inference:
        raise ConfigError(
            "Reject inference is not made on a cluster. 集群训练不支持拒绝推断。", hint="Leave out one of the two."
        )
    models = [(Layer.SUBMODEL, spec.name) for spec in submodel_specs(workspace)]
    with recorded(workspace, "train", [*models, (Layer.ENSEMBLE, ENSEMBLE)]):
        data = TrainingSet.of(workspace, memory_gib=memory, stored=bool(address))
        with joined_to(address, workspace.paths.training_set) as client:
            return run(
                workspace,
                data,
                register=register,
                force=force,
                allow_leaks=allow_leaks,
                tune=tune,
                cluster=client,
                inference=inference,
            )


def reject_inference(
    workspace: Workspace,
    declined: Annotated[
        float, typer.Option(help="Share that the old bank declines. 拒绝比例。", min=0.05, max=0.9)
    ] = 0.3,
    lane: Annotated[float, typer.Option(help="Share of these lent to by lot. 随机准入比例。", min=0.0, max=1.0)] = 0.05,
) -> dict[str, Any]:
    """评估各拒绝推断方法在本数据上的价值。Measure what each method of reject inference is worth on these data."""
    from training.dataset import TrainingSet
    from training.reject_page import show

    return show(workspace, TrainingSet.of(workspace), declined=declined, lane=lane)


def report(
    workspace: Workspace,
    version: Annotated[
        str | None, typer.Argument(help="Version or alias; default: the last trained. 版本或别名，默认最近训练的。")
    ] = None,
) -> dict[str, Any]:
    """打印评估表，并生成该版本的模型卡与治理文件。Print the table of models, and write a version's model card."""
    from training.report import read, table

    results = {} if version else table(read(workspace))
    if not version and results["registered"] is None:
        return results
    from training.card import write

    return {**results, **write(workspace, version or results["registered"]["version"])}


def gate(workspace: Workspace, version: Version = None) -> dict[str, Any]:
    """对模型版本做准入检查，结论写入 MLflow。Examine a version and write the verdict on it in MLflow."""
    from credit301.console import show_table
    from training.gate import TITLES, run

    verdict = run(workspace, version)
    rows = [[" ".join(TITLES[c.name]), "passed" if c.passed else "refused", c.value, c.limit] for c in verdict.checks]
    show_table(f"version {verdict.version}", ("check", "result", "found", "required"), rows)
    return {"version": verdict.version, "passed": verdict.passed, "reason": verdict.reason}


def watch_promotions(workspace: Workspace) -> None:
    """监视在 MLflow 界面上的模型晋升。Gate the versions that are promoted in the MLflow UI, until stopped."""
    from training.promotion import watch

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    watch(workspace, stop)
