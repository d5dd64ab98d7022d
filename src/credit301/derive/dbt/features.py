"""Feature marts: the declared features of a source for each entity and time of the spine."""

from __future__ import annotations

from credit301.contracts.model import Contract
from credit301.derive.dbt import aggregation
from credit301.derive.dbt.aggregation import SPINE, Cte
from credit301.derive.dbt.edges import edge_features
from credit301.derive.dbt.names import SQL_HEADER
from credit301.workspace import Workspace

OWN = "aggregated"


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
    return f"""{SQL_HEADER}{aggregation.with_clause(parts)}

select
  cast({base}.{key} as {{{{ text_type() }}}}) as {key},
  {base}.as_of as event_timestamp,
  {base}.as_of as created_timestamp{selected}
from {start}{"" if base == start else " as s"}{joins}
"""
