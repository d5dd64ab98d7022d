"""The expectation suite of a contract, as plain data: Great Expectations is told in ``expectations``, not here."""

from __future__ import annotations

from typing import Any

from credit301.contracts.model import Check, CheckKind, Contract, Severity
from credit301.sources.predicates import key_columns, violation
from credit301.sources.typed import sent_name

ROWS = "expect_rows_to_satisfy"
FRESHNESS = "freshness"
OLDEST_PARAMETER = "oldest_available_at"


def suite(contract: Contract) -> list[dict[str, Any]]:
    """Expectations of ``contract``, in the order of its checks.

    Each is ``{"check", "type", "kwargs", "severity", "tolerance", "description"}``: the check's id, the expectation's
    type in Great Expectations and its arguments, ``fail`` or ``warn``, and the share of rows that may violate it
    (``None``: as the workspace says). What Great Expectations has no expectation for is a query over ``{batch}`` that
    selects the violating rows, of type ``expect_rows_to_satisfy``.
    """
    expectations = [_expectation(contract, check) for check in contract.checks]
    age, known = contract.freshness.maximum_age_days, contract.time.available_at
    if age is not None and known is not None:
        expectations.append(
            {
                "check": FRESHNESS,
                "type": "expect_column_max_to_be_between",
                "kwargs": {"column": known, "min_value": {"$PARAMETER": OLDEST_PARAMETER}},
                # Old data is better than none: it lands, and everybody is told.
                "severity": Severity.WARN.value,
                "tolerance": 0.0,
                "description": f"最新一条记录在拉取前 {age} 天内可知 · "
                f"the newest record became known at most {age} days before the pull",
            }
        )
    return expectations


def _expectation(contract: Contract, check: Check) -> dict[str, Any]:
    kind, arguments = check.kind, check.arguments
    column = check.column
    native: dict[CheckKind, tuple[str, dict[str, Any]]] = {
        CheckKind.ROW_COUNT: ("expect_table_row_count_to_be_between", {"min_value": arguments.get("minimum")}),
        CheckKind.IN_SET: (
            "expect_column_values_to_be_in_set",
            {"column": column, "value_set": arguments.get("values")},
        ),
        CheckKind.BETWEEN: (
            "expect_column_values_to_be_between",
            {"column": column, "min_value": arguments.get("minimum"), "max_value": arguments.get("maximum")},
        ),
    }
    if kind is CheckKind.NOT_NULL and column is not None:
        derived = ("expect_column_values_to_not_be_null", {"column": sent_name(contract.column(column))})
    elif kind is CheckKind.UNIQUE_KEY:
        derived = _unique(key_columns(contract, check))
    elif kind in native:
        derived = native[kind]
    else:
        # The expectation fills in {batch}; braces of the predicate itself are doubled so that they stay.
        predicate = violation(contract, check)
        query = predicate.replace("{", "{{").replace("}", "}}")
        derived = (ROWS, {"predicate": predicate, "unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE {query}"})
    return {
        "check": check.id,
        "type": derived[0],
        "kwargs": derived[1],
        "severity": check.severity.value,
        "tolerance": check.tolerance,
        "description": check.description,
    }


def _unique(columns: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    if len(columns) == 1:
        return "expect_column_values_to_be_unique", {"column": columns[0]}
    return "expect_compound_columns_to_be_unique", {
        "column_list": list(columns),
        "ignore_row_if": "any_value_is_missing",
    }
