"""What can be known to be wrong with a strategy before it decides: each problem with its file, node and cell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from credit301.domain.verdict import Stage
from credit301.strategy.definition import Document
from credit301.strategy.errors import StrategyError
from credit301.strategy.graph import Graph, Made
from credit301.strategy.wording import KNOWN

_GIVEN = frozenset({"application.amount", "application.term_months", "score.probability", "score.points"})
_TEXT = re.compile(r"""["']([^"']*)["']""")
_POLICY_SAYS = frozenset({"band", "annual_rate", "decline", "refer"})
_SHOWN = 5


def check(document: Document, graphs: Mapping[Stage, Graph], known: frozenset[str] | None) -> None:
    """Check what is read and said.

    Args:
        document: the strategy.
        graphs: its graphs by stage.
        known: keys of features and names of windows that there are; ``None`` leaves them unchecked.

    Raises:
        StrategyError: naming the first cells that read what there is not, or say what has no meaning.
    """
    problems = [
        f"{document.name}/{document.definition.graph_file(stage)}: {problem}"
        for stage, graph in graphs.items()
        for problem in (*_reads(document, graph, known), *_says(document, stage, graph))
    ]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise StrategyError(
            "; ".join(problems[:_SHOWN]) + more,
            hint="Features are features.<source>.<feature> as in the contracts; codes need words under `wording`.",
        )


def _reads(document: Document, graph: Graph, known: frozenset[str] | None) -> Iterator[str]:
    made = {made.path for made in graph.makes()}
    for node, place, path in graph.reads():
        if path not in _GIVEN and (problem := _unreadable(document, path, made, known)):
            yield f"{node}, {place}: reads {path}, {problem}"


def _unreadable(document: Document, path: str, made: set[str], known: frozenset[str] | None) -> str:
    """Why there is nothing at ``path``; empty where there is."""
    root, _, rest = path.partition(".")
    view, _, feature = rest.partition(".")
    problem, there = "which is neither given nor said before", False
    match root:
        case "features":
            problem = "and no contract has this feature"
            there = bool(feature) and (known is None or f"{view}:{feature}" in known)
        case "windows":
            problem = "and there is no such window"
            there = bool(feature) and (known is None or f"{view}:{feature}" in known)
        case "parameters":
            problem, there = "and strategy.yaml has no such parameter", rest in document.definition.parameters
        case "tables":
            problem, there = "and strategy.yaml has no such table", view in document.tables
        case _:
            there = any(path == one or path.startswith(f"{one}.") for one in made)
    return "" if there else problem


def _says(document: Document, stage: Stage, graph: Graph) -> Iterator[str]:
    words = KNOWN.keys() | document.definition.wording.keys()
    made = list(graph.makes())
    for one in made:
        last = one.path.rpartition(".")[2]
        text = _literal(one)
        where = f"{one.node}, {one.place}: says {one.text}"
        if stage == "policy":
            if one.path == "band" and text is not None and text not in document.definition.bands:
                yield f"{where}, and strategy.yaml has no such band"
            if one.path in {"decline", "refer"} and text is not None and text not in words:
                yield f"{where}, and no wording says what that means"
            if one.path.startswith("bounds.") and last not in words:
                yield f"{one.node}, {one.place}: bounds the limit by {last}, and no wording says what that means"
        elif last == "code" and text is not None and text not in words:
            yield f"{where}, and no wording says what that means"
        elif last == "action" and text not in {"decline", "refer"}:
            yield f"{where}; an action is 'decline' or 'refer'"
    said = {one.path for one in made}
    if stage == "policy":
        yield from (f"nothing says {path}" for path in ("band", "annual_rate") if path not in said)
    elif not any(path.rpartition(".")[2] == "code" for path in said):
        yield "no table says a code"


def _literal(made: Made) -> str | None:
    match = _TEXT.fullmatch(made.text)
    return match[1] if match else None
