"""dbt files of a workspace: sources, staging models, the feature spine, feature marts, labels, exposures.

Staging keeps every version of a record with the interval in which it was the latest one known, ``[known_from,
known_until)``; features at a time use the versions whose interval holds that time. Engine-specific SQL is
called through the macros of ``dbt_project/macros/dialect``.
"""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from credit301.contracts.model import Aggregation, Column, Comparison, Contract, Feature
from credit301.derive import HEADER
from credit301.workspace import Workspace

LANDING_SCHEMA = "landing"
LABELS_MODEL = "training_labels"
EPOCH = "cast('1970-01-01' as timestamp)"
SQL_HEADER = "{# " + HEADER + " #}\n"
COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "ne": "<>"}
ZERO_WITHOUT_EVENTS = {Aggregation.COUNT, Aggregation.SUM, Aggregation.DISTINCT, Aggregation.ACTIVE_MONTHS}


def staging_name(source: str) -> str:
    """Name of the staging model of ``source``."""
    return f"stg_{source}"


def feature_model_name(source: str) -> str:
    """Name of the feature mart of ``source``."""
    return f"feature_{source}"


def project_files(workspace: Workspace) -> dict[str, str]:
    """All derived files, by path below the assembled project's ``models/derived``."""
    files = {"sources.yml": _sources_yml(workspace)}
    for contract in workspace.sources.values():
        files[f"staging/{staging_name(contract.name)}.sql"] = staging_sql(contract)
    for contract in workspace.featured():
        files[f"marts/{feature_model_name(contract.name)}.sql"] = feature_sql(workspace, contract)
    files["intermediate/int_feature_spine.sql"] = spine_sql(workspace)
    files[f"marts/{LABELS_MODEL}.sql"] = labels_sql(workspace)
    files["models.yml"] = _models_yml(workspace)
    return files


def staging_sql(contract: Contract) -> str:
    """Every version of every record of a source, with the interval in which it was the latest known."""
    key = ", ".join(contract.primary_key)
    columns = ",\n    ".join(column.name for column in contract.columns if column.name not in _time_names(contract))
    return f"""{SQL_HEADER}with landed as (
  select
    {columns},
    {_event_time(contract)} as event_time,
    {_available_at(contract)} as known_from,
    _record_hash
  from {{{{ source('{LANDING_SCHEMA}', '{contract.name}') }}}}
),

-- Two versions published at the same moment cannot both be the latest; the choice is arbitrary but repeatable.
ranked as (
  select
    *,
    row_number() over (partition by {key}, known_from order by _record_hash) as version_rank
  from landed
)

select
  {columns.replace(chr(10) + "    ", chr(10) + "  ")},
  event_time,
  known_from,
  lead(known_from) over (partition by {key} order by known_from) as known_until
from ranked
where version_rank = 1
"""


def spine_sql(workspace: Workspace) -> str:
    """Who needs features as of when: everybody now, every labelled decision, and on request each month's start."""
    key = workspace.entity.key
    holders = [c for c in workspace.sources.values() if key in {column.name for column in c.columns}]
    union = "\n  union all\n".join(
        f"  select {key}, min(known_from) as first_known from {{{{ ref('{staging_name(c.name)}') }}}} group by {key}"
        for c in holders
    )
    monthly = ""
    if workspace.definition.feature_grid == "monthly":
        monthly = f"""
  union
  select e.{key}, m.month_start as as_of
  from entities as e
  inner join {{{{ month_starts("(select min(first_known) from entities)", as_of()) }}}} as m
    on m.month_start >= e.first_known"""
    return f"""{SQL_HEADER}with seen as (
{union}
),

entities as (
  select {key}, min(first_known) as first_known
  from seen
  group by {key}
),

moments as (
  select {key}, {{{{ as_of() }}}} as as_of
  from entities
  where first_known <= {{{{ as_of() }}}}
  union
  select {key}, decision_time as as_of
  from {{{{ ref('{LABELS_MODEL}') }}}}{monthly}
)

select {key}, as_of
from moments
"""


def labels_sql(workspace: Workspace) -> str:
    """Outcomes to learn from: one row for each entity and decision time, ``label`` 1 for a default."""
    key, labels = workspace.entity.key, workspace.definition.labels
    split = getattr(workspace.definition.split, "column", None)
    extra = f", {split}" if split else ""
    if labels.model:
        return f"""{SQL_HEADER}select
  cast({key} as varchar) as {key},
  cast(decision_time as timestamp) as decision_time,
  cast(label as integer) as label{extra}
from {{{{ ref('{labels.model}') }}}}
"""
    return f"""{SQL_HEADER}select
  cast({key} as varchar) as {key},
  {{{{ as_of() }}}} as decision_time,
  cast(case when {labels.column} = {_literal(labels.positive)} then 1 else 0 end as integer) as label{extra}
from {{{{ ref('{staging_name(str(labels.source))}') }}}}
where known_until is null and {labels.column} is not null
"""


