"""The nodes of a decision graph, compiled: each from what it is given to what it says, and what it looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from credit301.strategy import cells, jdm
from credit301.strategy.errors import StrategyError, ValueMissing
from credit301.strategy.paths import Get, getter, lookup

Context = Mapping[str, Any]


class RuleSaid(msgspec.Struct, frozen=True):
    """A row of a table, an expression, or a way out of a switch: what it read, and whether it held.

    ``held`` is ``None`` where a value that it asks for is not known; ``said`` is empty where it did not hold.
    """

    rule: str
    read: dict[str, Any]
    held: bool | None
    said: dict[str, Any]


class Said(msgspec.Struct):
    """What a node says, of which ``rules``; ``ways`` are those out of a switch that are open."""

    result: Any
    rules: list[RuleSaid]
    ways: frozenset[str] | None = None


def overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``under``, and so on inside what both have."""
    both = {
        key: overlaid(under[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(under.get(key), dict)
    }
    return {**under, **over, **both}


def compiled(node: jdm.Node, file: str) -> Callable[[Context], Said] | None:
    """The step that ``node`` is; ``None`` for one that hands on what it is given.

    Raises:
        StrategyError: a cell or condition is no expression.
    """
    match node:
        case jdm.TableNode():
            return _Table(node, file)
        case jdm.ExpressionNode():
            return _Expressions(node, file)
        case jdm.SwitchNode():
            return _Switch(node, file)
    return None


class _Cell(NamedTuple):
    """An input cell that asks for something: the ``test`` of column ``place``, which is ``field`` of the context."""

    place: int
    field: str
    test: cells.Test
    text: str


class _Row(NamedTuple):
    """A row of a table, prepared: what it asks, and what it says by path."""

    name: str
    cells: tuple[_Cell, ...]
    values: tuple[tuple[Sequence[str], cells.Value], ...]


class _Table:
    """A decision table: rows from top to bottom, cells from left to right, as far as is needed."""

    def __init__(self, node: jdm.TableNode, file: str) -> None:
        self._file, self._name, self._content = file, node.name, node.content
        content = node.content
        self._inputs: list[Get] = [getter(column.field.split(".")) for column in content.inputs]
        self._first = content.hit_policy == "first"
        known = {column.id for column in (*content.inputs, *content.outputs)}
        self._rows: list[_Row] = []
        for number, row in enumerate(content.rules, 1):
            where = f"{file}: {node.name}, row {number}"
            if unknown := sorted(key for key in row if key not in known and not key.startswith("_")):
                raise StrategyError(f"{where}: there is no column {unknown[0]!r}.")
            # An empty cell asks for nothing, and so reads nothing.
            asked = tuple(
                _Cell(
                    place,
                    column.field,
                    cells.test_of(row[column.id], f"{where}, column {column.name or column.field}"),
                    row[column.id],
                )
                for place, column in enumerate(content.inputs)
                if row.get(column.id, "").strip()
            )
            values = tuple(
                (
                    column.field.split("."),
                    cells.value_of(row[column.id], f"{where}, column {column.name or column.field}"),
                )
                for column in content.outputs
                if row.get(column.id, "").strip()
            )
            self._rows.append(_Row(row.get("_id") or str(number), asked, values))

    def __call__(self, context: Context) -> Said:
        operands = [get(context) for get in self._inputs]
        rules: list[RuleSaid] = []
        hits: list[dict[str, Any]] = []
        answered: set[int] = set()
        for row in self._rows:
            held, read = self._held(row, operands, context, answered)
            if not held:
                rules.append(RuleSaid(row.name, read, False, {}))
                continue
            said: dict[str, Any] = {}
            for path, value in row.values:
                _put(said, path, value(context))
            rules.append(RuleSaid(row.name, read, True, said))
            hits.append(said)
            if self._first:
                break
            # What not knowing means was said: the rows below need not say it again.
            answered.update(cell.place for cell in row.cells if operands[cell.place] is None)
        return Said(_placed(self._content, context, (hits[0] if hits else None) if self._first else hits), rules)

    def _held(
        self, row: _Row, operands: Sequence[Any], context: Context, answered: Collection[int]
    ) -> tuple[bool, dict[str, Any]]:
        """Whether ``row`` holds, and what it read; in columns that are ``answered``, null is a "no"."""
        read: dict[str, Any] = {}
        missing = ""
        for place, field, test, text in row.cells:
            value = read[field] = operands[place]
            try:
                verdict = test(value, context)
            except TypeError as error:
                raise StrategyError(
                    f"{self._file}: {self._name}, {row.name}: {field} is {type(value).__name__}: {error}.",
                    hint="Compare it with a value of its own kind.",
                ) from error
            if verdict is False or (verdict is None and place in answered):
                return False, read
            if verdict is None:
                missing = missing or _absent(field, text, context)
        if missing:
            raise ValueMissing(self._name, row.name, missing)
        return True, read


def _absent(field: str, cell: str, context: Context) -> str:
    """Which value a cell could not do without: its column's, or one that it names."""
    wanted = [field, *cells.fields_in(cell)]
    return next((path for path in wanted if lookup(context, path.split(".")) is None), field)


class _Expressions:
    """Named expressions; one that needs a value that is not known says ``None``."""

    def __init__(self, node: jdm.ExpressionNode, file: str) -> None:
        self._content = node.content
        self._items = [
            (
                item.key,
                item.key.split("."),
                cells.value_of(item.value, f"{file}: {node.name}, {item.key}"),
                _getters(item.value),
            )
            for item in node.content.expressions
        ]

    def __call__(self, context: Context) -> Said:
        result: dict[str, Any] = {}
        rules = []
        known = {**context, "$": result}
        for key, path, value, fields in self._items:
            said = value(known)
            _put(result, path, said)
            read = {field: get(context) for field, get in fields}
            rules.append(RuleSaid(key, read, True, {key: said}))
        return Said(_placed(self._content, context, result), rules)


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
                _getters(item.condition),
            )
            for item in node.content.statements
        ]

    def __call__(self, context: Context) -> Said:
        rules, ways = [], set()
        for way, condition, text, fields in self._ways:
            read = {field: get(context) for field, get in fields}
            held = True if condition is None else condition(context)
            if held is None:
                raise ValueMissing(
                    self._name, text, next((field for field, value in read.items() if value is None), text)
                )
            rules.append(RuleSaid(text, read, held=bool(held), said={}))
            if held:
                ways.add(way)
                if self._first:
                    break
        return Said(context, rules, frozenset(ways))


def _getters(text: str) -> list[tuple[str, Get]]:
    """The paths that an expression names, each with what is at it."""
    return [(field, getter(field.split("."))) for field in cells.fields_in(text)]


def _placed(content: jdm.TableContent | jdm.ExpressionContent, context: Context, result: Any) -> Any:
    """``result`` where the node wants it, with what the node was given where it passes that on; ``None`` is none."""
    if content.output_path is not None:
        nested: dict[str, Any] = {}
        _put(nested, content.output_path.split("."), result)
        result = nested
    elif result is None:
        result = {}
    # A list cannot be laid over anything.
    return overlaid(context, result) if content.pass_through and isinstance(result, dict) else result


def _put(result: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        result = result.setdefault(step, {})
    result[path[-1]] = value
