"""Python source in the making: functions are written for a strategy's tables when it is loaded, not walked each time.

What stands in the source is made here: keywords, operators and numbered names. Everything that a strategist wrote,
texts, numbers and paths alike, is a value that such a name stands for, so that none of it is ever read as Python. The
functions see no builtins but those of :data:`_WORDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_WORDS: dict[str, Any] = {word.__name__: word for word in (bool, dict, float, isinstance, repr, str, type)}


class Source:
    """Lines of source, and the values that they name."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._within = 0
        self._values: dict[str, Any] = {"__builtins__": {}, **_WORDS}
        self._named: dict[tuple[str, str | int], str] = {}
        self._fresh = 0

    def value(self, value: Any) -> str:
        """The name that stands for ``value``."""
        # Of the others, two that are equal may still differ: 1, 1.0 and True.
        key = ("text", value) if isinstance(value, str) else ("other", id(value))
        if key not in self._named:
            self._named[key] = f"k{len(self._named)}"
            self._values[self._named[key]] = value
        return self._named[key]

    def fresh(self) -> str:
        """A name that is not used yet."""
        self._fresh += 1
        return f"v{self._fresh}"

    def line(self, text: str) -> None:
        """Add a line."""
        self._lines.append("    " * self._within + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Put the lines that are added meanwhile below ``head``, which has no colon."""
        self.line(f"{head}:")
        self._within += 1
        yield
        self._within -= 1

    def function(self, name: str, title: str) -> Callable[..., Any]:
        """The function ``name`` that was written; ``title`` is what a traceback calls its source."""
        values = dict(self._values)
        exec(compile("\n".join(self._lines), f"<{title}>", "exec"), values)  # noqa: S102 - the module says why it may
        function: Callable[..., Any] = values[name]
        return function
