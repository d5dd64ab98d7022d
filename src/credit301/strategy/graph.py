"""A decision graph, compiled: its nodes in order, each from what came before to what it says, and what it looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from credit301.strategy import cells, jdm
from credit301.strategy.errors import StrategyError
from credit301.strategy.nodes import Context, RuleSaid, Said, compiled, overlaid


class Read(NamedTuple):
    """A ``path`` of the context that a node reads, and the ``place`` in it that does."""

    node: str
    place: str
    path: str


class Made(NamedTuple):
    """A ``path`` that a node says something at, the ``place`` in it that does, and the ``text`` of that cell."""

    node: str
    place: str
    path: str
    text: str


class NodeSaid(msgspec.Struct, frozen=True):
    """A node that was come to."""

    node: str
    rules: tuple[RuleSaid, ...]


class Answer(msgspec.Struct, frozen=True):
    """The result of a graph, and how it came about."""

    result: Any
    trace: tuple[NodeSaid, ...]


class Graph:
    """A graph ready to be asked. It keeps nothing between two questions.

    Args:
        document: the graph.
        name: its file, for messages.

    Raises:
        StrategyError: a cell is no expression, an edge leads nowhere, or the edges run in a circle.
    """

    def __init__(self, document: jdm.Document, name: str) -> None:
        self.name = name
        self._nodes = {node.id: node for node in document.nodes}
        if len(self._nodes) != len(document.nodes):
            raise StrategyError(f"{name}: two nodes have the same id.")
        for end in (end for edge in document.edges for end in (edge.source_id, edge.target_id)):
            if end not in self._nodes:
                raise StrategyError(f"{name}: an edge leads to {end!r}, and there is no such node.")
        self._before: dict[str, list[jdm.Edge]] = {key: [] for key in self._nodes}
        for edge in document.edges:
            self._before[edge.target_id].append(edge)
        self._order = self._sorted()
        self._output = self._only(jdm.OutputNode)
        self._input = self._only(jdm.InputNode)
        self._steps: dict[str, Callable[[Context], Said]] = {
            key: step for key, node in self._nodes.items() if (step := compiled(node, name)) is not None
        }
        self._line = self._straight()

    @classmethod
    def load(cls, path: Path) -> Graph:
        """The graph in a JDM file.

        Raises:
            StrategyError: it is not one.
        """
        return cls(jdm.parse(jdm.read(path), path.name), path.name)

    def reads(self) -> Iterator[Read]:
        """What tables compare and expressions name, in order."""
        for key in self._order:
            node = self._nodes[key]
            match node:
                case jdm.TableNode(content=content):
                    yield from (Read(node.name, column.name or column.field, column.field) for column in content.inputs)
                    for number, row in enumerate(content.rules, 1):
                        for column in (*content.inputs, *content.outputs):
                            place = f"row {number}, {column.name or column.field}"
                            yield from (
                                Read(node.name, place, path) for path in cells.fields_in(row.get(column.id, ""))
                            )
                case jdm.ExpressionNode(content=content):
                    for item in content.expressions:
                        yield from (Read(node.name, item.key, path) for path in cells.fields_in(item.value))
                case jdm.SwitchNode(content=content):
                    for way in content.statements:
                        yield from (Read(node.name, way.condition, path) for path in cells.fields_in(way.condition))

    def makes(self) -> Iterator[Made]:
        """What tables and expressions say, in order: where it goes, and as what text."""
        for key in self._order:
            node = self._nodes[key]
            match node:
                case jdm.TableNode(content=content):
                    for column in content.outputs:
                        path = _below(content, column.field)
                        for number, row in enumerate(content.rules, 1):
                            if cell := row.get(column.id, "").strip():
                                yield Made(node.name, f"row {number}, {column.name or column.field}", path, cell)
                case jdm.ExpressionNode(content=content):
                    for item in content.expressions:
                        yield Made(node.name, item.key, _below(content, item.key), item.value.strip())

    def ask(self, context: Context) -> Answer:
        """What the graph says of ``context``.

        Raises:
            ValueMissing: what is not known would have decided.
            StrategyError: an expression cannot be evaluated, such as a number compared with a text.
        """
        if self._line is not None:
            given, passed = context, []
            for node, step in self._line:
                found = step(given)
                given = found.result
                passed.append(NodeSaid(node, tuple(found.rules)))
            return Answer(given, tuple(passed))
        return self._walked(context)

    def _walked(self, context: Context) -> Answer:
        """What the graph says where nodes have several ways in or out."""
        said: dict[str, Any] = {self._input: context}
        open_ways: dict[str, frozenset[str] | None] = {self._input: None}
        trace: list[NodeSaid] = []
        for key in self._order:
            taken = [
                edge
                for edge in self._before[key]
                if edge.source_id in said and _is_open(edge, open_ways[edge.source_id])
            ]
            if not taken:
                continue
            given = _merged([said[edge.source_id] for edge in taken])
            step = self._steps.get(key)
            if step is None:
                said[key], open_ways[key] = given, None
                continue
            found = step(given)
            said[key], open_ways[key] = found.result, found.ways
            trace.append(NodeSaid(self._nodes[key].name, tuple(found.rules)))
        return Answer(said.get(self._output, {}), tuple(trace))

    def _straight(self) -> tuple[tuple[str, Callable[[Context], Said]], ...] | None:
        """The steps from the input to the output where each follows from the one before; ``None`` where one forks."""
        after: dict[str, list[str]] = {key: [] for key in self._nodes}
        for target, edges in self._before.items():
            for edge in edges:
                after[edge.source_id].append(target)
        line, key = [], self._input
        while key != self._output:
            if len(after[key]) != 1 or isinstance(self._nodes[key], jdm.SwitchNode):
                return None
            (key,) = after[key]
            if len(self._before[key]) != 1:
                return None
            if key in self._steps:
                line.append((self._nodes[key].name, self._steps[key]))
        return None if after[key] else tuple(line)

    def _sorted(self) -> tuple[str, ...]:
        sorter = TopologicalSorter({key: [edge.source_id for edge in edges] for key, edges in self._before.items()})
        try:
            return tuple(sorter.static_order())
        except CycleError as error:
            names = " -> ".join(self._nodes[key].name for key in error.args[1])
            raise StrategyError(f"{self.name}: the edges run in a circle: {names}.") from error

    def _only(self, kind: type[jdm.InputNode | jdm.OutputNode]) -> str:
        found = [key for key, node in self._nodes.items() if isinstance(node, kind)]
        if len(found) != 1:
            word = "input" if kind is jdm.InputNode else "output"
            raise StrategyError(f"{self.name}: a strategy has one {word} node, this one {len(found)}.")
        return found[0]


def _is_open(edge: jdm.Edge, ways: frozenset[str] | None) -> bool:
    return ways is None or edge.source_handle in ways


def _merged(parts: Sequence[Any]) -> Any:
    """What several nodes say together; of two that say one thing, that with the earlier edge is believed."""
    result = parts[-1]
    for part in reversed(parts[:-1]):
        result = overlaid(result, part)
    return result


def _below(content: jdm.TableContent | jdm.ExpressionContent, path: str) -> str:
    return f"{content.output_path}.{path}" if content.output_path else path
