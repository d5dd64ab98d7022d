"""Staging: each version of each record, with the interval in which it was the latest: ``[known_from, known_until)``.

A key that occurs once is the rule, so only keys that occur more than once are ordered. The model replaces the keys that
the landing shows: all of them, or those of the newly landed records (:mod:`credit301.warehouse.landing_views`).
"""

from __future__ import annotations

from credit301.contracts.model import Contract, LogicalType
from credit301.derive.dbt.names import LANDING_SCHEMA, SQL_HEADER

EPOCH = "cast('1970-01-01' as timestamp)"
VERSION = ("event_time", "known_from")


def staging_sql(contract: Contract) -> str:
    """Every version of every record of a source, with the interval in which it was the latest known."""
    keys = contract.primary_key
    key = ", ".join(keys)
    names = [column.name for column in contract.columns if column.name not in _time_names(contract)]
    columns = ",\n    ".join(names)
    hashed = f"{{{{ key_hash([{', '.join(repr(name) for name in keys)}]) }}}}"
    typed = f"""select
    {columns},
    {_event_time(contract)} as event_time,
    {known_from(contract)} as known_from,
    {hashed} as key_hash"""
    # Output columns are listed, so that the engines agree on their order.
    listed = ",\n  ".join([*names, *VERSION])
    return f"""{SQL_HEADER}{{{{ config(
  materialized=versions_materialization(), incremental_strategy="delete+insert", unique_key={list(keys)!r},
  post_hook="{{{{ known_at_function(this, '{contract.name}') }}}}"
) }}}}
{{% set landed %}}
  {typed}
  from {{{{ source('{LANDING_SCHEMA}', '{contract.name}') }}}}
{{% endset -%}}
with repeated as (
  select key_hash
  from ({{{{ landed }}}}) as landed
  group by key_hash
  having count(*) > 1
),

-- Two versions published at the same moment cannot both be the latest; the choice is arbitrary but repeatable.
ranked as (
  select
    landed.*,
    row_number() over (partition by {key}, known_from order by {_content(contract, names)}) as version_rank
  from ({{{{ landed }}}}) as landed
  where exists (select 1 from repeated where repeated.key_hash = landed.key_hash)
)

select
  {listed},
  lead(known_from) over (partition by {key} order by known_from) as known_until
from ranked
where version_rank = 1

union all

select
  {listed},
  cast(null as timestamp) as known_until
from ({{{{ landed }}}}) as landed
where not exists (select 1 from repeated where repeated.key_hash = landed.key_hash)
"""


def _content(contract: Contract, names: list[str]) -> str:
    """Order of a record's values, the same on every engine."""
    text = {column.name for column in contract.columns if column.logical_type is LogicalType.STRING}
    values = [f"{{{{ in_byte_order('{name}') }}}}" if name in text else name for name in names]
    return ", ".join(f"{value} nulls last" for value in ("event_time", *values))


def _time_names(contract: Contract) -> set[str]:
    """Columns that staging renames; an event time of another name stays a column as well."""
    return {
        name
        for name in (contract.time.event_time, contract.time.available_at)
        if name in {"event_time", "available_at"}
    }


def _event_time(contract: Contract) -> str:
    return f"cast({contract.time.event_time} as timestamp)" if contract.time.event_time else EPOCH


def known_from(contract: Contract) -> str:
    """When a landed record became known, as SQL over the landing."""
    if contract.time.available_at:
        return f"cast({contract.time.available_at} as timestamp)"
    if contract.time.event_time and contract.time.lag_days:
        return f"{{{{ days_after('{_event_time(contract)}', {contract.time.lag_days}) }}}}"
    return _event_time(contract)