def feature_sql(workspace: Workspace, contract: Contract) -> str:
    """Features of a source for each entity and time of the spine, from the versions known at that time."""
    key = workspace.entity.key
    needed = sorted({name for feature in contract.features for name in feature.reads})
    columns = "".join(f",\n    r.{name}" for name in needed if name not in {key, "event_time"})
    windows = [feature.window_months for feature in contract.features if feature.of is None]
    oldest = ""
    if all(windows):
        oldest = f"\n    and r.event_time > {{{{ months_before('s.as_of', {max(w for w in windows if w)}) }}}}"
    groups = "".join(
        f",\n    {_group_size(key, contract, f)} as {_group(f)}"
        for f in contract.features
        if f.aggregation is Aggregation.CONCENTRATION
    )
    grouped = f"grouped as (\n  select\n    *{groups}\n  from known\n),\n\n" if groups else ""
    aggregates = ",\n    ".join(f"{_aggregate(contract, f)} as {f.name}" for f in contract.features if f.of is None)
    no_events = contract.submodel is not None and contract.submodel.absence == "no_events"
    direct = {f.name: _after_join(f, no_events=no_events) for f in contract.features if f.of is None}
    selected = ",\n  ".join(f"cast({_value(f, direct)} as {_feature_type(f)}) as {f.name}" for f in contract.features)
    start = (
        f"{{{{ ref('int_feature_spine') }}}} as s\nleft join aggregated as a on a.{key} = s.{key} and a.as_of = s.as_of"
    )
    return f"""{SQL_HEADER}with known as (
  select
    s.{key},
    s.as_of,
    r.event_time,
    r.known_from{columns}
  from {{{{ ref('int_feature_spine') }}}} as s
  inner join {{{{ ref('{staging_name(contract.name)}') }}}} as r
    on r.{key} = s.{key}
    and r.known_from <= s.as_of
    and (r.known_until is null or r.known_until > s.as_of){oldest}
),

{grouped}aggregated as (
  select
    {key},
    as_of,
    {aggregates}
  from {"grouped" if groups else "known"}
  group by {key}, as_of
)

select
  cast({"s" if no_events else "a"}.{key} as varchar) as {key},
  {"s" if no_events else "a"}.as_of as event_timestamp,
  {"s" if no_events else "a"}.as_of as created_timestamp,
  {selected}
from {start if no_events else "aggregated as a"}
"""


def _aggregate(contract: Contract, feature: Feature) -> str:
    """Call of the macro ``feature_<aggregation>(column, months, condition)`` of ``dbt_project/macros/features.sql``."""
    if feature.aggregation is Aggregation.CONCENTRATION:
        measured = [_quoted(_group(feature)), _quoted(feature.weight or "1")]
    else:
        measured = [_quoted(_expression(feature))]
    return f"{{{{ feature_{feature.aggregation}({', '.join([*measured, *_chosen(contract, feature)])}) }}}}"


def _group_size(key: str, contract: Contract, feature: Feature) -> str:
    """Beside each record: the size of its group, by which ``concentration`` finds the largest."""
    measured = [_quoted(key), _quoted(_expression(feature)), _quoted(feature.weight or "1")]
    return f"{{{{ group_size({', '.join([*measured, *_chosen(contract, feature)])}) }}}}"


def _group(feature: Feature) -> str:
    return f"{feature.name}_group_size"


def _expression(feature: Feature) -> str | None:
    return f"substr({feature.column}, 1, {feature.prefix})" if feature.prefix else feature.column


def _chosen(contract: Contract, feature: Feature) -> tuple[str, str]:
    """Which records count: the months of the window and the condition, as arguments of a macro."""
    condition = " and ".join(_condition(contract.column(name), value) for name, value in feature.where.items())
    return str(feature.window_months or "none"), _quoted(condition or None)


def _quoted(sql: str | None) -> str:
    return "none" if sql is None else f'"{sql}"'


def _condition(column: Column, value: Any) -> str:
    if isinstance(value, tuple):
        return f"{column.name} in ({', '.join(_literal(item) for item in value)})"
    if isinstance(value, Comparison):
        return " and ".join(
            f"{column.name} {COMPARISONS[operator]} {_literal(item)}" for operator, item in value.given().items()
        )
    return f"{column.name} = {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # The literal stands inside a double-quoted Jinja string inside SQL: both kinds of quotes are escaped.
    return "'" + str(value).replace("'", "''").replace("\\", "\\\\").replace('"', '\\"') + "'"


def _after_join(feature: Feature, *, no_events: bool) -> str:
    column = f"a.{feature.name}"
    return f"coalesce({column}, 0)" if no_events and feature.aggregation in ZERO_WITHOUT_EVENTS else column


def _value(feature: Feature, direct: dict[str, str]) -> str:
    if feature.of is None:
        return direct[feature.name]
    left, right = (f"cast({direct[name]} as double precision)" for name in feature.of)
    return f"{left} / nullif({right}, 0)" if feature.aggregation is Aggregation.RATIO else f"{left} - {right}"


def _feature_type(feature: Feature) -> str:
    return "varchar" if feature.kind == "category" else "double precision"


def _time_names(contract: Contract) -> set[str]:
    """Columns that staging renames; an event time of another name stays a column as well."""
    return {
        name
        for name in (contract.time.event_time, contract.time.available_at)
        if name in {"event_time", "available_at"}
    }


def _event_time(contract: Contract) -> str:
    return f"cast({contract.time.event_time} as timestamp)" if contract.time.event_time else EPOCH


def _available_at(contract: Contract) -> str:
    if contract.time.available_at:
        return f"cast({contract.time.available_at} as timestamp)"
    if contract.time.event_time and contract.time.lag_days:
        return f"{{{{ days_after('{_event_time(contract)}', {contract.time.lag_days}) }}}}"
    return _event_time(contract)


def _sources_yml(workspace: Workspace) -> str:
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


def _models_yml(workspace: Workspace) -> str:
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
