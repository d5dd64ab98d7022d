"""Connectors: where records come from. A contract names one and gives it options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credit301.sources.connectors.base import Connector, Page
from credit301.sources.connectors.options import OPTIONS

if TYPE_CHECKING:
    from credit301.contracts.model import Contract
    from credit301.settings import Settings

__all__ = ["OPTIONS", "Connector", "Page", "connector_for"]


def connector_for(contract: Contract, settings: Settings) -> Connector:
    """The connector that the contract's ``pull`` names, with its options."""
    kind = contract.pull.connector
    if kind == "sftp":
        from credit301.sources.connectors.sftp import Sftp

        return Sftp(contract, settings)
    if kind == "database":
        from credit301.sources.connectors.database import Database

        return Database(contract, settings)
    if kind == "file_drop":
        from credit301.sources.connectors.file_drop import FileDrop

        return FileDrop(contract, settings)
    from credit301.sources.connectors.http_exchange import HttpExchange

    return HttpExchange(contract, settings)
