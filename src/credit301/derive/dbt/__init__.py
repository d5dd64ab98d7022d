"""dbt files of a workspace: sources, staging models, the feature spine, feature marts, labels, exposures.

Staging keeps every version of a record with the interval in which it was the latest one known, ``[known_from,
known_until)``; features at a time use the versions whose interval holds that time. Engine-specific SQL is
called through the macros of ``dbt_project/macros/dialect``.
"""

from __future__ import annotations

from credit301.derive.dbt.features import feature_sql
from credit301.derive.dbt.names import LABELS_MODEL, LANDING_SCHEMA, feature_model_name, staging_name
from credit301.derive.dbt.schema import models_yml, sources_yml
from credit301.derive.dbt.spine import labels_sql, spine_sql
from credit301.derive.dbt.staging import staging_sql
from credit301.workspace import Workspace

__all__ = [
    "LABELS_MODEL",
    "LANDING_SCHEMA",
    "feature_model_name",
    "feature_sql",
    "labels_sql",
    "project_files",
    "spine_sql",
    "staging_name",
    "staging_sql",
]


def project_files(workspace: Workspace) -> dict[str, str]:
    """All derived files, by path below the assembled project's ``models/derived``."""
    files = {"sources.yml": sources_yml(workspace)}
    for contract in workspace.sources.values():
        files[f"staging/{staging_name(contract.name)}.sql"] = staging_sql(contract)
    for contract in workspace.featured():
        files[f"marts/{feature_model_name(contract.name)}.sql"] = feature_sql(workspace, contract)
    files["intermediate/int_feature_spine.sql"] = spine_sql(workspace)
    files[f"marts/{LABELS_MODEL}.sql"] = labels_sql(workspace)
    files["models.yml"] = models_yml(workspace)
    return files
