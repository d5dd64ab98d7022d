"""Whose records are erased, and how they are recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from credit301.identity.keyed_hash import KeyedHash

STAND_IN = "erased"


@dataclass(frozen=True)
class Target:
    """An enterprise, all of whose rows go, or a person, who is taken out of rows that are about others too.

    Args:
        value: the enterprise's key, or a value that names the person.
        named: its keyed hash.
        keys: names of columns that hold the key of whom a row is about; empty for a person.
    """

    value: str
    named: str
    keys: frozenset[str] = frozenset()
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", re.compile(re.escape(self.value), re.IGNORECASE))

    @classmethod
    def of(cls, value: str, hashed: KeyedHash, keys: frozenset[str] = frozenset()) -> Target:
        """The target called ``value``."""
        return cls(value, hashed(value), keys)

    @property
    def stand_in(self) -> str:
        """What stands in a row about somebody else where the value stood."""
        return f"{STAND_IN}-{self.named[:8]}"

    def clean(self, node: Any) -> Any:
        """``node``, a text or anything made of texts, without the value."""
        if isinstance(node, str):
            return self.pattern.sub(self.stand_in, node)
        if isinstance(node, list | tuple):
            return [self.clean(item) for item in node]
        if isinstance(node, dict):
            return {self.clean(name): self.clean(item) for name, item in node.items()}
        return node


@dataclass
class Counts:
    """What was taken out: whole rows, single values in other rows, and files and keys that were changed."""

    rows: int = 0
    values: int = 0
    files: int = 0
    online: int = 0

    def add(self, other: Counts) -> None:
        """Add ``other``."""
        self.rows += other.rows
        self.values += other.values
        self.files += other.files
        self.online += other.online
