"""Verbs of lineage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301.workspace import Workspace

if TYPE_CHECKING:
    from credit301.governance.lineage.graph import Lineage, Node

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write it to this file as JSON. 同时写入该 JSON 文件。"),
]


def lineage(
    workspace: Workspace,
    feature: Annotated[str, typer.Argument(help="A feature, or source.feature. 特征名，或 数据源.特征。")],
    json_file: JsonFile = None,
) -> dict[str, Any]:
    """Where a feature comes from, column by column, and what it leads to. 逐列追溯特征的来源与去向。

    Returns:
        Numbers of columns by layer, ``upstream`` and ``downstream``.

    Raises:
        NotFound: there is no such feature, or the warehouse was never built.
    """
    from credit301 import console
    from credit301.governance.lineage import describe
    from credit301.governance.lineage.from_manifest import manifest_lineage
    from credit301.governance.lineage.graph import Layer

    graph = manifest_lineage(workspace)
    node = graph.feature(feature)
    above, below = graph.upstream([node]), graph.downstream([node])
    console.show("来源 where it comes from")
    console.show(describe.upstream_tree(graph, node))
    rows = [n for n in graph.upstream([node], indirect=True) - above if n.layer is Layer.SOURCE]
    if rows:
        console.show(f"决定取哪些记录 decide which records count: {', '.join(map(str, sorted(rows)))}")
    console.show("去向 what it leads to")
    console.show(describe.downstream_tree(graph, node))
    _tell_problems(graph)
    _write(json_file, graph, node, {"upstream": above, "downstream": below, "rows_decided_by": set(rows)})
    return {"upstream": describe.counts(above), "downstream": describe.counts(below)}


def impact(
    workspace: Workspace,
    column: Annotated[str, typer.Argument(metavar="SOURCE.COLUMN", help="A source's column. 数据源.列。")],
    json_file: JsonFile = None,
) -> dict[str, Any]:
    """Everything that a source column touches, down to the reasons. 源列影响的全部模型、特征、子模型与原因。

    Returns:
        Numbers of columns by layer that it flows into, and of those for which it only decides which records count.

    Raises:
        NotFound: there is no such column, or the warehouse was never built.
    """
    from credit301 import console
    from credit301.governance.lineage import describe
    from credit301.governance.lineage.from_manifest import manifest_lineage
    from credit301.governance.lineage.graph import Layer

    graph = manifest_lineage(workspace)
    node = graph.source_column(column)
    below = graph.downstream([node])
    rows = graph.downstream([node], indirect=True) - below
    console.show(describe.downstream_tree(graph, node))
    if rows:
        listed = sorted({n.table for n in rows if n.layer in {Layer.FEATURE, Layer.LABEL}})
        console.show(
            "作为键、时间或条件，它还决定下列各项取哪些记录 "
            f"as a key, a time or a condition it also decides which records count in: {', '.join(listed)}"
        )
    _tell_problems(graph)
    _write(json_file, graph, node, {"downstream": below, "rows_decided": rows})
    return {"downstream": describe.counts(below), "rows_decided": describe.counts(rows)}


def _tell_problems(graph: Lineage) -> None:
    from credit301 import console

    for problem in graph.problems:
        console.say(f"注意 note: {problem}")


def _write(path: Path | None, graph: Lineage, node: Node, parts: dict[str, set[Node]]) -> None:
    if path is None:
        return
    import json

    from credit301.governance.lineage import describe

    found: dict[str, Any] = {"node": describe.as_dict(graph, node)}
    found |= {name: describe.part(graph, {node, *nodes}) for name, nodes in parts.items()}
    found["problems"] = graph.problems
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
