"""What the model in use reads, for the drift check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from credit301.model import bundle
from serving.models import POINTER

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def features(workspace: Workspace) -> dict[str, set[str]] | None:
    """Features of each view in the bundle that serving last put in use."""
    pointer = workspace.paths.bundles / POINTER
    if not pointer.exists():
        return None
    kept = msgspec.json.decode(pointer.read_bytes())
    manifest = bundle.read(Path(kept["directory"]), sha256=kept["sha256"]).manifest
    return {view.name: {feature.name for feature in view.features} for view in manifest.views}


def online_fields(workspace: Workspace) -> set[str]:
    """Fields of an entity's hash that the model in use reads, or one made since, which may stand beside it."""
    pointer = workspace.paths.bundles / POINTER
    if not pointer.exists():
        return set()
    kept = msgspec.json.decode(pointer.read_bytes())
    used = bundle.read(Path(kept["directory"]), sha256=kept["sha256"]).manifest
    others = [bundle.read(path.parent).manifest for path in workspace.paths.bundles.glob(f"[!.]*/{bundle.MANIFEST}")]
    manifests = [used, *(other for other in others if other.created_at >= used.created_at)]
    return {view.field or view.name for manifest in manifests for view in manifest.views}
