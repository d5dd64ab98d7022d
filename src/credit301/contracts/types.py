"""Which SQL type holds every value of another."""

from __future__ import annotations

import re

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
FLOATING = ("FLOAT", "DOUBLE")
DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
TEXT = re.compile(r"VARCHAR(?:\((\d+)\))?")


def widened(old: str, new: str) -> bool:
    """Whether ``new`` holds every value of ``old``, exactly and in the same kind of type."""
    for order in (WHOLE, FLOATING):
        if old in order and new in order:
            return order.index(new) >= order.index(old)
    before, after = DECIMAL.fullmatch(old), DECIMAL.fullmatch(new)
    if before and after:
        (precision, scale), (new_precision, new_scale) = (map(int, found.groups()) for found in (before, after))
        return new_scale >= scale and new_precision - new_scale >= precision - scale
    before, after = TEXT.fullmatch(old), TEXT.fullmatch(new)
    if before and after:
        return after[1] is None or (before[1] is not None and int(after[1]) >= int(before[1]))
    return old == new
