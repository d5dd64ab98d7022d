"""A decision graph, compiled: its nodes in order, each from what came before to what it says, and what it looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import msgspec

from credit301.strategy import cells, jdm
from credit301.strategy.errors import StrategyError, ValueMissing

Context = Mapping[str, Any]


class RuleSaid(msgspec.Struct, frozen=True):
    """A row of a table, an expression, or a way out of a switch: what it read, and whether it held.

    ``held`` is ``None`` where a value that it asks for is not known; ``said`` is empty where it did not hold.
    """

    rule: str
    read: dict[str, Any]
    held: bool | None
    said: dict[str, Any]


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
        self._steps: dict[str, Callable[[Context], _Said]] = {
            key: step for key, node in self._nodes.items() if (step := _compiled(node, name)) is not None
        }

    @classmethod
    def load(cls, path: Path) -> Graph:
        """The graph in a JDM file.

        Raises:
            StrategyError: it is not one.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StrategyError(f"{path} cannot be read: {error}.", hint="Save it from the editor as JSON.") from error
        return cls(jdm.parse(data, path.name), path.name)

    def reads(self) -> tuple[str, ...]:
        """Paths of the context that tables compare, in order; what expressions name is added."""
        found: dict[str, None] = {}
        for key in self._order:
            node = self._nodes[key]
            match node:
                case jdm.TableNode():
                    found |= dict.fromkeys(column.field for column in node.content.inputs)
                case jdm.ExpressionNode():
                    found |= dict.fromkeys(
                        field for item in node.content.expressions for field in cells.fields_in(item.value)
                    )
                case jdm.SwitchNode():
                    found |= dict.fromkeys(
                        field for item in node.content.statements for field in cells.fields_in(item.condition)
                    )
        return tuple(found)

    def ask(self, context: Context) -> Answer:
        """What the graph says of ``context``.

        Raises:
            ValueMissing: what is not known would have decided.
            StrategyError: an expression cannot be evaluated, such as a number compared with a text.
        """
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


class _Said(msgspec.Struct):
    result: Any
    rules: list[RuleSaid]
    ways: frozenset[str] | None = None


def _is_open(edge: jdm.Edge, ways: frozenset[str] | None) -> bool:
    return ways is None or edge.source_handle in ways


def _merged(parts: Sequence[Any]) -> Any:
    """What several nodes say together; of two that say one thing, that with the earlier edge is believed."""
    result = parts[-1]
    for part in reversed(parts[:-1]):
        result = _overlaid(result, part)
    return result


def _overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _overlaid(under[key], value)
        for key, value in over.items()
        if isinstance(value, Mapping) and isinstance(under.get(key), Mapping)
    }
    return {**under, **over, **both}


def _compiled(node: jdm.Node, file: str) -> Callable[[Context], _Said] | None:
    match node:
        case jdm.TableNode():
            return _Table(node, file)
        case jdm.ExpressionNode():
            return _Expressions(node, file)
        case jdm.SwitchNode():
            return _Switch(node, file)
    return None


