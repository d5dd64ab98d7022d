"""Verbs of the warehouse."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from credit301.workspace import Workspace


def build(
    workspace: Workspace,
    as_of: Annotated[
        datetime | None, typer.Option(help="Build what was known at this time. 按该时点已知的数据构建。")
    ] = None,
    docs: Annotated[bool, typer.Option(help="Also write the dbt docs. 同时生成 dbt 文档。")] = True,
) -> dict[str, Any]:
    """Shape what has landed into the warehouse with dbt, test it, export the marts. 用 dbt 构建数仓并导出集市。"""
    from credit301.warehouse.build import build as run

    return run(workspace, as_of, docs=docs)
