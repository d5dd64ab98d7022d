"""``sources.yml`` and ``models.yml``: descriptions, tests, contracts and exposures of what is derived."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from credit301.contracts.model import Column, Contract
from credit301.derive import HEADER
from credit301.derive.dbt.names import LABELS_MODEL, LANDING_SCHEMA, feature_model_name, staging_name
from credit301.workspace import Workspace


def sources_yml(workspace: Workspace) -> str:
    """The landed tables as dbt sources, with labels, owners and sensitivity classes."""
    tables = [
        {
            "name": contract.name,
            "description": f"{contract.title.zh}: {contract.title.en}. {contract.purpose}",
            "config": {
                "meta": {"owner": contract.owner, "dimension": contract.dimension, "contract_version": contract.version}
            },
            "columns": [_column_yml(column) for column in contract.columns],
        }
        for contract in workspace.sources.values()
    ]
    return _yaml({"version": 2, "sources": [{"name": LANDING_SCHEMA, "schema": LANDING_SCHEMA, "tables": tables}]})


def _column_yml(column: Column) -> dict[str, Any]:
    unit = f" ({column.unit})" if column.unit else ""
    meta = {"classification": column.classification.value, "label_zh": column.label.zh}
    return {"name": column.name, "description": f"{column.label.zh}: {column.label.en}{unit}", "config": {"meta": meta}}


def models_yml(workspace: Workspace) -> str:
    """Descriptions, tests and contracts of the derived models, and who uses them."""
    key = workspace.entity.key
    models: list[dict[str, Any]] = []
    for contract in workspace.sources.values():
        version_key = [*contract.primary_key, "known_from"]
        models.append(
            {
                "name": staging_name(contract.name),
                "description": f"{contract.title.zh}: each version of {contract.grain}, and when it was the latest.",
                "columns": [
                    {"name": name, "data_tests": ["not_null"]}
                    for name in (*contract.primary_key, "event_time", "known_from")
                ],
                "data_tests": [{"unique_together": {"arguments": {"columns": version_key}}}],
            }
        )
    models += [_feature_model_yml(workspace, contract) for contract in workspace.featured()]
    models.append(
        {
            "name": "int_feature_spine",
            "description": "Who needs features as of when.",
            "data_tests": [{"unique_together": {"arguments": {"columns": [key, "as_of"]}}}],
        }
    )
    label_types = {key: "varchar", "decision_time": "timestamp", "label": "integer"}
    models.append(
        {
            "name": LABELS_MODEL,
            "description": "Outcomes to learn from: label 1 for a default.",
            "config": {"contract": {"enforced": not hasattr(workspace.definition.split, "column")}},
            "columns": [
                {"name": name, "data_type": kind, "data_tests": ["not_null"]} for name, kind in label_types.items()
            ],
            "data_tests": [{"unique_together": {"arguments": {"columns": [key, "decision_time"]}}}],
        }
    )
    depends = [f"ref('{feature_model_name(contract.name)}')" for contract in workspace.featured()]
    exposures = [
        {
            "name": name,
            "type": kind,
            "label": label,
            "description": text,
            "owner": {"name": "risk_modelling"},
            "depends_on": [*depends, *more],
        }
        for name, kind, label, text, more in (
            (
                "credit_decisions",
                "application",
                "Credit decisions",
                "The scoring endpoint reads these features from the online store.",
                [],
            ),
            (
                "risk_models",
                "ml",
                "Risk models",
                "Sub-models and ensemble learn from these features.",
                [f"ref('{LABELS_MODEL}')"],
            ),
        )
    ]
    return _yaml({"version": 2, "models": models, "exposures": exposures})


def _feature_model_yml(workspace: Workspace, contract: Contract) -> dict[str, Any]:
    key = workspace.entity.key
    columns: list[dict[str, Any]] = [
        {"name": key, "data_type": "varchar", "description": workspace.entity.label.zh, "data_tests": ["not_null"]},
        {"name": "event_timestamp", "data_type": "timestamp", "description": "the features hold as of this time"},
        {"name": "created_timestamp", "data_type": "timestamp", "description": "and could be known then"},
    ]
    for feature in contract.features:
        unit = f" ({feature.unit})" if feature.unit else ""
        kind = "varchar" if feature.kind == "category" else "double"
        columns.append(
            {"name": feature.name, "data_type": kind, "description": f"{feature.label.zh}: {feature.label.en}{unit}"}
        )
    return {
        "name": feature_model_name(contract.name),
        "description": f"{contract.title.zh}: features of {contract.title.en}.",
        "config": {"contract": {"enforced": True}, "meta": {"dimension": contract.dimension, "owner": contract.owner}},
        "columns": columns,
        "data_tests": [{"unique_together": {"arguments": {"columns": [key, "event_timestamp"]}}}],
    }


def _yaml(document: dict[str, Any]) -> str:
    yaml = YAML(typ="rt")
    yaml.width = 160
    stream = StringIO()
    yaml.dump(document, stream)
    return f"# {HEADER}\n{stream.getvalue()}"
