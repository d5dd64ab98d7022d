"""Takes out of the online store what nobody reads any more: rows of versions past, and rows past their time to live."""

from __future__ import annotations

import time
from importlib.metadata import entry_points
from typing import Any

from credit301.derive.features import online_field, view_specs
from credit301.workspace import Workspace
from feature_repo.store import open_store, reachable

GROUP = "credit301.online_fields"
"""Entry points: functions of the workspace that give the fields of the online store that somebody still reads."""
_SECOND = 1_000_000
_EVER = 2**53


def tidy(workspace: Workspace) -> dict[str, Any]:
    """Delete rows of versions that neither the contracts nor a model in use name, and rows past their time to live.

    Returns:
        Rows ``deleted``, the ``retired`` fields, and older fields that are ``kept`` because a model in use reads them.
    """
    specs = view_specs(workspace)
    older = {online_field(spec.name, version) for spec in specs for version in range(1, spec.version)}
    kept = older & in_use(workspace)
    now = time.time_ns() // 1000
    bounds = {spec.field: now - spec.ttl_seconds * _SECOND for spec in specs if spec.ttl_seconds}
    bounds |= dict.fromkeys(older - kept, _EVER)
    deleted = 0
    if bounds:
        store = open_store(workspace)
        with reachable():
            online = store._get_provider().online_store  # noqa: SLF001 - Feast has no other way to its own store
            deleted = online.tidy(store.config, [workspace.entity.key], bounds)
    return {"deleted": deleted, "retired": sorted(older - kept), "kept": sorted(kept)}


def in_use(workspace: Workspace) -> set[str]:
    """Fields that a model in use reads."""
    found: set[str] = set()
    for entry in entry_points(group=GROUP):
        found |= entry.load()(workspace)
    return found
