"""The feature spine and the labels: who needs features as of when, and what came of it."""

from __future__ import annotations

from credit301.contracts.model import Contract
from credit301.derive.dbt.changes import holders
from credit301.derive.dbt.features import remembered
from credit301.derive.dbt.literals import literal
from credit301.derive.dbt.names import (
    ENTITIES_MODEL,
    LABELS_MODEL,
    LANDING_SCHEMA,
    SPINE_MODEL,
    SQL_HEADER,
    due_column,
    feature_model_name,
    known_column,
    since_column,
    staging_name,
)
from credit301.derive.dbt.staging import known_from
from credit301.workspace import Labels, Workspace


def entities_sql(workspace: Workspace) -> str:
    """Everybody whom a source names by the entity's key, and since when they are known: at all, and to a source.

    A build that carries on looks at what has landed since, and writes whom it did not know, or not for so long.
    """
    key = workspace.entity.key
    sources = holders(workspace)
    union, landed = (
        "\n  union all\n".join(
            f"  select '{source.name}' as source, {key}, min({told}) as known_from from {relation} group by {key}"
            for source, told, relation in relations
        )
        for relations in (
            [(c, "known_from", f"{{{{ ref('{staging_name(c.name)}') }}}}") for c in sources],
            [(c, known_from(c), f'{LANDING_SCHEMA}."{c.name}"') for c in sources],
        )
    )
    since = [since_column(contract.name) for contract in _remembered(workspace)]
    by_source = "".join(
        f",\n    min(case when source = '{contract.name}' then known_from end) as {since_column(contract.name)}"
        for contract in _remembered(workspace)
    )
    times = ["first_known", *since]
    selected = "".join(f",\n  e.{name}" for name in times)
    earliest = "".join(f",\n  least(e.{name}, b.{name}) as {name}" for name in times)
    earlier = "\n  or ".join(f"not coalesce(b.{name} <= e.{name}, e.{name} is null)" for name in times)
    return f"""{SQL_HEADER}{{{{ config(
  materialized=versions_materialization(), incremental_strategy="delete+insert", unique_key='{key}',
  pre_hook="{{{{ note_changes() }}}}"
) }}}}
with seen as (
{{%- if carries_on('{ENTITIES_MODEL}') %}}
{landed}
{{%- else %}}
{union}
{{%- endif %}}
),

entities as (
  select
    {key},
    min(known_from) as first_known{by_source}
  from seen
  where {key} is not null
  group by {key}
)
{{% if carries_on('{ENTITIES_MODEL}') %}}
select
  e.{key}{earliest}
from entities as e
left join {{{{ this }}}} as b on b.{key} = e.{key}
where {earlier}
{{%- else %}}
select
  e.{key}{selected}
from entities as e
{{%- endif %}}
"""


def _remembered(workspace: Workspace) -> list[Contract]:
    """Sources of which it matters since when they have named an entity."""
    return [contract for contract in workspace.featured() if remembered(contract)]


def months_sql(workspace: Workspace) -> str:
    """Each entity in each month since it is known, for series and monitoring: a view, which costs nothing to keep."""
    key = workspace.entity.key
    return f"""{SQL_HEADER}{{{{ config(materialized="view") }}}}
select
  e.{key},
  m.month_start
from {{{{ ref('{ENTITIES_MODEL}') }}}} as e
inner join {{{{ month_starts("(select min(first_known) from " ~ ref('{ENTITIES_MODEL}') ~ ")", as_of()) }}}} as m
  on m.month_start >= date_trunc('month', e.first_known)
where e.{key} is not null
"""


