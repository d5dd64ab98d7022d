"""The rows that violate a check, as SQL over a view made by :mod:`credit301.sources.typed`."""

from __future__ import annotations

from credit301.contracts.model import Check, CheckKind, Contract
from credit301.errors import ContractError
from credit301.sources import uscc
from credit301.sources.typed import literal, quote, sent_name

TABLE_KINDS = frozenset({CheckKind.ROW_COUNT})


def key_columns(contract: Contract, check: Check) -> tuple[str, ...]:
    """Columns whose values together occur once: the key, at one moment of knowing it.

    A source may correct a record later, so that the key alone may occur twice in a batch; two states of it that became
    known at the same moment contradict each other.
    """
    columns = tuple(str(name) for name in check.arguments.get("columns", contract.primary_key))
    known = contract.time.available_at
    return (*columns, known) if known and known not in columns else columns


def violation(contract: Contract, check: Check, view: str = "batch") -> str:  # noqa: PLR0911 - one for each kind
    """Boolean SQL expression that is TRUE exactly on the rows of ``view`` that violate the row check ``check``.

    A missing value violates ``not_null`` only; a text that is no value of its type violates ``castable`` only.

    Raises:
        ContractError: the check judges whole batches, or lacks what its kind needs.
    """
    if check.kind is CheckKind.ROW_RULE:
        return f"NOT coalesce(({check.arguments['expression']}), TRUE)"
    if check.kind is CheckKind.UNIQUE_KEY:
        names = [quote(name) for name in key_columns(contract, check)]
        known = " AND ".join(f"{name} IS NOT NULL" for name in names)
        key = ", ".join(names)
        repeated = f"SELECT {key} FROM {view} WHERE {known} GROUP BY {key} HAVING count(*) > 1"
        return f"(({key}) IN ({repeated}))"
    if check.kind in TABLE_KINDS or check.column is None:
        raise ContractError(f"{contract.name}: check {check.id!r} does not judge rows.")
    column = contract.column(check.column)
    value = quote(column.name)
    if check.kind is CheckKind.NOT_NULL:
        return f"{quote(sent_name(column))} IS NULL"
    if check.kind is CheckKind.CASTABLE:
        return f"{quote(sent_name(column))} IS NOT NULL AND {value} IS NULL"
    if check.kind is CheckKind.USCC:
        return f"{value} IS NOT NULL AND NOT {uscc.MACRO}({value})"
    if check.kind is CheckKind.PATTERN:
        return f"{value} IS NOT NULL AND NOT regexp_matches({value}, {literal(check.arguments['pattern'])})"
    if check.kind is CheckKind.IN_SET:
        values = ", ".join(literal(item) for item in check.arguments["values"])
        return f"{value} IS NOT NULL AND {value} NOT IN ({values})"
    bounds = {"minimum": ">=", "maximum": "<="}
    limits = [
        f"{value} {sign} {literal(check.arguments[key])}" for key, sign in bounds.items() if key in check.arguments
    ]
    return f"{value} IS NOT NULL AND NOT ({' AND '.join(limits)})"
