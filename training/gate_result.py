"""What one check of the gate says."""

from __future__ import annotations

from dataclasses import dataclass

LABEL = "label"
"""Column of a tested row's outcome."""


@dataclass(frozen=True)
class Check:
    """One check: what was found, what it had to be, and, where it failed, why, in both languages."""

    name: str
    passed: bool
    value: str
    limit: str
    zh: str = ""
    en: str = ""
