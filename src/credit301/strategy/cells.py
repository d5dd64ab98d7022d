"""Cells of decision tables and expressions, written as Python: what most people write here, the rest asks zen.

A test answers yes, no, or not known: a comparison with a value that is not there is never just a "no".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from credit301.strategy import calculation, expression
from credit301.strategy.engine import KEYWORDS, PATH, Expression
from credit301.strategy.errors import StrategyError
from credit301.strategy.paths import CONTEXT, Scope, settled
from credit301.strategy.source import Source
from credit301.strategy.told import rounded, scalar

_NUMBER = r"-?\d+(?:\.\d+)?"
_LITERAL = rf"{_NUMBER}|" + r'"[^"\\]*"|' + r"'[^'\\]*'|true|false"
_COMPARED = re.compile(rf"(>=|<=|>|<)\s*({_NUMBER})|(==|!=)\s*({_LITERAL}|null)")
_INTERVAL = re.compile(rf"([\[(])\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*([\])])")
_ITEMS = rf"(?:{_LITERAL})(?:\s*,\s*(?:{_LITERAL}))*"
_LISTED = re.compile(_ITEMS)
_IN_LIST = re.compile(rf"(not\s+)?in\s*\[\s*({_ITEMS})\s*\]")
_ITEM = re.compile(_LITERAL)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_OPENS, _CLOSES = {"[": ">=", "(": ">"}, {"]": "<=", ")": "<"}


class Place(NamedTuple):
    """Where an input cell stands, for messages: its file and table, the row's id and number, the column's field."""

    file: str
    table: str
    row: str
    number: int
    field: str
    column: str

    def __str__(self) -> str:
        return f"{self.file}: {self.table}, row {self.number}, column {self.column}"


class Test(NamedTuple):
    """A test as an expression of Python, and whether its answer may be ``None``, not known."""

    text: str
    open: bool = True


class Value(NamedTuple):
    """The name of a value, the name of it in a report, and whether it is a scalar there whatever is read."""

    name: str
    told: str
    scalar: bool = False


def write_test(scope: Scope, cell: str, value: str, place: Place) -> Test:
    """The test in an input cell that says something, of the column's ``value``.

    Args:
        scope: where it is written.
        cell: a unary expression of zen.
        value: the name of the column's value, which holds ``None`` where it is not known.
        place: the cell's place, for messages.

    Raises:
        StrategyError: it is none.
    """
    text = cell.strip()
    return _common(scope, text, value, place) or _condition(scope, text, value, place)


def _common(scope: Scope, text: str, value: str, place: Place) -> Test | None:
    """What most cells say; ``None`` where it takes an expression."""
    test = None
    if text == "null":
        test = Test(f"{value} is None", open=False)
    elif match := _COMPARED.fullmatch(text):
        if match[4] == "null":
            test = Test(f"{value} is {'' if match[3] == '==' else 'not '}None", open=False)
        elif match[1]:
            test = _limits(scope, [(match[1], match[2])], value, place)
        else:
            test = _membership(scope, [match[4]], value, wanted=match[3] == "==")
    elif match := _INTERVAL.fullmatch(text):
        test = _limits(scope, [(_OPENS[match[1]], match[2]), (_CLOSES[match[4]], match[3])], value, place)
    elif _LISTED.fullmatch(text):
        test = _membership(scope, _ITEM.findall(text), value, wanted=True)
    elif match := _IN_LIST.fullmatch(text):
        test = _membership(scope, _ITEM.findall(match[2]), value, wanted=not match[1])
    return test


def write_value(scope: Scope, cell: str, where: str) -> Value:
    """The value that an output cell or an expression says.

    Args:
        scope: where it is written.
        cell: an expression of zen.
        where: the cell's place, for messages.

    Raises:
        StrategyError: it is none.
    """
    text = cell.strip()
    if _ITEM.fullmatch(text):
        return constant(scope, _literal(text))
    if text == "null":
        return constant(scope, None)
    if PATH.fullmatch(text) and text not in KEYWORDS:
        path = tuple(text.split("."))
        known = settled(scope.fixed, path)
        return Value(scope.read(path), scope.read(path)) if known is None else constant(scope, known)
    return _calculated(scope, Expression(text, where))


def constant(scope: Scope, value: Decimal | str | bool | None) -> Value:
    """A value that is always the same."""
    return Value(scope.code.value(value), scope.code.value(scalar(value)), scalar=True)


def _calculated(scope: Scope, asked: Expression) -> Value:
    code = scope.code
    tree = expression.parsed(asked.text, scope.fixed)
    wanted = [] if asked.aware else _wanted(scope, asked)
    written, value, told = None, code.fresh(), code.fresh()
    if tree is not None:
        said = calculation.anything(tree, scope)
        is_truth = calculation.kind(tree) == "truth"
        written = f"{value} = {told} = {said}" if is_truth else f"{value}, {told} = {code.value(rounded)}({said})"
    code.line(f"{value} = {told} = None")
    zen = f"{value} = {code.value(asked.value)}({CONTEXT}, {scope.dollar or CONTEXT})"
    _where_known(code, wanted, written, [zen, f"{told} = {code.value(scalar)}({value})"])
    return Value(value, told)


def _condition(scope: Scope, text: str, value: str, place: Place) -> Test:
    """A test that is an expression; ``$`` in it is the column's value."""
    code, asked = scope.code, Expression(text, str(place), unary=True)
    # Without `$` a unary expression says something else than the same words do elsewhere.
    tree = expression.parsed(text, scope.fixed) if asked.dollar else None
    inner = scope.inner(value)
    wanted = [] if asked.aware else [value, *_wanted(scope, asked)]
    written, held = None, code.fresh()
    if tree is not None:
        is_truth = calculation.kind(tree) == "truth"
        said = calculation.truth(tree, inner) if is_truth else f"bool({calculation.anything(tree, inner)})"
        written = f"{held} = {said}"
    code.line(f"{held} = None")
    _where_known(code, wanted, written, [f"{held} = {code.value(asked.holds)}({CONTEXT}, {value})"])
    return Test(held, open=bool(wanted))


