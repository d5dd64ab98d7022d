"""Graphs as the editor saves them, made by a few words."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

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
