"""Paths into a context: ``a.b.c`` is ``context["a"]["b"]["c"]``, and nothing where a step is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Get = Callable[[Any], Any]


def lookup(context: Any, path: Sequence[str]) -> Any:
    """What is at ``path``; ``None`` where something on the way is not there."""
    for step in path:
        if not isinstance(context, dict):
            return None
        context = context.get(step)
    return context


def getter(path: Sequence[str]) -> Get:
    """:func:`lookup` of ``path``, prepared: most paths are of two or three steps, and are there."""

    def one(context: Any) -> Any:
        try:
            return context[first]
        except (KeyError, TypeError):
            return None

    def two(context: Any) -> Any:
        try:
            return context[first][second]
        except (KeyError, TypeError):
            return None

    def three(context: Any) -> Any:
        try:
            return context[first][second][third]
        except (KeyError, TypeError):
            return None

    match list(path):
        case [first]:
            return one
        case [first, second]:
            return two
        case [first, second, third]:
            return three
    return lambda context: lookup(context, path)
