"""Verbs: what the platform can be told to do, found by name.

A verb is a function ``fn(workspace, **options) -> dict | None`` declared under the entry-point group
``credit301.verbs``. The command line, the DAGs and other verbs reach it by name only, so that the packages
which implement verbs (training, serving, ...) need not know one another. A name with a dot, ``contracts.check``, is a
command of a group: ``credit301 contracts check``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from credit301.errors import NotFound
from credit301.workspace import Workspace

GROUP = "credit301.verbs"
Verb = Callable[..., dict[str, Any] | None]


@lru_cache(maxsize=1)
def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def names() -> list[str]:
    """Names of all installed verbs, in the order of the road where the package metadata keeps it."""
    return list(_entries())


def get(name: str) -> Verb:
    """The verb called ``name``.

    Raises:
        NotFound: no installed package declares it.
    """
    entry = _entries().get(name)
    if entry is None:
        raise NotFound(f"There is no verb {name!r}.", hint=f"Known verbs: {', '.join(sorted(_entries()))}.")
    verb: Verb = entry.load()
    return verb


def call(name: str, workspace: Workspace, **options: Any) -> dict[str, Any]:
    """Run the verb ``name`` on ``workspace`` and return its summary (empty where it has none)."""
    return get(name)(workspace, **options) or {}
