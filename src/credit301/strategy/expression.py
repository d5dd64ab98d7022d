"""The common part of zen's expressions, as a tree: what is calculated here and not by zen.

Numbers, texts, truth values, paths, ``$``, ``+ - * /``, comparisons, ``and or not``, ``a ? b : c``, lists, and
``min max sum ceil floor abs``. Everything else is left to zen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from credit301.strategy.paths import settled

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>\"[^\"\\]*\"|'[^'\\]*')|(?P<name>\$(?:\.[A-Za-z_]\w*)*"
    r"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)|(?P<sign>>=|<=|==|!=|\?\?|[-+*/()<>\[\],?:]))"
)
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "null": None}
_WORDS = frozenset({"and", "or", "not", "in"})
_SUMS, _PRODUCTS, _ORDERS, _EQUALITIES = ("+", "-"), ("*", "/"), (">", ">=", "<", "<="), ("==", "!=")
FUNCTIONS = frozenset({"min", "max", "sum", "ceil", "floor", "abs"})
LONGEST = 120
"""Tokens. A longer expression is left to zen: it may nest deeper than parsers, Python's too, follow."""


class Constant(NamedTuple):
    """A number (a decimal), a text, a truth value, or ``None``."""

    value: Decimal | str | bool | None


class Named(NamedTuple):
    """What is at a path of the context."""

    path: tuple[str, ...]


class Items(NamedTuple):
    """A list."""

    items: tuple[Tree, ...]


class Call(NamedTuple):
    """One of :data:`FUNCTIONS`."""

    function: str
    argument: Tree


class Negative(NamedTuple):
    """``-a``."""

    inner: Tree


class Arithmetic(NamedTuple):
    """``a + b`` and the like."""

    sign: str
    left: Tree
    right: Tree


class Ordered(NamedTuple):
    """``a > b`` and the like."""

    sign: str
    left: Tree
    right: Tree


class Equal(NamedTuple):
    """``a == b``, or ``a != b`` where equality is not ``wanted``."""

    wanted: bool
    left: Tree
    right: Tree


class Not(NamedTuple):
    """``not a``."""

    inner: Tree


class Joined(NamedTuple):
    """``a and b``, ``a or b``."""

    word: Literal["and", "or"]
    left: Tree
    right: Tree


class Condition(NamedTuple):
    """``test ? yes : no``."""

    test: Tree
    yes: Tree
    no: Tree


Tree = Constant | Named | Items | Call | Negative | Arithmetic | Ordered | Equal | Not | Joined | Condition


class _NotCommon(Exception):
    """The text is not of the part of the language that is known here; it may still be an expression."""


def parsed(text: str, fixed: Mapping[str, Any]) -> Tree | None:
    """``text`` as a tree; ``None`` where zen must be asked.

    Args:
        text: an expression.
        fixed: parts of the context that never change: what is read from them is a constant.
    """
    try:
        parser = _Parser(text, fixed)
        tree = parser.condition()
        parser.end()
    except _NotCommon:
        return None
    return tree


class _Parser:
    """Recursive descent; one method for each level of binding."""

    def __init__(self, text: str, fixed: Mapping[str, Any]) -> None:
        self._fixed = fixed
        self._tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None or len(self._tokens) == LONGEST:
                raise _NotCommon
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self._place = 0

    def end(self) -> None:
        """Insist that nothing is left."""
        if self._place != len(self._tokens):
            raise _NotCommon

    def condition(self) -> Tree:
        """``a ? b : c``."""
        test = self._either()
        if not self._take("?"):
            return test
        yes = self.condition()
        self._need(":")
        return Condition(test, yes, self.condition())

    def _either(self) -> Tree:
        left = self._both()
        while self._take("or"):
            left = Joined("or", left, self._both())
        return left

    def _both(self) -> Tree:
        left = self._negated()
        while self._take("and"):
            left = Joined("and", left, self._negated())
        return left

    def _negated(self) -> Tree:
        return Not(self._negated()) if self._take("not") else self._compared()

    def _compared(self) -> Tree:
        left = self._sum()
        if (sign := self._take(*_ORDERS)) is not None:
            return Ordered(sign, left, self._sum())
        if (sign := self._take(*_EQUALITIES)) is not None:
            return Equal(sign == "==", left, self._sum())
        return left

    def _sum(self) -> Tree:
        left = self._product()
        while (sign := self._take(*_SUMS)) is not None:
            left = Arithmetic(sign, left, self._product())
        return left

    def _product(self) -> Tree:
        left = self._signed()
        while (sign := self._take(*_PRODUCTS)) is not None:
            left = Arithmetic(sign, left, self._signed())
        return left

    def _signed(self) -> Tree:
        return self._atom() if self._take("-") is None else Negative(self._signed())

    def _atom(self) -> Tree:
        kind, text = self._next()
        if kind == "number":
            return Constant(Decimal(text))
        if kind == "text":
            return Constant(text[1:-1])
        if kind == "name":
            return self._named(text)
        if text == "(":
            inner = self.condition()
            self._need(")")
            return inner
        if text == "[":
            return self._items()
        raise _NotCommon

    def _named(self, text: str) -> Tree:
        if text in _WORDS:
            raise _NotCommon
        if text in _CONSTANTS:
            return Constant(_CONSTANTS[text])
        if self._take("("):
            if text not in FUNCTIONS:
                raise _NotCommon
            argument = self.condition()
            self._need(")")
            return Call(text, argument)
        if self._peek("["):
            raise _NotCommon
        path = tuple(text.split("."))
        known = settled(self._fixed, path)
        return Named(path) if known is None else Constant(known)

    def _items(self) -> Tree:
        items = [self.condition()]
        while self._take(","):
            items.append(self.condition())
        self._need("]")
        return Items(tuple(items))

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
