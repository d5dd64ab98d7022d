"""What is left to zen: it reads every expression when a graph is loaded, and is asked what is not calculated here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import zen

from credit301.domain.money import exact
from credit301.strategy.errors import StrategyError
from credit301.strategy.paths import DOLLAR

PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
STRING = re.compile(r'"[^"\\]*"|' + r"'[^'\\]*'")
KEYWORDS = frozenset({"and", "or", "not", "in", "true", "false", "null"})
_NULL_AWARE = re.compile(r"\bnull\b|\?\?")
_HINT = "See docs.gorules.io for the expression language."


class Expression:
    """An expression that zen has read.

    Attributes:
        named: the paths that it names.
        aware: it says itself what it makes of a value that is not known.
        dollar: it speaks of ``$``.

    Raises:
        StrategyError: it is none.
    """

    def __init__(self, text: str, where: str, *, unary: bool = False) -> None:
        problem = zen.validate_unary_expression(text) if unary else zen.validate_expression(text)
        if problem:
            raise StrategyError(f"{where}: {text!r}: {problem['source']}.", hint=_HINT)
        self.text, self._where = text, where
        self.named = [tuple(field.split(".")) for field in dict.fromkeys(fields_in(text))]
        self.aware = bool(_NULL_AWARE.search(text))
        self.dollar, self._unary = DOLLAR in STRING.sub("''", text), unary
        self._compiled = zen.compile_unary_expression(text) if unary else zen.compile_expression(text)

    def value(self, context: Mapping[str, Any], dollar: Any) -> Any:
        """What it says, numbers as decimals; ``dollar`` is what ``$`` stands for.

        Raises:
            StrategyError: zen cannot tell.
        """
        return _exact(self._asked(context, dollar))

    def holds(self, context: Mapping[str, Any], dollar: Any) -> bool:
        """Whether it holds.

        Raises:
            StrategyError: zen cannot tell.
        """
        return bool(self._asked(context, dollar))

    def _asked(self, context: Mapping[str, Any], dollar: Any) -> Any:
        # What is handed over is copied: all of the context would take long.
        known = {path[0]: _plain(context[path[0]]) for path in self.named if path[0] in context}
        if self.dollar or self._unary:
            known[DOLLAR] = _plain(dollar)
        try:
            return self._compiled.evaluate(known)
        except Exception as error:  # zen raises nothing narrower
            reason = str(error).partition("\n")[0]
            raise StrategyError(f"{self._where}: {self.text!r} cannot be evaluated: {reason}") from error


def fields_in(text: str) -> Iterator[str]:
    """Paths that an expression names, functions and keywords left out."""
    bare = STRING.sub("''", text)
    for match in PATH.finditer(bare):
        follows = bare[match.end() :].lstrip()[:1]
        before = bare[: match.start()].rstrip()[-1:]
        is_key = follows == ":" and before in {"{", ","}
        if match[0] not in KEYWORDS and follows != "(" and before not in {".", "$", "#"} and not is_key:
            yield match[0]


def _exact(value: Any) -> Any:
    """Numbers of zen, which calculates in decimals and answers in floats, as the decimals that they were."""
    if isinstance(value, float):
        return exact(value)
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    return value


def _plain(value: Any) -> Any:
    """Decimals as floats, which zen reads."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
