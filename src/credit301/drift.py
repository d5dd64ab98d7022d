"""Drift: where what is deployed says something else than the contracts say now.

Each part of the road that keeps something derived from the contracts declares a function under the entry-point
group ``credit301.deployed``; it returns, for each source, the names that are deployed there, or ``None`` where
nothing is yet.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from credit301 import console
from credit301.contracts.model import Contract
from credit301.derive.expectations import suite
from credit301.errors import ContractError
from credit301.workspace import Workspace

GROUP = "credit301.deployed"
Names = dict[str, set[str]]


def _columns(contract: Contract) -> set[str]:
    return {column.name for column in contract.columns}


def _features(contract: Contract) -> set[str]:
    return {feature.name for feature in contract.features}


def _checks(contract: Contract) -> set[str]:
    return {item["check"] for item in suite(contract)}


# What the names of each part are, and of which sources it keeps any.
EXPECTED: dict[str, tuple[Callable[[Contract], set[str]], bool]] = {
    "expectations": (_checks, False),
    "warehouse_sources": (_columns, False),
    "warehouse_features": (_features, True),
    "feature_store": (_features, True),
    "champion": (_features, True),
}


def differences(workspace: Workspace, part: str, deployed: Names) -> list[str]:
    """Sentences on what ``part`` has and the contracts have not, and the other way round."""
    names_of, featured_only = EXPECTED[part]
    contracts = workspace.featured() if featured_only else tuple(workspace.sources.values())
    expected = {contract.name: names_of(contract) for contract in contracts}
    found = []
    for source in sorted(expected.keys() | deployed.keys()):
        missing = sorted(expected.get(source, set()) - deployed.get(source, set()))
        extra = sorted(deployed.get(source, set()) - expected.get(source, set()))
        found += [f"{part}: {source}.{name} is in the contract, not deployed" for name in missing]
        found += [f"{part}: {source}.{name} is deployed, not in the contract" for name in extra]
    return found


def drift(workspace: Workspace) -> dict[str, Any]:
    """Compare expectations, warehouse, feature store and champion with the contracts. 核对已部署内容与契约是否一致。

    Returns:
        For each part the number of names compared, or ``None`` where nothing is deployed yet.

    Raises:
        ContractError: something differs; every difference is named.
    """
    summary: dict[str, Any] = {}
    found: list[str] = []
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    for part in EXPECTED:
        deployed: Names | None = entries[part].load()(workspace)
        summary[part] = None if deployed is None else sum(len(names) for names in deployed.values())
        if deployed is None:
            console.say(f"{part}: nothing is deployed yet")
            continue
        found += differences(workspace, part, deployed)
    if found:
        raise ContractError(
            f"{len(found)} differences: {'; '.join(found)}.",
            hint="Run `credit301 ingest`, `build`, `materialize` and `train`: that follows the contracts.",
        )
    return summary