class _Table:
    """A decision table: rows from top to bottom, cells from left to right, as far as is needed."""

    def __init__(self, node: jdm.TableNode, file: str) -> None:
        self._file, self._name, self._content = file, node.name, node.content
        content = node.content
        self._inputs = [(column, column.field.split(".")) for column in content.inputs]
        self._outputs = [column.field.split(".") for column in content.outputs]
        known = {column.id for column in (*content.inputs, *content.outputs)}
        self._rows: list[tuple[str, list[cells.Test], list[cells.Value | None]]] = []
        for number, row in enumerate(content.rules, 1):
            where = f"{file}: {node.name}, row {number}"
            if unknown := sorted(key for key in row if key not in known and not key.startswith("_")):
                raise StrategyError(f"{where}: there is no column {unknown[0]!r}.")
            tests = [
                cells.test_of(row.get(column.id, ""), f"{where}, column {column.name or column.field}")
                for column in content.inputs
            ]
            values = [
                cells.value_of(row[column.id], f"{where}, column {column.name or column.field}")
                if row.get(column.id, "").strip()
                else None
                for column in content.outputs
            ]
            self._rows.append((row.get("_id") or str(number), tests, values))

    def __call__(self, context: Context) -> _Said:
        operands = [(column, cells.lookup(context, path)) for column, path in self._inputs]
        rules: list[RuleSaid] = []
        hits: list[dict[str, Any]] = []
        first = self._content.hit_policy == "first"
        for (name, tests, values), row in zip(self._rows, self._content.rules, strict=True):
            read: dict[str, Any] = {}
            held: bool | None = True
            missing = ""
            for test, (column, value) in zip(tests, operands, strict=True):
                read[column.field] = value
                try:
                    verdict = test(value, context)
                except TypeError as error:
                    raise StrategyError(
                        f"{self._file}: {self._name}, {name}: {column.field} is {type(value).__name__}: {error}.",
                        hint="Compare it with a value of its own kind.",
                    ) from error
                if verdict is False:
                    held = False
                    break
                if verdict is None:
                    held, missing = None, missing or _absent(column, row.get(column.id, ""), context)
            if held is None:
                raise ValueMissing(self._name, name, missing)
            said = self._said(values, context) if held else {}
            rules.append(RuleSaid(name, read, held, said))
            if held:
                hits.append(said)
                if first:
                    break
        if not first:
            return _Said(hits, rules)
        result = hits[0] if hits else {}
        return _Said(_overlaid(context, result) if self._content.pass_through else result, rules)

    def _said(self, values: Sequence[cells.Value | None], context: Context) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for path, value in zip(self._outputs, values, strict=True):
            if value is not None:
                _put(result, path, value(context))
        return result


def _absent(column: jdm.Column, cell: str, context: Context) -> str:
    """Which value a cell could not do without: its column's, or one that it names."""
    wanted = [column.field, *cells.fields_in(cell)]
    return next((path for path in wanted if cells.lookup(context, path.split(".")) is None), column.field)


class _Expressions:
    """Named expressions; one that needs a value that is not known says ``None``."""

    def __init__(self, node: jdm.ExpressionNode, file: str) -> None:
        self._content = node.content
        self._items = [
            (
                item.key,
                cells.value_of(item.value, f"{file}: {node.name}, {item.key}"),
                list(cells.fields_in(item.value)),
            )
            for item in node.content.expressions
        ]

    def __call__(self, context: Context) -> _Said:
        result: dict[str, Any] = {}
        rules = []
        for key, value, fields in self._items:
            said = value({**context, "$": result})
            _put(result, key.split("."), said)
            read = {field: cells.lookup(context, field.split(".")) for field in fields}
            rules.append(RuleSaid(key, read, held=True, said={key: said}))
        return _Said(_overlaid(context, result) if self._content.pass_through else result, rules)


class _Switch:
    """A fork: what comes in goes out by the ways whose condition holds."""

    def __init__(self, node: jdm.SwitchNode, file: str) -> None:
        self._name, self._first = node.name, node.content.hit_policy == "first"
        self._ways = [
            (
                item.id,
                cells.value_of(item.condition, f"{file}: {node.name}, {item.condition!r}")
                if item.condition.strip()
                else None,
                item.condition,
                list(cells.fields_in(item.condition)),
            )
            for item in node.content.statements
        ]

    def __call__(self, context: Context) -> _Said:
        rules, ways = [], set()
        for way, condition, text, fields in self._ways:
            read = {field: cells.lookup(context, field.split(".")) for field in fields}
            held = True if condition is None else condition(context)
            if held is None:
                raise ValueMissing(self._name, text, next((field for field in fields if read[field] is None), text))
            rules.append(RuleSaid(text, read, held=bool(held), said={}))
            if held:
                ways.add(way)
                if self._first:
                    break
        return _Said(context, rules, frozenset(ways))


def _put(result: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        result = result.setdefault(step, {})
    result[path[-1]] = value
