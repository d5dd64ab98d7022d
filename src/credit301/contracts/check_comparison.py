"""Whether a changed check refuses what its predecessor let pass."""

from __future__ import annotations

import math
from typing import Any

from credit301.contracts.model import Check, CheckKind


def stricter(old: Check, new: Check) -> bool:
    """Whether ``new`` may refuse a row or a batch that ``old`` accepts; in doubt (another pattern or rule) it may."""
    if old.kind != new.kind or old.column != new.column:
        return True
    if old.tolerance != new.tolerance and (
        old.tolerance is None or new.tolerance is None or new.tolerance < old.tolerance
    ):
        return True
    return old.arguments != new.arguments and _stricter_arguments(new.kind, old.arguments, new.arguments)


def _stricter_arguments(kind: CheckKind, old: dict[str, Any], new: dict[str, Any]) -> bool:
    if kind is CheckKind.IN_SET:
        return not set(map(str, old["values"])) <= set(map(str, new["values"]))
    if kind in {CheckKind.BETWEEN, CheckKind.ROW_COUNT}:
        raised = new.get("minimum", -math.inf) > old.get("minimum", -math.inf)
        lowered = new.get("maximum", math.inf) < old.get("maximum", math.inf)
        return bool(raised or lowered)
    return True
