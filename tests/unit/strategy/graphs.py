"""Graphs as the editor saves them, made by a few words."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from credit301.strategy import jdm
from credit301.strategy.errors import ValueMissing
from credit301.strategy.graph import Graph

Json = dict[str, Any]
Row = tuple[list[str], list[str]]


def table(
    key: str,
    inputs: list[str],
    outputs: list[str],
    rows: list[Row],
    *,
    hit: str = "first",
    passes: bool = False,
    under: str | None = None,
) -> Json:
    columns = [("i", inputs), ("o", outputs)]
    return node(
        key,
        "decisionTableNode",
        hitPolicy=hit,
        passThrough=passes,
        outputPath=under,
        **{
            name: [{"id": f"{letter}{n}", "name": field, "field": field} for n, field in enumerate(fields)]
            for name, (letter, fields) in zip(("inputs", "outputs"), columns, strict=True)
        },
        rules=[
            {
                "_id": f"r{number}",
                **{f"i{n}": cell for n, cell in enumerate(asked)},
                **{f"o{n}": cell for n, cell in enumerate(said)},
            }
            for number, (asked, said) in enumerate(rows)
        ],
    )


def expressions(key: str, *, passes: bool = False, under: str | None = None, **values: str) -> Json:
    items = [{"id": name, "key": name, "value": value} for name, value in values.items()]
    return node(key, "expressionNode", expressions=items, passThrough=passes, outputPath=under)


def switch(key: str, *conditions: str, hit: str = "first") -> Json:
    ways = [{"id": f"{key}{number}", "condition": text} for number, text in enumerate(conditions)]
    return node(key, "switchNode", hitPolicy=hit, statements=ways)


def node(key: str, kind: str, **content: Any) -> Json:
    return {"id": key, "name": key, "type": kind, "position": {"x": 0, "y": 0}, "content": content}


def graph(nodes: list[Json], edges: list[tuple[str, ...]]) -> Json:
    """Edges are (from, to) or (from, to, way out); ``in`` and ``out`` are there already."""
    ends = [node("in", "inputNode"), node("out", "outputNode")]
    return {
        "contentType": "application/vnd.gorules.decision",
        "nodes": [*ends, *nodes],
        "edges": [
            {
                "id": f"e{number}",
                "type": "edge",
                "sourceId": edge[0],
                "targetId": edge[1],
                **({"sourceHandle": edge[2]} if len(edge) > 2 else {}),
            }
            for number, edge in enumerate(edges)
        ],
    }


def chain(*nodes: Json) -> Json:
    keys = ["in", *(item["id"] for item in nodes), "out"]
    return graph(list(nodes), list(pairwise(keys)))


def expression_says(text: str, context: Json) -> Any:
    """What one expression says of ``context``."""
    return Graph(jdm.parse(chain(expressions("e", x=text)), "cell"), "cell").ask(context).result["x"]


def cell_says(cell: str, value: Any) -> bool | None:
    """Whether an input cell holds for ``value``; ``None`` where it cannot without knowing more."""
    document = chain(table("t", ["value"], ["x"], [([cell], ["true"]), ([""], ["false"])]))
    try:
        said: bool = Graph(jdm.parse(document, "cell"), "cell").ask({"value": value}).result["x"]
    except ValueMissing:
        return None
    return said