def spine_sql(workspace: Workspace) -> str:
    """Who needs features as of when: everybody now, every labelled decision, and on request each month's start.

    ``<source>_due`` says whether the features of a source are computed for the row in this build: where something has
    changed of the entity since, or the row is new. In a build from everything all of them are. ``<source>_known`` says
    whether the source had ever named the entity by then.
    """
    key = workspace.entity.key
    entities = f"{{{{ ref('{ENTITIES_MODEL}') }}}}"
    decisions = monthly = ""
    if workspace.definition.labels:
        decisions = f"""
  union
  select {key}, decision_time as as_of
  from {{{{ ref('{LABELS_MODEL}') }}}}"""
    if workspace.definition.feature_grid == "monthly":
        monthly = f"""
  union
  select e.{key}, m.month_start as as_of
  from {entities} as e
  inner join {{{{ month_starts("(select min(first_known) from " ~ ref('{ENTITIES_MODEL}') ~ ")", as_of()) }}}} as m
    on m.month_start >= e.first_known"""
    sources = [contract.name for contract in workspace.featured()]
    always = "".join(f",\n  true as {due_column(name)}" for name in sources)
    since = "".join(f",\n    min(case when source = '{name}' then since end) as {name}" for name in sources)
    due = "".join(
        f",\n  {{% if carries_on('{feature_model_name(name)}') %}}"
        f"b.{key} is null or coalesce(c.{name} <= m.as_of, false)"
        f"{{% else %}}true{{% endif %}} as {due_column(name)}"
        for name in sources
    )
    known = "".join(
        f",\n  coalesce(e.{since_column(contract.name)} <= m.as_of, false) as {known_column(contract.name)}"
        for contract in _remembered(workspace)
    )
    return f"""{SQL_HEADER}{{{{ config(
  pre_hook="{{{{ keep_spine(this, '{key}') }}}}", post_hook="{{{{ note_gone(this, '{key}') }}}}"
) }}}}
with moments as (
  select {key}, {{{{ as_of() }}}} as as_of
  from {entities}
  where first_known <= {{{{ as_of() }}}}{decisions}{monthly}
)

{{% if carries_on('{SPINE_MODEL}') -%}}
, changed as (
  select
    {key}{since}
  from intermediate.changed_entities
  group by {key}
)

select
  m.{key},
  m.as_of{due}{known}
from moments as m
left join {entities} as e on e.{key} = m.{key}
left join changed as c on c.{key} = m.{key}
left join intermediate.feature_spine_before as b
  on b.{key} = m.{key}
  -- Who was now at the time of the build before is now; what else needs that time is new.
  and b.as_of = case
    when m.as_of = {{{{ as_of() }}}} then {{{{ before() }}}}
    when m.as_of <> {{{{ before() }}}} then m.as_of
  end
{{%- else -%}}
select
  m.{key},
  m.as_of{always}{known}
from moments as m
left join {entities} as e on e.{key} = m.{key}
{{%- endif %}}
"""


def labels_sql(workspace: Workspace, labels: Labels) -> str:
    """Outcomes to learn from: one row for each entity and decision time, ``label`` 1 for a default."""
    key = workspace.entity.key
    split = getattr(workspace.definition.split, "column", None)
    extra = f",\n  {split}" if split else ""
    known = f",\n  cast({labels.known_at} as timestamp) as label_known_at" if labels.known_at else ""
    if labels.model:
        return f"""{SQL_HEADER}select
  cast({key} as {{{{ text_type() }}}}) as {key},
  cast(decision_time as timestamp) as decision_time,
  cast(label as integer) as label{known}{extra}
from {{{{ ref('{labels.model}') }}}}
"""
    decided = f"cast({labels.decision_time} as timestamp)" if labels.decision_time else "{{ as_of() }}"
    also = f" and {labels.decision_time} is not null" if labels.decision_time else ""
    return f"""{SQL_HEADER}select
  cast({key} as {{{{ text_type() }}}}) as {key},
  {decided} as decision_time,
  cast(case when {labels.column} = {literal(labels.positive)} then 1 else 0 end as integer) as label{known}{extra}
from {{{{ ref('{staging_name(str(labels.source))}') }}}}
where known_until is null and {labels.column} is not null{also}
"""
