"""The lineage graph: columns of everything that a value passes through, from the source to the reason."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import networkx as nx

from credit301.contracts.model import Text
from credit301.errors import NotFound


class Layer(StrEnum):
    """Where on the road a column is, in the order of the road."""

    SOURCE = "source"
    STAGING = "staging"
    INTERMEDIATE = "intermediate"
    MART = "mart"
    FEATURE = "feature"
    SUBMODEL = "submodel"
    REASON = "reason"
    LABEL = "label"
    ENSEMBLE = "ensemble"


LAYER_NAMES = {
    Layer.SOURCE: Text(zh="源列", en="source columns"),
    Layer.STAGING: Text(zh="贴源层", en="staging"),
    Layer.INTERMEDIATE: Text(zh="中间层", en="intermediate"),
    Layer.MART: Text(zh="集市", en="marts"),
    Layer.FEATURE: Text(zh="特征", en="features"),
    Layer.SUBMODEL: Text(zh="子模型", en="sub-models"),
    Layer.REASON: Text(zh="原因", en="reasons"),
    Layer.LABEL: Text(zh="标签", en="labels"),
    Layer.ENSEMBLE: Text(zh="集成模型", en="ensemble"),
}
MODEL_LAYERS = (Layer.STAGING, Layer.INTERMEDIATE, Layer.MART)


@dataclass(frozen=True, order=True)
class Node:
    """One column: of a source, a dbt model, a feature view, a sub-model's inputs, the ensemble's inputs or reasons."""

    layer: Layer
    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Detail:
    """What a person wants to know of a node: its name in both languages, and the file that says what it is."""

    label: Text | None = None
    file: str = ""


@dataclass
class Lineage:
    """Columns and what flows between them. An indirect edge only decides which rows count, or how they are grouped.

    ``problems`` names what could not be traced to the column; there every column of the parents is taken.
    """

    graph: nx.DiGraph[Node] = field(default_factory=nx.DiGraph)
    details: dict[Node, Detail] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, node: Node, label: Text | None = None, file: str = "") -> Node:
        """Add a node; what is known of it already stays where nothing new is said."""
        known = self.details.get(node, Detail())
        self.graph.add_node(node)
        self.details[node] = Detail(label or known.label, file or known.file)
        return node

    def link(self, origin: Node, target: Node, *, indirect: bool = False) -> None:
        """``origin`` flows into ``target``; a direct edge outweighs an indirect one."""
        if origin == target or (indirect and self.graph.has_edge(origin, target)):
            return
        for node in (origin, target):
            if node not in self.details:
                self.add(node)
        self.graph.add_edge(origin, target, indirect=indirect)

    def nodes(self, *layers: Layer) -> list[Node]:
        """All nodes of ``layers`` (default: all), in order."""
        return sorted(node for node in self.graph if not layers or node.layer in layers)

    def edges(self) -> Iterator[tuple[Node, Node, bool]]:
        """All edges, and whether each is indirect."""
        yield from self.graph.edges(data="indirect")

    def downstream(self, roots: Iterable[Node], *, indirect: bool = False) -> set[Node]:
        """All that ``roots`` flow into, without them; ``indirect`` follows also what only decides which rows count."""
        return self._reached(roots, indirect=indirect)

    def upstream(self, roots: Iterable[Node], *, indirect: bool = False) -> set[Node]:
        """All that flows into ``roots``, without them."""
        return self._reached(roots, indirect=indirect, back=True)

    def _reached(self, roots: Iterable[Node], *, indirect: bool, back: bool = False) -> set[Node]:
        graph = self.graph if indirect else self.direct()
        step = nx.ancestors if back else nx.descendants
        found: set[Node] = set()
        for root in roots:
            if root in graph:
                found |= step(graph, root)
        return found - set(roots)

    def direct(self) -> nx.DiGraph[Node]:
        """The graph without its indirect edges."""
        return nx.subgraph_view(self.graph, filter_edge=lambda a, b: not self.graph.edges[a, b]["indirect"])

    def feature(self, name: str) -> Node:
        """The feature called ``name`` or ``source.name``.

        Raises:
            NotFound: there is none, or several sources have one.
        """
        features = self.nodes(Layer.FEATURE)
        found = [node for node in features if name in {node.column, str(node)}]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound(f"Several sources have a feature {name!r}.", hint=f"Say {' or '.join(map(str, found))}.")
        raise NotFound(f"There is no feature {name!r}.", hint=_close(name, [node.column for node in features]))

    def source_column(self, name: str) -> Node:
        """The column ``source.column``.

        Raises:
            NotFound: no source of the workspace has it.
        """
        columns = {str(node): node for node in self.nodes(Layer.SOURCE)}
        if name not in columns:
            raise NotFound(f"There is no source column {name!r}.", hint=_close(name, list(columns)))
        return columns[name]


def _close(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or sorted(set(known))[:10]
    return f"Perhaps {', '.join(dict.fromkeys(close))}?"
