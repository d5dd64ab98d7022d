"""What verbs print for a person: progress lines and tables, on standard error so that results can be piped."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

_progress = Console(stderr=True, highlight=False)
# In a log or a pipe there is no window to fit into: tables are as wide as they need, within reason.
_LOG_WIDTH = 140
_LONGEST_INNER = 48
_output = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _LOG_WIDTH)


def say(message: str) -> None:
    """Print one line of progress."""
    _progress.print(message, markup=False, soft_wrap=True)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print ``rows`` under ``columns``; floats get four decimals, ``None`` a dash."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _output.print(table)


def show(renderable: RenderableType) -> None:
    """Print a tree, a table or a text that the caller made."""
    _output.print(renderable)


def show_json(value: Any) -> None:
    """Print ``value`` as JSON for another program: nothing is wrapped or coloured."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def show_mapping(values: Mapping[str, Any]) -> None:
    """Print a summary as ``key: value`` lines; tables in it (lists) have their own place and are left out."""
    for key, value in values.items():
        if isinstance(value, list):
            continue
        _output.print(f"{key}: {_cell(value)}", markup=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shortened(_cell(inner))}" for key, inner in value.items())
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)


def _shortened(text: str) -> str:
    """The beginning of a long value inside a summary, such as a cursor of many files."""
    return text if len(text) <= _LONGEST_INNER else f"{text[:_LONGEST_INNER]}…"
