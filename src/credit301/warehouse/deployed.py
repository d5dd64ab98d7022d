"""What the built warehouse says of the sources, for the drift check."""

from __future__ import annotations

import json
from typing import Any

from credit301.derive.dbt import feature_model_name
from credit301.workspace import Workspace

KEYS = {"event_timestamp", "created_timestamp"}


def _manifest(workspace: Workspace) -> dict[str, Any] | None:
    path = workspace.paths.dbt / "target" / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def source_columns(workspace: Workspace) -> dict[str, set[str]] | None:
    """Columns of each source in dbt's manifest."""
    manifest = _manifest(workspace)
    if manifest is None:
        return None
    return {node["name"]: set(node["columns"]) for node in manifest["sources"].values()}


def feature_columns(workspace: Workspace) -> dict[str, set[str]] | None:
    """Features of each feature mart in dbt's manifest."""
    manifest = _manifest(workspace)
    if manifest is None:
        return None
    prefix = feature_model_name("")
    keys = KEYS | {workspace.entity.key}
    models = (node for node in manifest["nodes"].values() if node["resource_type"] == "model")
    return {
        node["name"].removeprefix(prefix): set(node["columns"]) - keys
        for node in models
        if node["name"].startswith(prefix)
    }
