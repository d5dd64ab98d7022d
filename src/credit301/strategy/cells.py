"""Cells of decision tables, compiled: what people write in most of them natively, everything else by zen itself.

A test answers yes, no, or not known: a comparison with a value that is not there is never just a "no".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import zen

from credit301.domain import money
from credit301.strategy import expression
from credit301.strategy.errors import StrategyError
from credit301.strategy.paths import Get, getter

Verdict = bool | None
Test = Callable[[Any, Mapping[str, Any]], Verdict]
Value = Callable[[Mapping[str, Any]], Any]

_NUMBER = r"-?\d+(?:\.\d+)?"
_TEXT = r'"[^"\\]*"|' + r"'[^'\\]*'"
_LITERAL = rf"{_NUMBER}|{_TEXT}|true|false"
_COMPARED = re.compile(rf"(>=|<=|>|<)\s*({_NUMBER})|(==|!=)\s*({_LITERAL}|null)")
_INTERVAL = re.compile(rf"([\[(])\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*([\])])")
_ITEMS = rf"(?:{_LITERAL})(?:\s*,\s*(?:{_LITERAL}))*"
_LISTED = re.compile(_ITEMS)
_IN_LIST = re.compile(rf"(not\s+)?in\s*\[\s*({_ITEMS})\s*\]")
_ITEM = re.compile(_LITERAL)
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_NULL_AWARE = re.compile(r"\bnull\b|\?\?")
_STRING = re.compile(_TEXT)
_KEYWORDS = frozenset({"and", "or", "not", "in", "true", "false", "null"})
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_CANNOT_TELL = (TypeError, ArithmeticError)
"""What :mod:`credit301.strategy.expression` raises where zen must be asked."""
_OPENS, _CLOSES = {"[": operator.ge, "(": operator.gt}, {"]": operator.le, ")": operator.lt}


def test_of(cell: str, where: str) -> Test:
    """The test in an input cell; of the column's value, and of the whole context where it names other fields.

    Args:
        cell: a unary expression of zen; an empty one holds for everything.
        where: the cell's place, for messages.

    Raises:
        StrategyError: it is none.
    """
    text = cell.strip()
    return _native(text) or _zen_test(text, where)


def _native(text: str) -> Test | None:
    """What most cells say; ``None`` where it takes an expression."""
    test: Test | None = None
    if not text:
        test = _anything
    elif text == "null":
        test = _nothing
    elif match := _COMPARED.fullmatch(text):
        test = _ordering(match[1], match[2]) if match[1] else _equality(match[3], match[4])
    elif match := _INTERVAL.fullmatch(text):
        test = _interval(_ordered(_OPENS[match[1]], match[2]), _ordered(_CLOSES[match[4]], match[3]))
    elif _LISTED.fullmatch(text):
        test = _membership([_literal(item) for item in _ITEM.findall(text)], wanted=True)
    elif match := _IN_LIST.fullmatch(text):
        test = _membership([_literal(item) for item in _ITEM.findall(match[2])], wanted=not match[1])
    return test


def value_of(cell: str, where: str) -> Value:
    """The value that an output cell or an expression says.

    Raises:
        StrategyError: it is no expression of zen.
    """
    text = cell.strip()
    if _ITEM.fullmatch(text):
        said = _literal(text)
        return lambda _context: said
    if text == "null":
        return lambda _context: None
    if _PATH.fullmatch(text) and text not in _KEYWORDS:
        return getter(text.split("."))
    return _zen_value(text, where)


def fields_in(text: str) -> Iterator[str]:
    """Paths that an expression names, functions and keywords left out."""
    bare = _STRING.sub("''", text)
    for match in _PATH.finditer(bare):
        follows = bare[match.end() :].lstrip()[:1]
        before = bare[: match.start()].rstrip()[-1:]
        is_key = follows == ":" and before in {"{", ","}
        if match[0] not in _KEYWORDS and follows != "(" and before not in {".", "$", "#"} and not is_key:
            yield match[0]


def exact(value: Any) -> Any:
    """Numbers of zen, which calculates in decimals and answers in floats, as the decimals that they were."""
    if isinstance(value, float):
        return money.exact(value)
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return value


def _anything(_value: Any, _context: Mapping[str, Any]) -> Verdict:
    return True


def _nothing(value: Any, _context: Mapping[str, Any]) -> Verdict:
    return value is None


def _something(value: Any, _context: Mapping[str, Any]) -> Verdict:
    return value is not None


def _interval(above: Callable[[Any], bool], below: Callable[[Any], bool]) -> Test:
    return lambda value, _context: None if value is None else above(value) and below(value)


def _ordering(sign: str, number: str) -> Test:
    ordered = _ordered(_ORDER[sign], number)
    return lambda value, _context: None if value is None else ordered(value)


def _equality(sign: str, literal: str) -> Test:
    if literal != "null":
        return _membership([_literal(literal)], wanted=sign == "==")
    return _nothing if sign == "==" else _something


def _ordered(compare: Callable[[Any, Any], bool], text: str) -> Callable[[Any], bool]:
    """``compare`` with a number. A text or truth value is neither above nor below one: ``TypeError``."""
    number, decimal = float(text), Decimal(text)

    def holds(value: Any) -> bool:
        if isinstance(value, Decimal):
            return compare(value, decimal)
        if isinstance(value, bool):
            raise TypeError("a truth value is compared with a number")
        return compare(value, number)

    return holds


def _membership(items: list[Any], *, wanted: bool) -> Test:
    texts = frozenset(item for item in items if isinstance(item, str))
    truths = frozenset(item for item in items if isinstance(item, bool))
    decimals = frozenset(item for item in items if isinstance(item, Decimal))
    numbers = frozenset(float(item) for item in decimals)

    def holds(value: Any, _context: Mapping[str, Any]) -> Verdict:
        if value is None:
            return None
        match value:
            case str():
                found = value in texts
            case bool():
                found = value in truths
            case Decimal():
                found = value in decimals
            case int() | float():
                found = float(value) in numbers
            case _:
                found = False
        return found == wanted

    return holds


def _literal(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    return text[1:-1] if text[0] in "\"'" else Decimal(text)


def _zen_test(text: str, where: str) -> Test:
    if problem := zen.validate_unary_expression(text):
        raise StrategyError(f"{where}: {text!r}: {problem['source']}.", hint=_hint())
    compiled = zen.compile_unary_expression(text)
    # Without `$` a unary expression says something else than the same words do elsewhere.
    fast = expression.compiled(text) if "$" in _STRING.sub("''", text) else None
    aware, named = bool(_NULL_AWARE.search(text)), _paths(text)
    wanted = [getter(path) for path in named]

    def holds(value: Any, context: Mapping[str, Any]) -> Verdict:
        if not aware and (value is None or _lacks(wanted, context)):
            return None
        if fast is not None:
            try:
                return bool(fast({**context, "$": value} if named else {"$": value}))
            except _CANNOT_TELL:
                pass
        return bool(_asked(lambda: compiled.evaluate({**_excerpt(context, named), "$": _plain(value)}), where, text))

    return holds


def _zen_value(text: str, where: str) -> Value:
    if problem := zen.validate_expression(text):
        raise StrategyError(f"{where}: {text!r}: {problem['source']}.", hint=_hint())
    compiled, fast = zen.compile_expression(text), expression.compiled(text)
    named, aware, whole = _paths(text), bool(_NULL_AWARE.search(text)), "$" in _STRING.sub("''", text)
    wanted = [getter(path) for path in named]

    def value(context: Mapping[str, Any]) -> Any:
        if not aware and _lacks(wanted, context):
            return None
        if fast is not None:
            try:
                return _rounded(fast(context))
            except _CANNOT_TELL:
                pass
        known = _excerpt(context, named)
        if whole:
            known["$"] = _plain(context.get("$", context))
        return exact(_asked(lambda: compiled.evaluate(known), where, text))

    return value


def _lacks(wanted: Iterable[Get], context: Mapping[str, Any]) -> bool:
    """Whether one of the values that are wanted is not known."""
    return None in [get(context) for get in wanted]


def _rounded(value: Any) -> Any:
    """A decimal as zen would give it back: to the digits of a float."""
    return money.exact(float(value)) if isinstance(value, Decimal) else value


def _paths(text: str) -> list[list[str]]:
    return [field.split(".") for field in dict.fromkeys(fields_in(text))]


def _excerpt(context: Mapping[str, Any], paths: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The parts of ``context`` that are named: what is handed to zen is copied, all of it would take long."""
    return {path[0]: _plain(context[path[0]]) for path in paths if path[0] in context}


def _plain(value: Any) -> Any:
    """Decimals as floats, which zen reads."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _asked(ask: Callable[[], Any], where: str, text: str) -> Any:
    try:
        return ask()
    except Exception as error:  # zen raises nothing narrower
        reason = str(error).partition("\n")[0]
        raise StrategyError(f"{where}: {text!r} cannot be evaluated: {reason}") from error


def _hint() -> str:
    return "See docs.gorules.io for the expression language."
