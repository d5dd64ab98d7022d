"""A decision graph, compiled: its nodes in order, each from what came before to what it says, and what it looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import msgspec

from credit301.domain.text import Text
from credit301.domain.verdict import RuleResult, Stage
from credit301.strategy import jdm
from credit301.strategy.engine import fields_in
from credit301.strategy.errors import StrategyError
from credit301.strategy.nodes import Context, Setting, Step, expressions, overlaid, switch
from credit301.strategy.tables import table


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


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The result of a graph, and which rules said it: in order, of a policy only those that held."""

    result: Any
    rules: list[RuleResult]


class Graph:
    """A graph ready to be asked. It keeps nothing between two questions.

    Args:
        document: the graph.
        name: its file, for messages.
        stage: the stage whose graph it is.
        words: what the codes mean that are the strategy's own.
        fixed: parts of the context that are the same whenever it is asked.

    Raises:
        StrategyError: a cell is no expression, an edge leads nowhere, or the edges run in a circle.
    """

    def __init__(
        self,
        document: jdm.Document,
        name: str,
        stage: Stage = "admission",
        words: Mapping[str, Text] | None = None,
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
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
        self._steps = self._written(Setting(name, stage, words or {}), fixed or {})
        self._line = self._straight()

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
                            yield from (Read(node.name, place, path) for path in fields_in(row.get(column.id, "")))
                case jdm.ExpressionNode(content=content):
                    for item in content.expressions:
                        yield from (Read(node.name, item.key, path) for path in fields_in(item.value))
                case jdm.SwitchNode(content=content):
                    for way in content.statements:
                        yield from (Read(node.name, way.condition, path) for path in fields_in(way.condition))

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
        if self._line is None:
            return self._walked(context)
        rules: list[RuleResult] = []
        tell, given = rules.append, context
        for step in self._line:
            given = step(given, tell)
        return Answer(given, rules)

    def _walked(self, context: Context) -> Answer:
        """What the graph says where nodes have several ways in or out."""
        said: dict[str, Any] = {self._input: context}
        open_ways: dict[str, Collection[str] | None] = {self._input: None}
        rules: list[RuleResult] = []
        for key in self._order:
            taken = [
                edge
                for edge in self._before[key]
                if edge.source_id in said and _is_open(edge, open_ways[edge.source_id])
            ]
            if not taken:
                continue
            said[key], open_ways[key] = _merged([said[edge.source_id] for edge in taken]), None
            step = self._steps.get(key)
            if step is None:
                continue
            found = step(said[key], rules.append)
            if isinstance(self._nodes[key], jdm.SwitchNode):
                open_ways[key] = found
            else:
                said[key] = found
        return Answer(said.get(self._output, {}), rules)

    def _written(self, setting: Setting, fixed: Mapping[str, Any]) -> dict[str, Step]:
        """The nodes that say or ask something; each knows what is still as it was given."""
        steps: dict[str, Step] = {}
        kept: dict[str, Mapping[str, Any]] = {self._input: fixed}
        for key in self._order:
            node, before = self._nodes[key], [kept[edge.source_id] for edge in self._before[key]]
            given = kept.get(key) or {root: fixed[root] for root in _shared(before)}
            made: set[str] | None = set()
            match node:
                case jdm.TableNode(content=content):
                    steps[key] = table(node, setting, given)
                    listed = content.hit_policy == "collect" and not content.output_path
                    made = None if listed else _roots(content, [column.field for column in content.outputs])
                case jdm.ExpressionNode(content=content):
                    steps[key] = expressions(node, setting, given)
                    made = _roots(content, [item.key for item in content.expressions])
                case jdm.SwitchNode():
                    steps[key] = switch(node, setting, given)
            kept[key] = {} if made is None else {root: given[root] for root in given if root not in made}
        return steps

    def _straight(self) -> tuple[Step, ...] | None:
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
                line.append(self._steps[key])
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


def _is_open(edge: jdm.Edge, ways: Collection[str] | None) -> bool:
    return ways is None or edge.source_handle in ways


def _merged(parts: Sequence[Any]) -> Any:
    """What several nodes say together; of two that say one thing, that with the earlier edge is believed."""
    result = parts[-1]
    for part in reversed(parts[:-1]):
        result = overlaid(result, part)
    return result


def _shared(parts: Sequence[Mapping[str, Any]]) -> set[str]:
    """The keys that all have."""
    return set(parts[0]).intersection(*parts[1:]) if parts else set()


def _roots(content: jdm.TableContent | jdm.ExpressionContent, paths: Iterable[str]) -> set[str] | None:
    """What a node lays something over; ``None`` where it does not pass on what it was given."""
    return {_below(content, path).partition(".")[0] for path in paths} if content.pass_through else None


def _below(content: jdm.TableContent | jdm.ExpressionContent, path: str) -> str:
    return f"{content.output_path}.{path}" if content.output_path else path
