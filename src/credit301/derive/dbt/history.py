"""What an enterprise was when: one row for each interval in which nothing of its slowly changing records changed."""

from __future__ import annotations

from collections import Counter

from credit301.contracts.model import Contract
from credit301.derive.dbt.names import ENTITIES_MODEL, SQL_HEADER, staging_name
from credit301.workspace import Workspace

HISTORY_MODEL = "enterprise_history"


def slowly_changing(workspace: Workspace) -> list[Contract]:
    """Sources of which each record is the state of an entity from its event time on, until the next."""
    return [contract for contract in workspace.sources.values() if contract.time.slowly_changing]


def history_columns(workspace: Workspace) -> dict[tuple[str, str], str]:
    """Name in the history of each column, by source and column; a name that two sources share gets the source's."""
    key = workspace.entity.key
    columns = [
        (contract.name, column.name)
        for contract in slowly_changing(workspace)
        for column in contract.columns
        if not column.primary_key and column.name not in {key, contract.time.event_time, contract.time.available_at}
    ]
    shared = Counter(column for _, column in columns)
    return {(source, name): name if shared[name] == 1 else f"{source}_{name}" for source, name in columns}


def history_sql(workspace: Workspace) -> str:
    """One row for each entity and interval ``[valid_from, valid_until)``, by what is known as of the build."""
    key = workspace.entity.key
    names = history_columns(workspace)
    parts, joins = [], []
    sources = slowly_changing(workspace)
    changing = ", ".join(f"'{contract.name}'" for contract in sources)
    changed = f"select 1 from intermediate.changed_entities as c where c.source in ({changing})"
    for contract in sources:
        columns = "".join(
            f",\n    {column} as {name}" for (source, column), name in names.items() if source == contract.name
        )
        listed = "".join(f",\n    {name}" for (source, _), name in names.items() if source == contract.name)
        last = ", ".join(f"{name} desc" for name in ("known_from", *contract.primary_key))
        parts.append(f"""{contract.name}_states as (
  select
    {key},
    event_time as valid_from{columns},
    row_number() over (partition by {key}, event_time order by {last}) as place
  from {{{{ ref('{staging_name(contract.name)}') }}}}
  where known_from <= {{{{ as_of() }}}} and (known_until is null or known_until > {{{{ as_of() }}}})
    {{%- if carries_on('{HISTORY_MODEL}') %}}
    and exists ({changed} and c.{key} = {staging_name(contract.name)}.{key})
    {{%- endif %}}
),

{contract.name}_intervals as (
  select
    {key},
    valid_from,
    lead(valid_from) over (partition by {key} order by valid_from) as valid_until{listed}
  from {contract.name}_states
  where place = 1
)""")
        joins.append(f"""left join {contract.name}_intervals
  on {contract.name}_intervals.{key} = intervals.{key}
  and {contract.name}_intervals.valid_from <= intervals.valid_from
  and ({contract.name}_intervals.valid_until is null
    or {contract.name}_intervals.valid_until > intervals.valid_from)""")
    begun = "\n  union\n".join(f"  select {key}, valid_from from {contract.name}_intervals" for contract in sources)
    selected = "".join(f",\n  {source}_intervals.{name}" for (source, _), name in names.items())
    states = ",\n\n".join(parts)
    return f"""{SQL_HEADER}-- depends_on: {{{{ ref('{ENTITIES_MODEL}') }}}}
{{{{ config(
  materialized=versions_materialization(), incremental_strategy="append", on_schema_change="fail",
  pre_hook="{{{{ forget_history(this, '{key}', {[contract.name for contract in sources]!r}) }}}}"
) }}}}
with {states},

changed as (
{begun}
),

intervals as (
  select
    {key},
    valid_from,
    lead(valid_from) over (partition by {key} order by valid_from) as valid_until
  from changed
)

select
  intervals.{key},
  intervals.valid_from,
  intervals.valid_until{selected}
from intervals
{chr(10).join(joins)}
"""
