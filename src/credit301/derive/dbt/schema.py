"""``sources.yml`` and ``models.yml``: descriptions, tests, contracts and exposures of what is derived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from credit301.contracts.model import Column, Contract
from credit301.derive import HEADER
from credit301.derive.dbt.history import HISTORY_MODEL, slowly_changing
from credit301.derive.dbt.names import (
    ENTITIES_MODEL,
    INTERMEDIATE_SCHEMA,
    LABELS_MODEL,
    LANDING_SCHEMA,
    MONTHS_MODEL,
    SPINE_MODEL,
    due_column,
    feature_model_name,
    staging_name,
)
from credit301.derive.dbt.portrait import PORTRAIT_MODEL, portrait_columns
from credit301.workspace import Labels, Workspace

# What the engine calls its types; the build says it.
TEXT, FLOAT = "{{ var('text_type') }}", "{{ var('float_type') }}"


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
                "description": f"{contract.title.zh}({contract.grain}): 各版本及其有效时段 · "
                "each version, and when it was the latest.",
                "columns": [
                    {"name": name, "data_tests": ["not_null"]}
                    for name in (*contract.primary_key, "event_time", "known_from")
                ],
                "data_tests": [
                    _unique(
                        version_key,
                        staging_name(contract.name),
                        f'{LANDING_SCHEMA}."{contract.name}"',
                        contract.primary_key,
                    )
                ],
            }
        )
    models += [_feature_model_yml(workspace, contract) for contract in workspace.featured()]
    models.append(
        {
            "name": ENTITIES_MODEL,
            "description": "任一数据源以主体键提及的全部主体，及其最早可知的时间 · "
            "everybody whom a source names by the entity's key, and since when they are known.",
            "data_tests": [{"unique_together": {"arguments": {"columns": [key]}}}],
        }
    )
    models.append(
        {
            "name": SPINE_MODEL,
            "description": "谁在哪个时点需要特征 · who needs features as of when.",
            "data_tests": [{"unique_together": {"arguments": {"columns": [key, "as_of"]}}}],
        }
    )
    models += _entity_models_yml(workspace)
    if workspace.definition.labels:
        models.append(_labels_yml(workspace, workspace.definition.labels))
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
                "授信决策 Credit decisions",
                "决策服务从在线存储读取这些特征 · the scoring endpoint reads these features from the online store.",
                [],
            ),
            (
                "risk_models",
                "ml",
                "风险模型 Risk models",
                "子模型与集成模型由这些特征训练 · sub-models and ensemble learn from these features.",
                [f"ref('{LABELS_MODEL}')"] if workspace.definition.labels else [],
            ),
        )
    ]
    return _yaml({"version": 2, "models": models, "exposures": exposures})


def _unique(columns: Sequence[str], name: str, changed: str, by: Sequence[str]) -> dict[str, Any]:
    """No two rows of the model ``name`` have the same ``columns``; an increment need look only at what has changed."""
    arguments = {"columns": list(columns), "of": name, "changed": changed, "by": list(by)}
    return {"unique_together": {"name": f"unique_together_{name}_{'__'.join(columns)}", "arguments": arguments}}


def _entity_models_yml(workspace: Workspace) -> list[dict[str, Any]]:
    """The months, the portrait and the history of an entity."""
    key = workspace.entity.key
    models: list[dict[str, Any]] = [
        {
            "name": MONTHS_MODEL,
            "description": "每个主体自可知以来的每个月 · each entity in each month since it is known.",
        }
    ]
    if workspace.featured():
        described = [{"name": name, "description": text} for name, text in portrait_columns(workspace).items()]
        models.append(
            {
                "name": PORTRAIT_MODEL,
                "description": "主体当前画像：各维度的指数、覆盖与主要特征 · "
                "each entity now: on each dimension an index, coverage, headline features.",
                "columns": [{"name": key, "data_tests": ["not_null"]}, *described],
                "data_tests": [{"unique_together": {"arguments": {"columns": [key]}}}],
            }
        )
    if slowly_changing(workspace):
        models.append(
            {
                "name": HISTORY_MODEL,
                "description": "主体的历史：每个有效区间一行 · "
                "what an entity was when: one row for each interval [valid_from, valid_until).",
                "columns": [{"name": name, "data_tests": ["not_null"]} for name in (key, "valid_from")],
                "data_tests": [{"unique_together": {"arguments": {"columns": [key, "valid_from"]}}}],
            }
        )
    return models


def _labels_yml(workspace: Workspace, labels: Labels) -> dict[str, Any]:
    key = workspace.entity.key
    types = {key: TEXT, "decision_time": "timestamp", "label": "integer"}
    if labels.known_at:
        types["label_known_at"] = "timestamp"
    return {
        "name": LABELS_MODEL,
        "description": "用于学习的结果：1 表示违约 · outcomes to learn from: label 1 for a default.",
        "config": {"contract": {"enforced": not hasattr(workspace.definition.split, "column")}},
        "columns": [{"name": name, "data_type": kind, "data_tests": ["not_null"]} for name, kind in types.items()],
        "data_tests": [{"unique_together": {"arguments": {"columns": [key, "decision_time"]}}}],
    }


def _feature_model_yml(workspace: Workspace, contract: Contract) -> dict[str, Any]:
    key = workspace.entity.key
    columns: list[dict[str, Any]] = [
        {
            "name": key,
            "data_type": TEXT,
            "description": f"{workspace.entity.label.zh}: {workspace.entity.label.en}",
            "data_tests": ["not_null"],
        },
        {
            "name": "event_timestamp",
            "data_type": "timestamp",
            "description": "特征截至的时点: the features hold as of this time",
        },
        {"name": "created_timestamp", "data_type": "timestamp", "description": "其时已可获知: and could be known then"},
    ]
    for feature in contract.features:
        unit = f" ({feature.unit})" if feature.unit else ""
        kind = TEXT if feature.kind == "category" else FLOAT
        columns.append(
            {"name": feature.name, "data_type": kind, "description": f"{feature.label.zh}: {feature.label.en}{unit}"}
        )
    return {
        "name": feature_model_name(contract.name),
        "description": f"{contract.title.zh}的特征: features of {contract.title.en}.",
        "config": {"contract": {"enforced": True}, "meta": {"dimension": contract.dimension, "owner": contract.owner}},
        "columns": columns,
        "data_tests": [
            _unique(
                [key, "event_timestamp"],
                feature_model_name(contract.name),
                f"(select {key}, as_of as event_timestamp from {INTERMEDIATE_SCHEMA}.{SPINE_MODEL} "
                f"where {due_column(contract.name)})",
                [key, "event_timestamp"],
            )
        ],
    }


def _yaml(document: dict[str, Any]) -> str:
    yaml = YAML(typ="rt")
    yaml.width = 160
    stream = StringIO()
    yaml.dump(document, stream)
    return f"# {HEADER}\n{stream.getvalue()}"
