"""Features over edges: degrees, aggregations over edges, and features of the neighbours at the same time.

A neighbour's feature is what the same aggregation over the neighbour's own records, known at the entity's ``as_of``,
gives: the neighbour need not be on the spine at that time. It is computed once for each distinct pair of neighbour and
time, for the features that are asked for and for neighbours that are entities; outside parties have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credit301.contracts.model import OF_NEIGHBOURS, Contract, Direction, Feature
from credit301.derive.dbt import aggregation
from credit301.derive.dbt.aggregation import SPINE, Cte
from credit301.derive.dbt.literals import quoted
from credit301.derive.dbt.names import ENTITIES_MODEL, staging_name
from credit301.workspace import Workspace

DIRECTIONS: tuple[Direction, ...] = ("out", "in", "both")


@dataclass(frozen=True)
class EdgeFeatures:
    """The common table expressions, which of them has each feature, and which have a row for whoever has an edge."""

    parts: tuple[Cte, ...]
    tables: dict[str, str]
    found: tuple[str, ...]


def edge_features(workspace: Workspace, contract: Contract) -> EdgeFeatures:
    """All features of ``contract`` that are computed over its edges."""
    key = workspace.entity.key
    parts: list[Cte] = []
    tables: dict[str, str] = {}
    found: list[str] = []
    pairs: dict[str, list[Feature]] = {}
    for direction in DIRECTIONS:
        features = [f for f in contract.features if f.of is None and f.over_edges == direction]
        if not features:
            continue
        plain = [f for f in features if f.aggregation not in OF_NEIGHBOURS]
        records = _edges(key, contract, features, direction)
        parts += aggregation.aggregated(key, f"{direction}_", records, contract, plain)
        tables |= {f.name: f"{direction}_aggregated" for f in plain}
        found.append(f"{direction}_aggregated")
        if near := [f for f in features if f.aggregation in OF_NEIGHBOURS]:
            pairs[direction] = near
            parts.append(_pairs(key, direction, near))
    if pairs:
        parts.append(_neighbours(key, list(pairs)))
        wanted = [f for near in pairs.values() for f in near]
        sources = sorted({f.neighbour.source for f in wanted if f.neighbour})
        for source in sources:
            names = {f.neighbour.feature for f in wanted if f.neighbour and f.neighbour.source == source}
            parts += _of_neighbours(key, workspace.source(source), names)
        for side, near in pairs.items():
            parts.append(_over_neighbours(key, side, near))
            tables |= {f.name: f"{side}_neighbours" for f in near}
    return EdgeFeatures(tuple(parts), tables, tuple(found))


def ever_seen(key: str, contract: Contract) -> Cte:
    """``ever_seen``: since when the source has had a record, or an edge, of a party."""
    ends = [contract.edges.origin, contract.edges.target] if contract.edges else []
    owner = [key] if key in {column.name for column in contract.columns} else []
    union = "\n    union all\n".join(
        f"    select cast({party} as {{{{ text_type() }}}}) as {key}, known_from from "
        f"{{{{ ref('{staging_name(contract.name)}') }}}}"
        for party in dict.fromkeys([*owner, *ends])
    )
    sql = f"  select\n    {key},\n    min(known_from) as since\n  from (\n{union}\n  ) as parties\n  group by {key}"
    return Cte("ever_seen", sql)


def _edges(key: str, contract: Contract, features: Sequence[Feature], direction: Direction) -> str:
    """Edges known at each time of the spine, once for each end that is the entity; none from a party to itself."""
    if contract.edges is None:
        raise ValueError(contract.name)
    columns = "".join(f",\n    r.{name}" for name in aggregation.columns_read("", features) if name != key)
    ends = {
        "out": (contract.edges.origin, contract.edges.target),
        "in": (contract.edges.target, contract.edges.origin),
    }
    sides = [
        f"""  select
    s.{key},
    s.as_of,
    cast(r.{there} as {{{{ text_type() }}}}) as neighbour,
    r.event_time,
    r.known_from{columns}
  from {SPINE} as s
  inner join {{{{ ref('{staging_name(contract.name)}') }}}} as r
    on r.{here} = s.{key}
    and r.{there} <> r.{here}
    and {aggregation.KNOWN_THEN}{aggregation.oldest(features)}"""
        for side, (here, there) in ends.items()
        if direction in {side, "both"}
    ]
    return "\n  union all\n".join(sides)


def _pairs(key: str, direction: str, features: Sequence[Feature]) -> Cte:
    """Each neighbour once, with a flag for each feature that has an edge to it."""
    flags = "".join(f",\n    {{{{ has_edge({', '.join(aggregation.chosen(f))}) }}}} as {_linked(f)}" for f in features)
    sql = f"  select\n    {key},\n    as_of,\n    neighbour{flags}\n  from {direction}_known"
    return Cte(f"{direction}_pairs", f"{sql}\n  group by {key}, as_of, neighbour")


def _neighbours(key: str, directions: Sequence[str]) -> Cte:
    """Neighbours that are entities known by then, with the times at which their features are needed."""
    union = "\n    union\n".join(f"    select neighbour, as_of from {direction}_pairs" for direction in directions)
    return Cte(
        "neighbours",
        f"""  select
    p.neighbour as {key},
    p.as_of
  from (
{union}
  ) as p
  inner join {{{{ ref('{ENTITIES_MODEL}') }}}} as e on e.{key} = p.neighbour and e.first_known <= p.as_of""",
    )


def _of_neighbours(key: str, source: Contract, names: set[str]) -> list[Cte]:
    """``near_<source>``: the features ``names`` of ``source`` for each neighbour and time."""
    taken = [feature for feature in source.features if feature.name in names]
    parts_of = {part for feature in taken for part in feature.of or ()}
    direct = [f for f in source.features if f.of is None and f.name in names | parts_of]
    prefix = f"near_{source.name}_"
    records = aggregation.own_records(key, source, direct, "neighbours")
    tables = {feature.name: "a" for feature in direct}
    values = aggregation.values([*direct, *(f for f in taken if f.of)], tables, zero=aggregation.no_events(source))
    listed = "".join(f",\n    cast({values[f.name]} as {aggregation.feature_type(f)}) as {f.name}" for f in taken)
    join = "left" if aggregation.no_events(source) else "inner"
    sql = f"""  select
    s.{key} as party,
    s.as_of as moment{listed}
  from neighbours as s
  {join} join {prefix}aggregated as a on a.{key} = s.{key} and a.as_of = s.as_of"""
    return [*aggregation.aggregated(key, prefix, records, source, direct), Cte(f"near_{source.name}", sql)]


def _over_neighbours(key: str, direction: str, features: Sequence[Feature]) -> Cte:
    """``<direction>_neighbours``: ``features`` by entity and time."""
    listed = "".join(f",\n    {_over(feature)} as {feature.name}" for feature in features)
    sources = sorted({f.neighbour.source for f in features if f.neighbour})
    joins = "".join(
        f"\n  left join near_{name} on near_{name}.party = p.neighbour and near_{name}.moment = p.as_of"
        for name in sources
    )
    sql = f"  select\n    p.{key},\n    p.as_of{listed}\n  from {direction}_pairs as p{joins}"
    return Cte(f"{direction}_neighbours", f"{sql}\n  group by p.{key}, p.as_of")


def _over(feature: Feature) -> str:
    if feature.neighbour is None:
        raise ValueError(feature.name)
    value = f"near_{feature.neighbour.source}.{feature.neighbour.feature}"
    arguments = [quoted(value), quoted(_linked(feature))]
    if feature.neighbour.where is not None:
        arguments.append(quoted(aggregation.condition(value, feature.neighbour.where)))
    return f"{{{{ feature_{feature.aggregation}({', '.join(arguments)}) }}}}"


def _linked(feature: Feature) -> str:
    return f"{feature.name}_linked"
