"""Feature marts: the declared features of a source for each entity and time of the spine."""

from __future__ import annotations

from credit301.contracts.model import Aggregation, Contract
from credit301.derive.dbt import aggregation
from credit301.derive.dbt.aggregation import SPINE, Cte
from credit301.derive.dbt.edges import edge_features
from credit301.derive.dbt.names import SQL_HEADER
from credit301.workspace import Workspace

OWN = "aggregated"
DAY_COUNTS = (Aggregation.RECENCY_DAYS, Aggregation.AGE_DAYS)


def carries_on(contract: Contract) -> bool:
    """Whether what a build did not touch of a feature mart is what a full build would make of it.

    Not of edges: the features of an entity follow from records of its neighbours. Nor where a day count, which moves
    with the clock, is only a part of a feature.
    """
    counts = {feature.name for feature in contract.features if feature.aggregation in DAY_COUNTS}
    return not any(feature.over_edges or counts & set(feature.of or ()) for feature in contract.features)


def feature_sql(workspace: Workspace, contract: Contract) -> str:
    """Features of a source for each entity and time of the spine, from the versions known at that time.

    A source whose absence says that nothing happened has a row for each entity and time; another one only where it has
    a record, or an edge, of the entity.
    """
    key = workspace.entity.key
    parts: list[Cte] = []
    own = [f for f in contract.features if f.of is None and f.over_edges is None]
    if own:
        records = aggregation.own_records(key, contract, own, SPINE)
        parts += aggregation.aggregated(key, "", records, own)
    edges = edge_features(workspace, contract)
    parts += edges.parts
    tables = {**dict.fromkeys((feature.name for feature in own), OWN), **edges.tables}
    found = [*([OWN] if own else []), *edges.found]
    everywhere = aggregation.no_events(contract)
    start = SPINE if everywhere else found[0] if len(found) == 1 else "found"
    if start == "found":
        parts.append(Cte("found", "\n  union\n".join(f"  select {key}, as_of from {name}" for name in found)))
    joined = [name for name in dict.fromkeys(tables.values()) if name != start]
    base = start if start in tables.values() else "s"
    values = aggregation.values(contract.features, tables, zero=everywhere)
    selected = "".join(
        f",\n  cast({values[f.name]} as {aggregation.feature_type(f)}) as {f.name}" for f in contract.features
    )
    joins = "".join(
        f"\nleft join {name} on {name}.{key} = {base}.{key} and {name}.as_of = {base}.as_of" for name in joined
    )
    where = f"\nwhere {aggregation.due(contract)}" if start == SPINE else ""
    counts = [feature.name for feature in contract.features if feature.aggregation in DAY_COUNTS]
    carry_on = f"carry_features_on(this, '{key}', '{contract.name}', {counts!r})"
    return f"""{SQL_HEADER}{{{{ config(
  materialized=versions_materialization(), incremental_strategy="append", on_schema_change="fail",
  pre_hook="{{{{ {carry_on} }}}}"
) }}}}
{aggregation.with_clause(parts)}

select
  cast({base}.{key} as {{{{ text_type() }}}}) as {key},
  {base}.as_of as event_timestamp,
  {base}.as_of as created_timestamp{selected}
from {start}{"" if base == start else " as s"}{joins}{where}
"""