def _where_known(code: Source, wanted: Iterable[str], written: str | None, zen: Iterable[str]) -> None:
    """Do what is ``written`` where all that is ``wanted`` is known, and ask ``zen`` where that cannot tell."""
    with code.block(f"if {' and '.join(f'{name} is not None' for name in wanted) or 'True'}"):
        if written is not None:
            with code.block("try"):
                code.line(written)
        with code.block("if True" if written is None else f"except {code.value(calculation.CANNOT_TELL)}"):
            for line in zen:
                code.line(line)


def _wanted(scope: Scope, asked: Expression) -> list[str]:
    """The names of the values that must be known; those that are always known left out."""
    return [scope.read(path) for path in asked.named if settled(scope.fixed, path) is None]


def _limits(scope: Scope, limits: Sequence[tuple[str, str]], value: str, place: Place) -> Test:
    """One or two comparisons with numbers. A text or truth value is neither above nor below one."""
    compared = [(_ORDER[sign], float(number), Decimal(number)) for sign, number in limits]

    def holds(value: Any) -> bool:
        exact = isinstance(value, Decimal)
        try:
            return all(compare(_no_truth(value), decimal if exact else number) for compare, number, decimal in compared)
        except TypeError as error:
            raise StrategyError(
                f"{place.file}: {place.table}, {place.row}: {place.field} is {type(value).__name__}: {error}.",
                hint="Compare it with a value of its own kind.",
            ) from error

    code = scope.code
    native = " and ".join(f"{value} {sign} {code.value(float(number))}" for sign, number in limits)
    return Test(f"(None if {value} is None else {native} if type({value}) is float else {code.value(holds)}({value}))")


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError("a truth value is compared with a number")
    return value


def _membership(scope: Scope, literals: Sequence[str], value: str, *, wanted: bool) -> Test:
    items = [_literal(literal) for literal in literals]
    texts = frozenset(item for item in items if isinstance(item, str))
    truths = frozenset(item for item in items if isinstance(item, bool))
    decimals = frozenset(item for item in items if isinstance(item, Decimal))
    numbers = frozenset(float(item) for item in decimals)

    def among(value: Any) -> bool:
        match value:
            case str():
                return value in texts
            case bool():
                return value in truths
            case Decimal():
                return value in decimals
            case int() | float():
                return float(value) in numbers
        return False

    found = f"{scope.code.value(among)}({value})"
    if len(texts) == len(items):
        found = f"({value} in {scope.code.value(texts)} if type({value}) is str else {found})"
    return Test(f"(None if {value} is None else {found if wanted else f'not {found}'})")


def _literal(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    return text[1:-1] if text[0] in "\"'" else Decimal(text)
