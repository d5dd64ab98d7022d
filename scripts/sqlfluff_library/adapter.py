"""Stands in for dbt's ``adapter`` while SQL is linted: a dispatched macro becomes a plain function call."""

from __future__ import annotations

from collections.abc import Callable


def dispatch(name: str, package: str = "") -> Callable[..., str]:
    """The macro ``name`` as an SQL function of the same name; which dialect's it would be does not matter to style."""
    del package

    def call(*arguments: object) -> str:
        return f"{name}({', '.join(map(str, arguments))})"

    return call
