"""The portrait: each entity now, on each dimension: headline features, an index among its peers, what is covered."""

from __future__ import annotations

from credit301.contracts.model import Contract, Feature
from credit301.derive.dbt.aggregation import no_events
from credit301.derive.dbt.names import ENTITIES_MODEL, SQL_HEADER, feature_model_name
from credit301.workspace import Workspace

PORTRAIT_MODEL = "portrait"
HEADLINES = 3
PEER = "peer_"


def headlines(workspace: Workspace, dimension: str) -> list[tuple[Contract, Feature]]:
    """The features of a dimension that stand for it: of each source in turn, the first whose risk has a direction."""
    sources = [contract for contract in workspace.featured() if contract.dimension == dimension]
    directed = [[(contract, f) for f in contract.features if f.risk != "free"] for contract in sources]
    rounds = max((len(features) for features in directed), default=0)
    turns = [features[turn] for turn in range(rounds) for features in directed if turn < len(features)]
    return turns[:HEADLINES]


def portrait_columns(workspace: Workspace) -> dict[str, str]:
    """Description of each column of the portrait beside the key, by name."""
    columns = {}
    among = "同类内 among its peers" if workspace.definition.portrait.peers else "全体内 among all"
    for dimension, title in workspace.definition.dimensions.items():
        columns[f"{dimension}_index"] = f"{title.zh}指数，{among}: 0 (worst) to 100 (best) by {title.en}"
        columns[f"{dimension}_source_count"] = f"{title.zh}数据源数: sources that know the entity"
        columns[f"{dimension}_is_covered"] = f"{title.zh}是否覆盖: whether any source knows the entity"
        for contract, feature in headlines(workspace, dimension):
            columns[_column(contract, feature)] = f"{feature.label.zh}: {feature.label.en}"
    return columns


def portrait_sql(workspace: Workspace) -> str:
    """One row for each entity known as of the build; an index is the mean percentile of its headline features.

    A percentile is among the entities that share all peers of the workspace's portrait, where enough of them have the
    feature; else among those who share all but the last, and so on.
    """
    key = workspace.entity.key
    joins = "".join(
        f"\nleft join {{{{ ref('{feature_model_name(c.name)}') }}}} as {c.name}"
        f"\n    on {c.name}.{key} = e.{key} and {c.name}.event_timestamp = {{{{ as_of() }}}}"
        for c in workspace.featured()
    )
    values, ranked, indices = _peers(workspace), [], []
    for dimension in workspace.definition.dimensions:
        sources = [contract for contract in workspace.featured() if contract.dimension == dimension]
        known = " + ".join(f"case when {_nothing_known(key, c)} then 0 else 1 end" for c in sources) or "0"
        values.append(f"{known} as {dimension}_source_count")
        places = []
        for contract, feature in headlines(workspace, dimension):
            name = _column(contract, feature)
            values.append(f"{contract.name}.{feature.name} as {name}")
            # Rounded, so that what is equal but for the last bit has the same place on every engine.
            order = f"cast({name} as decimal(28, 6)){' desc' if feature.risk == 'increasing' else ''}"
            # By itself: a sort carries its columns, and there are three for each feature.
            ranked.append(
                (name, f"select {key}, {_place(workspace, order)} as place\n  from known\n  where {name} is not null")
            )
            places.append(f"{name}_ranked.place")
        indices += [
            _index(dimension, places),
            f"known.{dimension}_source_count",
            f"known.{dimension}_source_count > 0 as {dimension}_is_covered",
        ]
        indices += [f"known.{_column(contract, feature)}" for contract, feature in headlines(workspace, dimension)]
    steps = "".join(f",\n\n{name}_ranked as (\n  {select}\n)" for name, select in ranked)
    found = "".join(f"\nleft join {name}_ranked on {name}_ranked.{key} = known.{key}" for name, _ in ranked)
    return f"""{SQL_HEADER}with known as (
  select
    e.{key},
    {("," + chr(10) + "    ").join(values)}
  from {{{{ ref('{ENTITIES_MODEL}') }}}} as e{joins}
  where e.first_known <= {{{{ as_of() }}}} and e.{key} is not null
){steps}

select
  known.{key},
  {{{{ as_of() }}}} as as_of,
  {("," + chr(10) + "  ").join(indices)}
from known{found}
"""


def _nothing_known(key: str, contract: Contract) -> str:
    """Condition: the source has no row of the entity, or a row of nulls, which says that it knows nothing any more."""
    if no_events(contract):
        return f"{contract.name}.{key} is null"
    return "(" + " and ".join(f"{contract.name}.{feature.name} is null" for feature in contract.features) + ")"


def _peers(workspace: Workspace) -> list[str]:
    """What peers share, as columns."""
    shared = []
    for number, peer in enumerate(workspace.definition.portrait.peers):
        value = f"{peer.source}.{peer.feature}"
        shared.append(f"{f'substr({value}, 1, {peer.prefix})' if peer.prefix else value} as {PEER}{number}")
    return shared


def _place(workspace: Workspace, order: str) -> str:
    """Share of the peers that are behind in ``order``, of entities that all have a value."""
    portrait = workspace.definition.portrait
    cases = []
    for count in range(len(portrait.peers), 0, -1):
        group = [f"{PEER}{number}" for number in range(count)]
        known = " and ".join(f"{column} is not null" for column in group)
        shared = ", ".join(group)
        cases.append(
            f"when {known} and count(*) over (partition by {shared}) >= {portrait.fewest}"
            f" then percent_rank() over (partition by {shared} order by {order})"
        )
    everyone = f"percent_rank() over (order by {order})"
    return f"case {' '.join(cases)} else {everyone} end" if cases else everyone


def _index(dimension: str, places: list[str]) -> str:
    if not places:
        return f"cast(null as {{{{ float_type() }}}}) as {dimension}_index"
    total = " + ".join(f"coalesce({place}, 0)" for place in places)
    count = " + ".join(f"case when {place} is null then 0 else 1 end" for place in places)
    return f"100 * cast({total} as {{{{ float_type() }}}}) / nullif({count}, 0) as {dimension}_index"


def _column(contract: Contract, feature: Feature) -> str:
    return f"{contract.name}_{feature.name}"
