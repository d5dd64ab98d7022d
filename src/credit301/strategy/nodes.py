"""The nodes of a decision graph, compiled: each from what it is given to what it says, and what it looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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


class _Table:
    """A decision table: rows from top to bottom, cells from left to right, as far as is needed."""

    def __init__(self, node: jdm.TableNode, file: str) -> None:
        self._file, self._name, self._content = file, node.name, node.content
        content = node.content
        self._inputs = [(column, column.field.split(".")) for column in content.inputs]
        self._outputs = [column.field.split(".") for column in content.outputs]
        known = {column.id for column in (*content.inputs, *content.outputs)}
        self._rows: list[tuple[str, dict[int, cells.Test], list[cells.Value | None]]] = []
        for number, row in enumerate(content.rules, 1):
            where = f"{file}: {node.name}, row {number}"
            if unknown := sorted(key for key in row if key not in known and not key.startswith("_")):
                raise StrategyError(f"{where}: there is no column {unknown[0]!r}.")
            # An empty cell asks for nothing, and so reads nothing.
            tests = {
                place: cells.test_of(row[column.id], f"{where}, column {column.name or column.field}")
                for place, column in enumerate(content.inputs)
                if row.get(column.id, "").strip()
            }
            values = [
                cells.value_of(row[column.id], f"{where}, column {column.name or column.field}")
                if row.get(column.id, "").strip()
                else None
                for column in content.outputs
            ]
            self._rows.append((row.get("_id") or str(number), tests, values))

    def __call__(self, context: Context) -> Said:
        operands = [cells.lookup(context, path) for _, path in self._inputs]
        rules: list[RuleSaid] = []
        hits: list[dict[str, Any]] = []
        first = self._content.hit_policy == "first"
        answered: set[int] = set()
        for (name, tests, values), row in zip(self._rows, self._content.rules, strict=True):
            held, read = self._held(name, tests, operands, row, context, answered)
            said = self._said(values, context) if held else {}
            rules.append(RuleSaid(name, read, held, said))
            if held:
                hits.append(said)
                if first:
                    break
                # What not knowing means was said: the rows below need not say it again.
                answered |= {place for place in tests if operands[place] is None}
        return Said(_placed(self._content, context, (hits[0] if hits else None) if first else hits), rules)

    def _held(
        self,
        name: str,
        tests: Mapping[int, cells.Test],
        operands: Sequence[Any],
        row: Mapping[str, str],
        context: Context,
        answered: Collection[int],
    ) -> tuple[bool, dict[str, Any]]:
        """Whether the row called ``name`` holds, and what it read; in columns that are ``answered``, null is a "no"."""
        read: dict[str, Any] = {}
        missing = ""
        for place, test in tests.items():
            column, value = self._inputs[place][0], operands[place]
            read[column.field] = value
            verdict = self._tested(test, column, value, context, name)
            if verdict is False or (verdict is None and place in answered):
                return False, read
            if verdict is None:
                missing = missing or _absent(column, row[column.id], context)
        if missing:
            raise ValueMissing(self._name, name, missing)
        return True, read

    def _tested(self, test: cells.Test, column: jdm.Column, value: Any, context: Context, row: str) -> cells.Verdict:
        try:
            return test(value, context)
        except TypeError as error:
            raise StrategyError(
                f"{self._file}: {self._name}, {row}: {column.field} is {type(value).__name__}: {error}.",
                hint="Compare it with a value of its own kind.",
            ) from error

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

    def __call__(self, context: Context) -> Said:
        result: dict[str, Any] = {}
        rules = []
        for key, value, fields in self._items:
            said = value({**context, "$": result})
            _put(result, key.split("."), said)
            read = {field: cells.lookup(context, field.split(".")) for field in fields}
            rules.append(RuleSaid(key, read, held=True, said={key: said}))
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
                list(cells.fields_in(item.condition)),
            )
            for item in node.content.statements
        ]

    def __call__(self, context: Context) -> Said:
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
        return Said(context, rules, frozenset(ways))


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
