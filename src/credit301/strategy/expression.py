"""Calculations and conditions of the common kind, compiled to closures over exact decimals.

What zen takes 5 to 10 us to be asked from Python takes 1 or 2 here. The grammar is a part of zen's: numbers, texts,
truth values, paths, ``$``, ``+ - * /``, comparisons, ``and or not``, ``a ? b : c``, lists, and
``min max sum ceil floor abs``. Everything else is left to zen, also where values are of another kind than is expected
here; differential tests hold this part to it.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from credit301.domain.money import exact
from credit301.strategy.paths import getter

Evaluate = Callable[[Mapping[str, Any]], Any]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>\"[^\"\\]*\"|'[^'\\]*')|(?P<name>\$(?:\.[A-Za-z_]\w*)*"
    r"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|(?P<sign>>=|<=|==|!=|\?\?|[-+*/()<>\[\],?:]))"
)
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "null": None}
_WORDS = frozenset({"and", "or", "not", "in"})


def _all_numbers(values: Any) -> list[Decimal]:
    if not values or not all(isinstance(value, Decimal) for value in values):
        raise TypeError("a function of numbers is given something else")
    return list(values)


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "min": lambda values: min(_all_numbers(values)),
    "max": lambda values: max(_all_numbers(values)),
    "sum": lambda values: sum(_all_numbers(values), Decimal(0)),
    "ceil": lambda value: Decimal(math.ceil(value)),
    "floor": lambda value: Decimal(math.floor(value)),
    "abs": abs,
}
_SUMS = {"+": operator.add, "-": operator.sub}
_PRODUCTS = {"*": operator.mul, "/": operator.truediv}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class _NotCommon(Exception):
    """The text is not of the part of the language that is compiled here; it may still be an expression."""


def compiled(text: str) -> Evaluate | None:
    """``text`` as a function of the context (``$`` is a name in it); ``None`` where zen must be asked.

    The function raises ``TypeError`` or ``ArithmeticError`` where it cannot tell; zen may.
    """
    try:
        parser = _Parser(text)
        evaluate = parser.condition()
        parser.end()
    except _NotCommon:
        return None
    return evaluate


class _Parser:
    """Recursive descent; one method for each level of binding."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise _NotCommon
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self._place = 0

    def end(self) -> None:
        """Insist that nothing is left."""
        if self._place != len(self._tokens):
            raise _NotCommon

    def condition(self) -> Evaluate:
        """``a ? b : c``."""
        test = self._either()
        if not self._take("?"):
            return test
        yes = self.condition()
        self._need(":")
        no = self.condition()
        return lambda context: yes(context) if _truth(test(context)) else no(context)

    def _either(self) -> Evaluate:
        left = self._both()
        while self._take("or"):
            left = _or(left, self._both())
        return left

    def _both(self) -> Evaluate:
        left = self._negated()
        while self._take("and"):
            left = _and(left, self._negated())
        return left

    def _negated(self) -> Evaluate:
        if not self._take("not"):
            return self._compared()
        inner = self._negated()
        return lambda context: not _truth(inner(context))

    def _compared(self) -> Evaluate:
        left = self._sum()
        for sign, compare in _ORDERS.items():
            if self._take(sign):
                return _ordered(compare, left, self._sum())
        for sign, wanted in (("==", True), ("!=", False)):
            if self._take(sign):
                return _equal(left, self._sum(), wanted=wanted)
        return left

    def _sum(self) -> Evaluate:
        left = self._product()
        while (sign := self._take(*_SUMS)) is not None:
            left = _arithmetic(_SUMS[sign], left, self._product())
        return left

    def _product(self) -> Evaluate:
        left = self._signed()
        while (sign := self._take(*_PRODUCTS)) is not None:
            left = _arithmetic(_PRODUCTS[sign], left, self._signed())
        return left

    def _signed(self) -> Evaluate:
        if self._take("-") is None:
            return self._atom()
        inner = self._signed()
        return lambda context: -_number(inner(context))

    def _atom(self) -> Evaluate:
        kind, text = self._next()
        if kind == "number":
            number = Decimal(text)
            return lambda _: number
        if kind == "text":
            said = text[1:-1]
            return lambda _: said
        if kind == "name":
            return self._named(text)
        if text == "(":
            inner = self.condition()
            self._need(")")
            return inner
        if text == "[":
            return self._items()
        raise _NotCommon

    def _named(self, text: str) -> Evaluate:
        if text in _WORDS:
            raise _NotCommon
        if text in _CONSTANTS:
            constant = _CONSTANTS[text]
            return lambda _: constant
        if self._take("("):
            function = _FUNCTIONS.get(text)
            if function is None:
                raise _NotCommon
            argument = self.condition()
            self._need(")")
            return lambda context: function(argument(context))
        if self._peek("["):
            raise _NotCommon
        return _path(text.split("."))

    def _items(self) -> Evaluate:
        items = [self.condition()]
        while self._take(","):
            items.append(self.condition())
        self._need("]")
        return lambda context: [item(context) for item in items]

    def _peek(self, *texts: str) -> str | None:
        if self._place == len(self._tokens):
            return None
        kind, text = self._tokens[self._place]
        return text if kind != "text" and text in texts else None

    def _take(self, *texts: str) -> str | None:
        found = self._peek(*texts)
        self._place += found is not None
        return found

    def _need(self, text: str) -> None:
        if self._take(text) is None:
            raise _NotCommon

    def _next(self) -> tuple[str, str]:
        if self._place == len(self._tokens):
            raise _NotCommon
        self._place += 1
        return self._tokens[self._place - 1]


def _path(steps: list[str]) -> Evaluate:
    get = getter(steps)

    def value(context: Mapping[str, Any]) -> Any:
        found = get(context)
        # Floats stand for the shortest decimal that reads back as them.
        if isinstance(found, float):
            return exact(found)
        return Decimal(found) if isinstance(found, int) and not isinstance(found, bool) else found

    return value


def _arithmetic(calculate: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda context: calculate(_number(left(context)), _number(right(context)))


def _ordered(compare: Callable[[Any, Any], bool], left: Evaluate, right: Evaluate) -> Evaluate:
    def holds(context: Mapping[str, Any]) -> bool:
        one, other = left(context), right(context)
        # Only an expression that speaks of null comes here without a value; zen says no, too.
        return one is not None and other is not None and compare(_number(one), _number(other))

    return holds


def _equal(left: Evaluate, right: Evaluate, *, wanted: bool) -> Evaluate:
    def holds(context: Mapping[str, Any]) -> bool:
        one, other = left(context), right(context)
        return (isinstance(one, bool) == isinstance(other, bool) and one == other) == wanted

    return holds


def _and(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda context: _truth(left(context)) and _truth(right(context))


def _or(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda context: _truth(left(context)) or _truth(right(context))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _number(value: Any) -> Decimal:
    if not isinstance(value, Decimal):
        raise TypeError(f"{value!r} is no number")
    return value
