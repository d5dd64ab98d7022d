"""What a row or an expression read and said, as a rule's report has it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from credit301.domain.verdict import Scalar

NESTED = frozenset({dict, Decimal, list})
"""Kinds of values in a graph that are no scalars."""
_DIGITS, _SHORT = 15, 20
_TINY = "0.0000"
"""What begins so a float writes with an exponent."""


def scalar(value: Any) -> Any:
    """Numbers that were calculated as text, everything else as it is."""
    return f"{value:f}" if isinstance(value, Decimal) else value


def scalars(values: Mapping[str, Any]) -> dict[str, Scalar]:
    """Values by name, parts of nested ones by their path; of lists nothing."""
    found: dict[str, Scalar] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= {f"{name}.{path}": part for path, part in scalars(value).items()}
        elif not isinstance(value, list):
            found[name] = scalar(value)
    return found


def rounded(value: Any) -> tuple[Any, Any]:
    """What was calculated as zen would give it back, a number to the digits of a float; and the same as a scalar."""
    if not isinstance(value, Decimal):
        return value, value
    text = str(value)
    if len(text) <= _SHORT:
        # A float reads back as every number of up to 15 digits: such a one need not be made a float to be rounded.
        short = value.normalize()
        text = str(short)
        if len(text) <= _DIGITS and "E" not in text and _TINY not in text and short.is_finite():
            if "." in text:
                return short, text
            text += ".0"
            return Decimal(text), text
    text = repr(float(text))
    number = Decimal(text)
    # Far from one, and where it is no number, a float writes itself in another way.
    return number, text if "e" not in text and "n" not in text else f"{number:f}"
