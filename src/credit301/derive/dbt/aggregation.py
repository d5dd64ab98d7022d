"""The building blocks of feature marts: records known at a time, and the declared aggregations over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from credit301.contracts.model import Aggregation, Comparison, Contract, Feature
from credit301.contracts.types import DECIMAL, WHOLE
from credit301.derive.dbt.literals import literal, quoted
from credit301.derive.dbt.names import SPINE_MODEL, due_column, feature_model_name, staging_name

SPINE = f"{{{{ ref('{SPINE_MODEL}') }}}}"
COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "ne": "<>"}
ZERO_WITHOUT_EVENTS = {
    Aggregation.COUNT,
    Aggregation.SUM,
    Aggregation.DISTINCT,
    Aggregation.ACTIVE_MONTHS,
    Aggregation.DEGREE,
}

KNOWN_THEN = "r.known_from <= s.as_of\n    and (r.known_until is null or r.known_until > s.as_of)"


@dataclass(frozen=True)
class Cte:
    """One common table expression."""

    name: str
    sql: str


def with_clause(parts: Sequence[Cte]) -> str:
    """``with`` and the parts in order."""
    return "with " + ",\n\n".join(f"{part.name} as (\n{part.sql}\n)" for part in parts)


def own_records(key: str, contract: Contract, features: Sequence[Feature], spine: str) -> str:
    """The entity's own records of a source as known at each time of ``spine``, and inside the longest window.

    Most of the spine is everybody now: one time for all, for which the records need no join. Where a build carries on
    from the one before, only those are due of whom something has changed.
    """
    columns = "".join(f",\n    r.{name}" for name in columns_read(key, features))
    alike = f"and s.{key} = r.{key} and {due(contract)}"
    then = f"""  select
    s.{key},
    s.as_of,
    r.event_time,
    r.known_from{columns}
  from {spine} as s
  inner join {{{{ ref('{staging_name(contract.name)}') }}}} as r
    on r.{key} = s.{key}
    and {KNOWN_THEN}{oldest(features)}"""
    if spine != SPINE:
        return then
    return f"""  select
    r.{key},
    {{{{ as_of() }}}} as as_of,
    r.event_time,
    r.known_from{columns}
  from {{{{ ref('{staging_name(contract.name)}') }}}} as r
  where r.{key} is not null
    and r.known_from <= {{{{ as_of() }}}}
    and (r.known_until is null or r.known_until > {{{{ as_of() }}}}){oldest(features, "as_of()")}
    and exists (
      select 1
      from {SPINE} as s
      where s.as_of = {{{{ as_of() }}}}
        {{%- if carries_on('{feature_model_name(contract.name)}') %}} {alike}{{% endif %}}
    )
  union all
{then}
  where s.as_of <> {{{{ as_of() }}}} and {due(contract)}"""


def due(contract: Contract) -> str:
    """Condition on a row of the spine: the features of the source are computed for it in this build."""
    return f"s.{due_column(contract.name)} is not false"


def columns_read(key: str, features: Sequence[Feature]) -> list[str]:
    """Columns that ``features`` read beyond the entity's key and the times, sorted."""
    return sorted({name for feature in features for name in feature.reads} - {key, "event_time"})


def oldest(features: Sequence[Feature], moment: str = "'s.as_of'") -> str:
    """Condition that leaves out records before every window that ends at ``moment``, an argument of a macro.

    Empty where a feature takes all that is known.
    """
    if not features or not all(f.window_months or f.window_days for f in features):
        return ""
    longest = {
        "months": max((f.window_months or 0 for f in features), default=0),
        "days": max((f.window_days or 0 for f in features), default=0),
    }
    starts = [
        f"r.event_time > {{{{ window_start({moment}, '{length} {unit}') }}}}"
        for unit, length in longest.items()
        if length
    ]
    return "\n    and " + (starts[0] if len(starts) == 1 else f"({' or '.join(starts)})")


def aggregated(key: str, prefix: str, records: str, contract: Contract, features: Sequence[Feature]) -> list[Cte]:
    """``<prefix>known``, the ``records``, to ``<prefix>aggregated``: ``features`` by entity and time."""
    parts = [Cte(f"{prefix}known", records)]
    groups = [f"{_group_size(key, f)} as {_group(f)}" for f in features if f.aggregation is Aggregation.CONCENTRATION]
    if groups:
        listed = "".join(f",\n    {group}" for group in groups)
        parts.append(Cte(f"{prefix}grouped", f"  select\n    *{listed}\n  from {prefix}known"))
    values = "".join(f",\n    {aggregate(contract, f)} as {f.name}" for f in features)
    last = parts[-1].name
    sql = f"  select\n    {key},\n    as_of{values}\n  from {last}\n  group by {key}, as_of"
    return [*parts, Cte(f"{prefix}aggregated", sql)]


