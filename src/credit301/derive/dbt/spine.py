"""The feature spine and the labels: who needs features as of when, and what came of it."""

from __future__ import annotations

from credit301.derive.dbt.changes import holders
from credit301.derive.dbt.literals import literal
from credit301.derive.dbt.names import (
    ENTITIES_MODEL,
    LABELS_MODEL,
    LANDING_SCHEMA,
    SPINE_MODEL,
    SQL_HEADER,
    due_column,
    feature_model_name,
    staging_name,
)
from credit301.derive.dbt.staging import known_from
from credit301.workspace import Labels, Workspace


def entities_sql(workspace: Workspace) -> str:
    """Everybody whom a source names by the entity's key, and since when they are known.

    A build that carries on looks at what has landed since, and writes whom it did not know, or not for so long.
    """
    key = workspace.entity.key
    sources = holders(workspace)
    union, landed = (
        "\n  union all\n".join(
            f"  select {key}, min({told}) as first_known from {relation} group by {key}" for told, relation in relations
        )
        for relations in (
            [("known_from", f"{{{{ ref('{staging_name(c.name)}') }}}}") for c in sources],
            [(known_from(c), f'{LANDING_SCHEMA}."{c.name}"') for c in sources],
        )
    )
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
    min(first_known) as first_known
  from seen
  where {key} is not null
  group by {key}
)

select
  e.{key},
  e.first_known
from entities as e
{{%- if carries_on('{ENTITIES_MODEL}') %}}
where not exists (select 1 from {{{{ this }}}} as b where b.{key} = e.{key} and b.first_known <= e.first_known)
{{%- endif %}}
"""


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
    changed of the entity since, or the row is new. In a build from everything all of them are.
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
  m.as_of{due}
from moments as m
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
  {key},
  as_of{always}
from moments
{{%- endif %}}
"""


def labels_sql(workspace: Workspace, labels: Labels) -> str:
    """Outcomes to learn from: one row for each entity and decision time, ``label`` 1 for a default."""
    key = workspace.entity.key
    split = getattr(workspace.definition.split, "column", None)
    extra = f",\n  {split}" if split else ""
    if labels.model:
        return f"""{SQL_HEADER}select
  cast({key} as {{{{ text_type() }}}}) as {key},
  cast(decision_time as timestamp) as decision_time,
  cast(label as integer) as label{extra}
from {{{{ ref('{labels.model}') }}}}
"""
    decided = f"cast({labels.decision_time} as timestamp)" if labels.decision_time else "{{ as_of() }}"
    known = f",\n  cast({labels.known_at} as timestamp) as label_known_at" if labels.known_at else ""
    also = f" and {labels.decision_time} is not null" if labels.decision_time else ""
    return f"""{SQL_HEADER}select
  cast({key} as {{{{ text_type() }}}}) as {key},
  {decided} as decision_time,
  cast(case when {labels.column} = {literal(labels.positive)} then 1 else 0 end as integer) as label{known}{extra}
from {{{{ ref('{staging_name(str(labels.source))}') }}}}
where known_until is null and {labels.column} is not null{also}
"""
