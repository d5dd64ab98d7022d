"""dbt files of a workspace: sources, staging models, the feature spine, feature marts, labels, exposures.

Staging keeps every version of a record with the interval in which it was the latest one known, ``[known_from,
known_until)``; features at a time use the versions whose interval holds that time. Engine-specific SQL is
called through the macros of ``dbt_project/macros/dialect``.
"""

from __future__ import annotations

from credit301.derive.dbt.carried import CarriedModel, carried_models
from credit301.derive.dbt.changes import changes_macro
from credit301.derive.dbt.features import feature_sql
from credit301.derive.dbt.history import HISTORY_MODEL, history_sql, slowly_changing
from credit301.derive.dbt.names import (
    ENTITIES_MODEL,
    INTERMEDIATE_SCHEMA,
    IS_NEW,
    LABELS_MODEL,
    LANDING_SCHEMA,
    MARTS_SCHEMA,
    MONTHS_MODEL,
    SPINE_MODEL,
    STAGING_SCHEMA,
    feature_model_name,
    staging_name,
)
from credit301.derive.dbt.portrait import PORTRAIT_MODEL, portrait_sql
from credit301.derive.dbt.schema import models_yml, sources_yml
from credit301.derive.dbt.spine import entities_sql, labels_sql, months_sql, spine_sql
from credit301.derive.dbt.staging import staging_sql
from credit301.workspace import Workspace

__all__ = [
    "INTERMEDIATE_SCHEMA",
    "IS_NEW",
    "LABELS_MODEL",
    "LANDING_SCHEMA",
    "MARTS_SCHEMA",
    "SPINE_MODEL",
    "STAGING_SCHEMA",
    "CarriedModel",
    "carried_models",
    "feature_model_name",
    "feature_sql",
    "labels_sql",
    "macro_files",
    "project_files",
    "spine_sql",
    "staging_name",
    "staging_sql",
]


def macro_files(workspace: Workspace) -> dict[str, str]:
    """Derived macros, by path below the assembled project's ``macros/derived``."""
    return {"changes.sql": changes_macro(workspace)}


def project_files(workspace: Workspace) -> dict[str, str]:
    """All derived files, by path below the assembled project's ``models/derived``."""
    files = {"sources.yml": sources_yml(workspace)}
    for contract in workspace.sources.values():
        files[f"staging/{staging_name(contract.name)}.sql"] = staging_sql(contract)
    for contract in workspace.featured():
        files[f"marts/{feature_model_name(contract.name)}.sql"] = feature_sql(workspace, contract)
    files[f"intermediate/{ENTITIES_MODEL}.sql"] = entities_sql(workspace)
    files[f"intermediate/{SPINE_MODEL}.sql"] = spine_sql(workspace)
    if workspace.definition.labels:
        files[f"marts/{LABELS_MODEL}.sql"] = labels_sql(workspace, workspace.definition.labels)
    files[f"intermediate/{MONTHS_MODEL}.sql"] = months_sql(workspace)
    if workspace.featured():
        files[f"marts/{PORTRAIT_MODEL}.sql"] = portrait_sql(workspace)
    if slowly_changing(workspace):
        files[f"marts/{HISTORY_MODEL}.sql"] = history_sql(workspace)
    files["models.yml"] = models_yml(workspace)
    return files
