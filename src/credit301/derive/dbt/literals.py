"""Contract values as SQL inside Jinja."""

from __future__ import annotations

from typing import Any


def quoted(sql: str | None) -> str:
    """``sql`` as an argument of a macro, or Jinja's ``none``."""
    return "none" if sql is None else f'"{sql}"'


def literal(value: Any) -> str:
    """``value`` of a contract as an SQL literal that may stand inside an argument of a macro."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # The literal stands inside a double-quoted Jinja string inside SQL: both kinds of quotes are escaped.
    return "'" + str(value).replace("'", "''").replace("\\", "\\\\").replace('"', '\\"') + "'"
