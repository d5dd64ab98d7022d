"""Paths into a context: ``a.b.c`` is ``context["a"]["b"]["c"]``, and nothing where a step is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from credit301.domain.money import exact
from credit301.strategy.source import Source

CONTEXT, DOLLAR = "context", "$"
Path = tuple[str, ...]
_NOT_THERE = (KeyError, TypeError)


def lookup(context: Any, path: Sequence[str]) -> Any:
    """What is at ``path``; ``None`` where something on the way is not there."""
    for step in path:
        if not isinstance(context, dict):
            return None
        context = context.get(step)
    return context


def settled(fixed: Mapping[str, Any], path: Path) -> Decimal | bool | None:
    """The number or truth value at ``path`` of what is ``fixed``; ``None`` where it is to be read each time."""
    found = lookup(fixed, path)
    return found if isinstance(found, Decimal | bool) else None


def number(value: Any) -> Decimal | None:
    """A number as a decimal, a float as the shortest one that reads back as it; ``None`` for anything else."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        return exact(float(value))
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


class Scope:
    """What a block of source has read from the context so far, each path once.

    Args:
        code: where reading is written to.
        fixed: the parts of the context that are the same whenever the function is asked.
        dollar: the name of what ``$`` stands for; ``None`` where it is a name like others.
    """

    def __init__(self, code: Source, fixed: Mapping[str, Any], dollar: str | None = None) -> None:
        self.code, self.fixed, self.dollar = code, fixed, dollar
        self._read: dict[Path, str] = {}
        self._numbers: dict[Path, str] = {}

    def inner(self, dollar: str | None = None) -> Scope:
        """That of a block inside, which sees what was read before, with a ``dollar`` of its own if one is given."""
        scope = Scope(self.code, self.fixed, dollar or self.dollar)
        scope._read, scope._numbers = dict(self._read), dict(self._numbers)
        if dollar:
            scope.forget_dollar()
        return scope

    def read(self, path: Path) -> str:
        """The name of what is at ``path``."""
        if path == (DOLLAR,) and self.dollar:
            return self.dollar
        if path not in self._read:
            self._read[path] = name = self.code.fresh()
            start, steps = (self.dollar, path[1:]) if path[0] == DOLLAR and self.dollar else (CONTEXT, path)
            with self.code.block("try"):
                self.code.line(f"{name} = {start}{''.join(f'[{self.code.value(step)}]' for step in steps)}")
            with self.code.block(f"except {self.code.value(_NOT_THERE)}"):
                self.code.line(f"{name} = None")
        return self._read[path]

    def number(self, path: Path) -> str:
        """The name of the number at ``path``, which is ``None`` where there is none."""
        if path not in self._numbers:
            value, name = self.read(path), self.code.fresh()
            self._numbers[path] = name
            decimal, other = self.code.value(Decimal), f"{self.code.value(number)}({value})"
            other = f"{value} if kind is {decimal} else {other}"
            # Most are floats of the store or of the model, or what was calculated from them.
            self.code.line(f"kind = type({value})")
            self.code.line(f"{name} = {decimal}(repr({value})) if kind is float else {other}")
        return self._numbers[path]

    def forget_dollar(self) -> None:
        """Read what ``$`` has anew: it has changed."""
        for known in (self._read, self._numbers):
            for path in [path for path in known if path[0] == DOLLAR]:
                del known[path]
