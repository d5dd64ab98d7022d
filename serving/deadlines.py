"""How long a sender waits: work that has not begun by then is not begun."""

from __future__ import annotations

import re
from collections.abc import Mapping

HEADER = "Credit301-Deadline-Ms"
LONGEST_MS = 600_000
_MS = re.compile(r"[0-9]{1,6}")
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,3})\"?\s*(?=$|[,;])", re.IGNORECASE)


def budget_of(headers: Mapping[str, str]) -> float | None:
    """Seconds that the sender gives: of ``Credit301-Deadline-Ms``, else of ``Prefer: wait=`` (RFC 7240).

    ``None`` where it says nothing, or nothing that can be read: a preference is no reason to refuse.
    """
    sent = headers.get(HEADER)
    if sent is not None and _MS.fullmatch(sent) and 0 < int(sent) <= LONGEST_MS:
        return int(sent) / 1000
    preferred = headers.get("prefer")
    if preferred is not None and (found := _WAIT.search(preferred)) is not None:
        return float(found.group(1))
    return None
