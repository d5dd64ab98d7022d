"""The feature store: Feast definitions derived from the contracts, and what is done with them."""

from __future__ import annotations

import contextlib
from typing import Any, cast


def _unchecked(target: Any = None, **_: Any) -> Any:
    return _unchecked if target is None else target


# Feast has the arguments of its own classes checked as the program runs. Compiling these checks is three quarters of
# its import, seconds of a core in every process that has to do with features; what it is given here, tests show.
with contextlib.suppress(ImportError):
    import typeguard

    typeguard.typechecked = cast("Any", _unchecked)
