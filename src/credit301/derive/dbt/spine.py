"""The feature spine and the labels: who needs features as of when, and what came of it."""

from __future__ import annotations

from credit301.derive.dbt.literals import literal
from credit301.derive.dbt.names import ENTITIES_MODEL, LABELS_MODEL, SQL_HEADER, staging_name
from credit301.workspace import Labels, Workspace


def entities_sql(workspace: Workspace) -> str:
    """Everybody whom a source names by the entity's key, and since when they are known."""
    key = workspace.entity.key
    holders = [c for c in workspace.sources.values() if key in {column.name for column in c.columns}]
    union = "\n  union all\n".join(
        f"  select {key}, min(known_from) as first_known from {{{{ ref('{staging_name(c.name)}') }}}} group by {key}"
        for c in holders
    )
    return f"""{SQL_HEADER}with seen as (
{union}
)

select
  {key},
  min(first_known) as first_known
from seen
group by {key}
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
    """Who needs features as of when: everybody now, every labelled decision, and on request each month's start."""
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
    return f"""{SQL_HEADER}with moments as (
  select {key}, {{{{ as_of() }}}} as as_of
  from {entities}
  where first_known <= {{{{ as_of() }}}}{decisions}{monthly}
)

select {key}, as_of
from moments
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
