"""Verbs of the warehouse."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from credit301.workspace import Workspace


def build(
    workspace: Workspace,
    as_of: Annotated[
        datetime | None, typer.Option(help="Build what was known at this time. 按该时点已知的数据构建。")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Stage everything anew, not only what has landed since. 全量重建。")
    ] = False,
    docs: Annotated[bool, typer.Option(help="Also write the dbt docs. 同时生成 dbt 文档。")] = True,
) -> dict[str, Any]:
    """Shape what has landed into the warehouse with dbt, test it, export the marts. 用 dbt 构建数仓并导出集市。"""
    from credit301.warehouse.build import build as run

    return run(workspace, as_of, docs=docs, full=full)


def compare_marts(
    workspace: Workspace,
    left: Annotated[Path, typer.Argument(help="A directory of exported marts. 一个集市导出目录。")],
    right: Annotated[Path, typer.Argument(help="Another one. 另一个。")],
    tolerance: Annotated[float, typer.Option(help="How far floats may differ. 浮点数容差。", min=0)] = 1e-9,
) -> dict[str, Any]:
    """Compare the marts that two engines (or two builds) exported, row for row. 逐行比较两次导出的集市。

    Raises:
        WarehouseError: they differ; the marts and what differs are named.
    """
    from credit301.errors import WarehouseError
    from credit301.warehouse.compare import compare

    del workspace
    rows, differences = compare(left, right, tolerance)
    if differences:
        named = "; ".join(f"{difference.mart}: {difference.what}" for difference in differences[:5])
        raise WarehouseError(
            f"The marts differ in {len(differences)} ways: {named}.", hint="Build both as of one time."
        )
    return {"rows": rows, "equal": True}
