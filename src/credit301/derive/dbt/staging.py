"""Staging: every version of every record, with the interval ``[known_from, known_until)`` in which it was the latest."""

from __future__ import annotations

from credit301.contracts.model import Contract
from credit301.derive.dbt.names import LANDING_SCHEMA, SQL_HEADER

EPOCH = "cast('1970-01-01' as timestamp)"


def staging_sql(contract: Contract) -> str:
    """Every version of every record of a source, with the interval in which it was the latest known."""
    key = ", ".join(contract.primary_key)
    columns = ",\n    ".join(column.name for column in contract.columns if column.name not in _time_names(contract))
    return f"""{SQL_HEADER}with landed as (
  select
    {columns},
    {_event_time(contract)} as event_time,
    {_available_at(contract)} as known_from,
    _record_hash
  from {{{{ source('{LANDING_SCHEMA}', '{contract.name}') }}}}
),

-- Two versions published at the same moment cannot both be the latest; the choice is arbitrary but repeatable.
ranked as (
  select
    *,
    row_number() over (partition by {key}, known_from order by _record_hash) as version_rank
  from landed
)

select
  {columns.replace(chr(10) + "    ", chr(10) + "  ")},
  event_time,
  known_from,
  lead(known_from) over (partition by {key} order by known_from) as known_until
from ranked
where version_rank = 1
"""


def _time_names(contract: Contract) -> set[str]:
    """Columns that staging renames; an event time of another name stays a column as well."""
    return {
        name
        for name in (contract.time.event_time, contract.time.available_at)
        if name in {"event_time", "available_at"}
    }


def _event_time(contract: Contract) -> str:
    return f"cast({contract.time.event_time} as timestamp)" if contract.time.event_time else EPOCH


def _available_at(contract: Contract) -> str:
    if contract.time.available_at:
        return f"cast({contract.time.available_at} as timestamp)"
    if contract.time.event_time and contract.time.lag_days:
        return f"{{{{ days_after('{_event_time(contract)}', {contract.time.lag_days}) }}}}"
    return _event_time(contract)
