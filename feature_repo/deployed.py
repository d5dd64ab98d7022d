"""What the Feast registry says of the views, for the drift check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credit301.settings import Profile
from feature_repo.store import open_store

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def features(workspace: Workspace) -> dict[str, set[str]] | None:
    """Features of each registered view."""
    if workspace.settings.profile is Profile.EMBEDDED and not (workspace.paths.feast / "registry.db").exists():
        return None
    views = open_store(workspace).list_feature_views()
    return {view.name: {feature.name for feature in view.features} for view in views} or None
