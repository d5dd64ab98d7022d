"""Who changed since the build before: what has landed of an entity, became known or was replaced, or left a window.

A macro, not a model: it reads what the newly landed files left in ``landing``, and is the same lineage as that of the
models which use it.
"""

from __future__ import annotations

from credit301.contracts.model import Contract
from credit301.derive.dbt.names import IS_NEW, LANDING_SCHEMA, SQL_HEADER, STAGING_SCHEMA, staging_name
from credit301.derive.dbt.staging import known_from
from credit301.workspace import Workspace


def holders(workspace: Workspace) -> list[Contract]:
    """Sources whose records name an entity."""
    key = workspace.entity.key
    return [c for c in workspace.sources.values() if key in {column.name for column in c.columns}]


def changes_macro(workspace: Workspace) -> str:
    """The macro ``changes()``: a query of ``(source, <key>, since)``.

    What was known of the entity at a time from ``since`` on may differ from what the build before knew; for a change
    that the clock alone brings, ``since`` is the time of this build. Of a source that is staged anew there is nothing:
    everything that follows from it is built anew.
    """
    parts = "".join(
        f"{{% if carries_on('{staging_name(contract.name)}') %}}{_of(workspace.entity.key, contract)}{{% endif %}}\n"
        for contract in holders(workspace)
    )
    key = workspace.entity.key
    nobody = f"cast(null as {{{{ text_type() }}}}) as {key}"
    return f"""{SQL_HEADER}{{% macro changes() -%}}
select source, {key}, min(since) as since
from (
{parts}
select cast(null as {{{{ text_type() }}}}) as source, {nobody}, {{{{ as_of() }}}} as since
) as changes
where {key} is not null
group by source, {key}
{{%- endmacro %}}
"""


def _of(key: str, contract: Contract) -> str:
    name, landed = contract.name, f'{LANDING_SCHEMA}."{contract.name}"'
    told = f"min(case when {IS_NEW} then {known_from(contract)} end)"
    if key in contract.primary_key:
        new = f"  select '{name}' as source, {key}, {told} as since from {landed} group by {key}"
    else:
        # A correction may name another entity than the version that it replaces.
        keys = ", ".join(contract.primary_key)
        told = f"min(case when {IS_NEW} then {known_from(contract)} end) over (partition by {keys})"
        new = f"  select '{name}' as source, {key}, {told} as since from {landed}"
    parts = [new]
    moved = [
        f"{column} > {{{{ before() }}}} and {column} <= {{{{ as_of() }}}}" for column in ("known_from", "known_until")
    ]
    windows = {f"{f.window_months} months" if f.window_months else f"{f.window_days} days" for f in contract.features}
    for window in sorted(windows - {"None days"}):
        start, end = (f"{{{{ window_start({moment}(), '{window}') }}}}" for moment in ("before", "as_of"))
        moved.append(f"event_time > {start} and event_time <= {end}")
    # One query for each, so that each is pruned by the statistics of its column.
    staged = f"{STAGING_SCHEMA}.{staging_name(name)}"
    parts += [
        f"  select '{name}' as source, {key}, {{{{ as_of() }}}} as since from {staged} where {part}" for part in moved
    ]
    return "".join(f"\n{part}\n  union all" for part in parts)
