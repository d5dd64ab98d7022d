"""Feature marts: the declared features of a source for each entity and time of the spine."""

from __future__ import annotations

from typing import Any

from credit301.contracts.model import Aggregation, Column, Comparison, Contract, Feature
from credit301.derive.dbt.literals import literal, quoted
from credit301.derive.dbt.names import SQL_HEADER, staging_name
from credit301.workspace import Workspace

COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "ne": "<>"}
ZERO_WITHOUT_EVENTS = {Aggregation.COUNT, Aggregation.SUM, Aggregation.DISTINCT, Aggregation.ACTIVE_MONTHS}


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
        measured = [quoted(_group(feature)), quoted(feature.weight or "1")]
    else:
        measured = [quoted(_expression(feature))]
    return f"{{{{ feature_{feature.aggregation}({', '.join([*measured, *_chosen(contract, feature)])}) }}}}"


def _group_size(key: str, contract: Contract, feature: Feature) -> str:
    """Beside each record: the size of its group, by which ``concentration`` finds the largest."""
    measured = [quoted(key), quoted(_expression(feature)), quoted(feature.weight or "1")]
    return f"{{{{ group_size({', '.join([*measured, *_chosen(contract, feature)])}) }}}}"


def _group(feature: Feature) -> str:
    return f"{feature.name}_group_size"


def _expression(feature: Feature) -> str | None:
    return f"substr({feature.column}, 1, {feature.prefix})" if feature.prefix else feature.column


def _chosen(contract: Contract, feature: Feature) -> tuple[str, str]:
    """Which records count: the months of the window and the condition, as arguments of a macro."""
    condition = " and ".join(_condition(contract.column(name), value) for name, value in feature.where.items())
    return str(feature.window_months or "none"), quoted(condition or None)


def _condition(column: Column, value: Any) -> str:
    if isinstance(value, tuple):
        return f"{column.name} in ({', '.join(literal(item) for item in value)})"
    if isinstance(value, Comparison):
        return " and ".join(
            f"{column.name} {COMPARISONS[operator]} {literal(item)}" for operator, item in value.given().items()
        )
    return f"{column.name} = {literal(value)}"


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
