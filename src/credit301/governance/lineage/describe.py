"""The lineage graph as a person reads it: rich trees, and as a program does: plain dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from rich.text import Text as RichText
from rich.tree import Tree

from credit301.governance.lineage.graph import LAYER_NAMES, Layer, Lineage, Node


def line(lineage: Lineage, node: Node) -> RichText:
    """One node in one line: where it is, its name, what people call it, the file that says so."""
    layer, detail = LAYER_NAMES[node.layer], lineage.details[node]
    text = RichText(f"{layer.zh} {layer.en}  ", style="dim")
    text.append(str(node), style="bold" if node.layer in {Layer.SOURCE, Layer.FEATURE} else "")
    if detail.label is not None:
        text.append(f"  {detail.label.zh} {detail.label.en}")
    if detail.file and node.layer not in {Layer.SUBMODEL, Layer.REASON}:
        text.append(f"  ({detail.file})", style="dim")
    return text


def upstream_tree(lineage: Lineage, root: Node) -> Tree:
    """What flows into ``root``, back to the source columns."""
    return _tree(lineage, root, lineage.direct().predecessors)


def downstream_tree(lineage: Lineage, root: Node) -> Tree:
    """What ``root`` flows into, down to the reasons."""
    return _tree(lineage, root, lineage.direct().successors)


def _tree(lineage: Lineage, root: Node, step: Callable[[Node], Iterable[Node]]) -> Tree:
    shown: set[Node] = set()

    def grow(tree: Tree, node: Node) -> None:
        shown.add(node)
        for other in sorted(step(node)):
            text = line(lineage, other)
            if other in shown and list(step(other)):
                tree.add(text.append("  ↑ 见上 above", style="dim"))
            else:
                grow(tree.add(text), other)

    tree = Tree(line(lineage, root))
    grow(tree, root)
    return tree


def as_dict(lineage: Lineage, node: Node) -> dict[str, Any]:
    """A node for a program, with both languages' texts."""
    detail = lineage.details[node]
    label = {"zh": detail.label.zh, "en": detail.label.en} if detail.label else None
    return {
        "layer": node.layer.value,
        "table": node.table,
        "column": node.column,
        "label": label,
        "file": detail.file or None,
    }


def part(lineage: Lineage, nodes: Iterable[Node]) -> dict[str, Any]:
    """Nodes and the edges between them."""
    chosen = set(nodes)
    return {
        "nodes": [as_dict(lineage, node) for node in sorted(chosen)],
        "edges": sorted(
            (
                {"from": _name(a), "to": _name(b), "indirect": indirect}
                for a, b, indirect in lineage.edges()
                if {a, b} <= chosen
            ),
            key=lambda edge: (edge["from"], edge["to"]),
        ),
    }


def _name(node: Node) -> str:
    return f"{node.layer.value}:{node}"


def counts(nodes: Iterable[Node]) -> dict[str, int]:
    """How many nodes of each layer there are, in the order of the road."""
    found = Counter(node.layer for node in nodes)
    return {layer.value: found[layer] for layer in Layer if found[layer]}