def aggregate(contract: Contract, feature: Feature) -> str:
    """Call of the macro ``feature_<aggregation>(column, window, condition)`` of ``dbt_project/macros/features.sql``."""
    if feature.aggregation is Aggregation.CONCENTRATION:
        measured = [quoted(_group(feature)), quoted(feature.weight or "1")]
    else:
        measured = [quoted(_expression(feature))]
    more = [quoted(_exact(contract, feature))] if feature.aggregation is Aggregation.TREND else []
    return f"{{{{ feature_{feature.aggregation}({', '.join([*measured, *chosen(feature), *more])}) }}}}"


def _exact(contract: Contract, feature: Feature) -> str | None:
    """The widest decimal type with the places of the feature's column; none where it would not hold every value."""
    kind = contract.column(str(feature.column)).sql_type
    if decimal := DECIMAL.fullmatch(kind):
        return f"decimal(38, {decimal[2]})"
    return "decimal(38, 0)" if kind in WHOLE and kind != "HUGEINT" else None


def chosen(feature: Feature) -> tuple[str, str]:
    """Which records count: the window and the condition, as arguments of a macro."""
    window = None
    if feature.window_months or feature.window_days:
        months = feature.window_months
        window = f"{months} months" if months else f"{feature.window_days} days"
    where = " and ".join(condition(name, value) for name, value in feature.where.items())
    return quoted(window), quoted(where or None)


def condition(expression: str, value: Any) -> str:
    """What a contract's ``where`` says of ``expression``, as SQL inside an argument of a macro."""
    if isinstance(value, tuple):
        return f"{expression} in ({', '.join(literal(item) for item in value)})"
    if isinstance(value, Comparison):
        return " and ".join(
            f"{expression} {COMPARISONS[operator]} {literal(item)}" for operator, item in value.given().items()
        )
    return f"{expression} = {literal(value)}"


def no_events(contract: Contract) -> bool:
    """Whether no record of an entity means that nothing happened."""
    return contract.submodel is not None and contract.submodel.absence == "no_events"


def values(
    features: Sequence[Feature], tables: dict[str, str], *, zero: bool, present: str | None = None
) -> dict[str, str]:
    """SQL of each feature by name, from the aggregated tables by the name of the feature (``of`` combined).

    Args:
        features: of one source.
        tables: alias of the table that has the directly aggregated feature.
        zero: whether no record means that nothing happened. Of edges that is so wherever the source knows the party:
        present: alias of the table that then has a row of it.
    """
    direct: dict[str, str] = {}
    for feature in features:
        if feature.of is None:
            column = f"{tables[feature.name]}.{feature.name}"
            if feature.aggregation in ZERO_WITHOUT_EVENTS and zero:
                column = f"coalesce({column}, 0)"
            elif feature.aggregation in ZERO_WITHOUT_EVENTS and feature.over_edges:
                column = f"case when {present}.as_of is not null then coalesce({column}, 0) end"
            direct[feature.name] = column
    combined = {f.name: _combined(f.aggregation, [direct[name] for name in f.of]) for f in features if f.of}
    return {**direct, **combined}


def feature_type(feature: Feature) -> str:
    """SQL type of a feature."""
    return "{{ text_type() }}" if feature.kind == "category" else "{{ float_type() }}"


def _combined(aggregation: Aggregation, parts: Sequence[str]) -> str:
    left, right = (f"cast({part} as {{{{ float_type() }}}})" for part in parts)
    return f"{left} / nullif({right}, 0)" if aggregation is Aggregation.RATIO else f"{left} - {right}"


def _group_size(key: str, feature: Feature) -> str:
    """Beside each record: the size of its group, by which ``concentration`` finds the largest."""
    measured = [quoted(key), quoted(_expression(feature)), quoted(feature.weight or "1")]
    return f"{{{{ group_size({', '.join([*measured, *chosen(feature)])}) }}}}"


def _group(feature: Feature) -> str:
    return f"{feature.name}_group_size"


def _expression(feature: Feature) -> str | None:
    return f"substr({feature.column}, 1, {feature.prefix})" if feature.prefix else feature.column
