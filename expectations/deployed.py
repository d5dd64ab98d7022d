"""What the kept suites check, for the drift check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def checks(workspace: Workspace) -> dict[str, set[str]] | None:
    """Check ids of each suite that was last run."""
    files = sorted((workspace.paths.state / "expectations" / "suites").glob("*.json"))
    if not files:
        return None
    suites = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    return {name: {item["meta"]["check"] for item in suite["expectations"]} for name, suite in suites.items()}
