"""Names that derived dbt files, the platform and its tests agree on."""

from __future__ import annotations

from credit301.derive import HEADER

LANDING_SCHEMA = "landing"
LABELS_MODEL = "training_labels"
ENTITIES_MODEL = "int_entities"
MONTHS_MODEL = "int_enterprise_month"
SQL_HEADER = "{# " + HEADER + " #}\n"


def staging_name(source: str) -> str:
    """Name of the staging model of ``source``."""
    return f"stg_{source}"


def feature_model_name(source: str) -> str:
    """Name of the feature mart of ``source``."""
    return f"feature_{source}"
