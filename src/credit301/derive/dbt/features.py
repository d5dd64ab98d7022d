"""Feature marts: the declared features of a source for each entity and time of the spine."""

from __future__ import annotations

from credit301.contracts.model import Aggregation, Contract
from credit301.derive.dbt import aggregation
from credit301.derive.dbt.aggregation import SPINE, Cte
from credit301.derive.dbt.edges import edge_features, ever_seen
from credit301.derive.dbt.names import SQL_HEADER, known_column
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


def remembered(contract: Contract) -> bool:
    """Whether the spine says of whom the source has ever had a record.

    Of one whose absence says that nothing happened it does not matter; a source with edges looks for itself.
    """
    over_edges = any(feature.over_edges for feature in contract.features)
    return bool(contract.features) and not over_edges and not aggregation.no_events(contract)


def feature_sql(workspace: Workspace, contract: Contract) -> str:
    """Features of a source for each entity and time of the spine, from the versions known at that time.

    A source whose absence says that nothing happened has a row for each entity and time; another one where it has ever
    had a record, or an edge, of the entity. Where all of these have left the windows, or turned out to be of somebody
    else, every feature is null: no data. Without that row, history would go back to the one before.
    """
    key = workspace.entity.key
    parts: list[Cte] = []
    own = [f for f in contract.features if f.of is None and f.over_edges is None]
    if own:
        records = aggregation.own_records(key, contract, own, SPINE)
        parts += aggregation.aggregated(key, "", records, contract, own)
    edges = edge_features(workspace, contract)
    parts += edges.parts
    tables = {**dict.fromkeys((feature.name for feature in own), OWN), **edges.tables}
    found = [*([OWN] if own else []), *edges.found]
    everywhere = aggregation.no_events(contract)
    if everywhere or len(found) == 1:
        present = None if everywhere else found[0]
    else:
        present = "found"
        parts.append(Cte(present, "\n  union\n".join(f"  select {key}, as_of from {name}" for name in found)))
    if not everywhere and not remembered(contract):
        parts.append(ever_seen(key, contract))
    values = aggregation.values(contract.features, tables, zero=everywhere, present=present)
    selected = "".join(
        f",\n  cast({values[f.name]} as {aggregation.feature_type(f)}) as {f.name}" for f in contract.features
    )
    joins = "".join(
        f"\nleft join {name} on {name}.{key} = s.{key} and {name}.as_of = s.as_of"
        for name in dict.fromkeys([*tables.values(), *([present] if present else [])])
    )
    where = aggregation.due(contract)
    if remembered(contract):
        where += f" and s.{known_column(contract.name)} is not false"
    elif not everywhere:
        joins += f"\ninner join ever_seen on ever_seen.{key} = s.{key} and ever_seen.since <= s.as_of"
    counts = [feature.name for feature in contract.features if feature.aggregation in DAY_COUNTS]
    carry_on = f"carry_features_on(this, '{key}', '{contract.name}', {counts!r})"
    return f"""{SQL_HEADER}{{{{ config(
  materialized=versions_materialization(), incremental_strategy="append", on_schema_change="fail",
  pre_hook="{{{{ {carry_on} }}}}"
) }}}}
{aggregation.with_clause(parts)}

select
  cast(s.{key} as {{{{ text_type() }}}}) as {key},
  s.as_of as event_timestamp,
  s.as_of as created_timestamp{selected}
from {SPINE} as s{joins}
where {where}
"""
