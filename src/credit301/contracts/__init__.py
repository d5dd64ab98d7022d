"""Data contracts: one description of each source, from which everything else is derived."""

from credit301.contracts.loader import load_contract
from credit301.contracts.model import Aggregation, Check, CheckKind, Column, Contract, Feature, Severity, Text

__all__ = ["Aggregation", "Check", "CheckKind", "Column", "Contract", "Feature", "Severity", "Text", "load_contract"]
