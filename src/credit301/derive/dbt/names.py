"""Names that derived dbt files, the platform and its tests agree on."""

from __future__ import annotations

from credit301.derive import HEADER

LANDING_SCHEMA = "landing"
LABELS_MODEL = "training_labels"
ENTITIES_MODEL = "int_entities"
MONTHS_MODEL = "int_enterprise_month"
SPINE_MODEL = "int_feature_spine"
STAGING_SCHEMA = "staging"
INTERMEDIATE_SCHEMA = "intermediate"
MARTS_SCHEMA = "marts"
IS_NEW = "_is_new"
SQL_HEADER = "{# " + HEADER + " #}\n"


def staging_name(source: str) -> str:
    """Name of the staging model of ``source``."""
    return f"stg_{source}"


def due_column(source: str) -> str:
    """Column of the spine that says whether the features of ``source`` are computed in this build."""
    return f"{source}_due"


def since_column(source: str) -> str:
    """Column of the entities that says since when ``source`` has named one."""
    return f"{source}_since"


def known_column(source: str) -> str:
    """Column of the spine that says whether ``source`` had ever named the entity by then."""
    return f"{source}_known"


def feature_model_name(source: str) -> str:
    """Name of the feature mart of ``source``."""
    return f"feature_{source}"
