"""The lineage page: pick a source column or a feature, see its whole path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from credit301.files import replacing
from credit301.governance.lineage.from_manifest import manifest_lineage
from credit301.governance.lineage.graph import LAYER_NAMES, Layer, Lineage
from credit301.workspace import Workspace

FILE_NAME = "lineage.html"


def write(workspace: Workspace, lineage: Lineage | None = None) -> Path:
    """Write the page into the workspace's site and return where it is; ``lineage`` defaults to the last build's.

    Raises:
        NotFound: the warehouse was never built.
    """
    lineage = lineage or manifest_lineage(workspace)
    environment = Environment(
        loader=PackageLoader("credit301.governance.lineage"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("lineage.html.j2").render(
        title=workspace.title,
        layers=[(layer.value, LAYER_NAMES[layer]) for layer in Layer],
        problems=lineage.problems,
        data=_script(_data(lineage)),
    )
    target = workspace.paths.site / FILE_NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return target


def _data(lineage: Lineage) -> dict[str, Any]:
    """Nodes as rows, edges as pairs of their numbers: a large city stays a page of a few hundred kilobytes."""
    nodes = lineage.nodes()
    numbers = {node: number for number, node in enumerate(nodes)}
    rows = []
    for node in nodes:
        detail = lineage.details[node]
        label = [detail.label.zh, detail.label.en] if detail.label else ["", ""]
        rows.append([list(Layer).index(node.layer), node.table, node.column, *label, detail.file])
    edges = sorted([numbers[a], numbers[b], int(indirect)] for a, b, indirect in lineage.edges())
    return {"nodes": rows, "edges": edges}


def _script(data: dict[str, Any]) -> Markup:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(text)  # noqa: S704
