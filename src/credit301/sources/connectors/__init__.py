"""Connectors: where records come from. A contract names one and gives it options."""

from __future__ import annotations

from credit301.contracts.model import Contract
from credit301.settings import Settings
from credit301.sources.connectors.base import Connector, Page
from credit301.sources.connectors.file_drop import FileDrop
from credit301.sources.connectors.http_exchange import HttpExchange

__all__ = ["Connector", "Page", "connector_for"]


def connector_for(contract: Contract, settings: Settings) -> Connector:
    """The connector that the contract's ``pull`` names, with its options."""
    if contract.pull.connector == "file_drop":
        return FileDrop(contract, settings)
    return HttpExchange(contract, settings)
