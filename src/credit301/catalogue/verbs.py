"""The verb of the catalogue."""

from __future__ import annotations

from typing import Any

from credit301.workspace import Workspace


def catalogue(workspace: Workspace) -> dict[str, Any]:
    """Write the catalogue: dictionary, contracts, owners, freshness and quality now. 生成数据目录网页。"""
    from credit301.catalogue.site import build

    return {"page": str(build(workspace))}
