"""Verbs of the feature store."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from credit301.workspace import Workspace


def materialize(workspace: Workspace) -> dict[str, Any]:
    """Register the feature views in Feast and write the newest features to Redis. 注册特征视图并写入在线库。"""
    from credit301.governance.lineage.events import recorded
    from credit301.governance.lineage.graph import Layer
    from feature_repo.materialize import materialize as run

    with recorded(workspace, "materialize", [(Layer.FEATURE, contract.name) for contract in workspace.featured()]):
        return run(workspace)


def training_set(workspace: Workspace) -> dict[str, Any]:
    """Join labels with the features known at each decision. 按决策时点拼接标签与特征。"""
    from feature_repo.training_set import build_training_set

    return build_training_set(workspace)


def parity(
    workspace: Workspace,
    sample: Annotated[int, typer.Option(help="Entities to compare. 抽查的企业数。", min=1)] = 200,
) -> dict[str, Any]:
    """Check that online features and windows equal history, value for value. 校验在线特征与历史逐值一致。"""
    from feature_repo.parity import check_parity

    return check_parity(workspace, sample)


def tidy(workspace: Workspace) -> dict[str, Any]:
    """Delete online rows of versions past and rows past their time to live. 清理旧版本与过期的在线行。"""
    from feature_repo.tidy import tidy as run

    return run(workspace)
