"""The feature spine and the labels: who needs features as of when, and what came of it."""

from __future__ import annotations

from credit301.derive.dbt.literals import literal
from credit301.derive.dbt.names import LABELS_MODEL, SQL_HEADER, staging_name
from credit301.workspace import Workspace


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
  cast(case when {labels.column} = {literal(labels.positive)} then 1 else 0 end as integer) as label{extra}
from {{{{ ref('{staging_name(str(labels.source))}') }}}}
where known_until is null and {labels.column} is not null
"""
