"""A contract's expectations as a suite of Great Expectations. Importing this module imports GX."""

from __future__ import annotations

import datetime as dt
from typing import Any

import great_expectations as gx
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from credit301.contracts.model import Contract, LogicalType, Severity
from credit301.derive.expectations import suite

SEVERITIES = {Severity.FAIL: "critical", Severity.WARN: "warning"}
# Expectations that judge a batch as a whole know no share of rows.
_WITHOUT_TOLERANCE = {"expect_table_row_count_to_be_between", "expect_column_max_to_be_between"}


def tolerance_of(expectation: dict[str, Any], default: float) -> float:
    """Largest share of rows that may violate an expectation; a warning tolerates none unless it says so.

    Nothing is refused for a warning, so its tolerance only decides whether people are told.
    """
    if expectation["tolerance"] is not None:
        return float(expectation["tolerance"])
    return default if expectation["severity"] == Severity.FAIL else 0.0


def build_suite(contract: Contract, default_tolerance: float, *, singly: bool = False) -> gx.ExpectationSuite:
    """The suite named after the source; each expectation's ``meta`` has the check's id and tolerance.

    Where the rows of a batch came ``singly``, each stands for itself: no share of bad ones refuses the others.
    """
    expectations = []
    for item in suite(contract):
        alone = singly and item["severity"] == Severity.FAIL and item["type"] not in _WITHOUT_TOLERANCE
        tolerance = 1.0 if alone else tolerance_of(item, default_tolerance)
        arguments = _typed(contract, item["kwargs"])
        if item["type"] not in _WITHOUT_TOLERANCE:
            arguments["mostly"] = 1 - tolerance
        configuration = ExpectationConfiguration(
            type=item["type"],
            kwargs=arguments,
            severity=SEVERITIES[Severity(item["severity"])],
            description=item["description"] or None,
            meta={"check": item["check"], "tolerance": tolerance},
        )
        # Given as a configuration, each expectation on rows would replace the one before it.
        expectations.append(configuration.to_domain_obj())
    # All at once: a suite that is kept somewhere is written anew for each expectation that is added to it.
    return gx.ExpectationSuite(name=contract.name, expectations=expectations)


def _typed(contract: Contract, arguments: dict[str, Any]) -> dict[str, Any]:
    names = {column.name: column.logical_type for column in contract.columns}
    kind = names.get(str(arguments.get("column")))
    if kind not in (LogicalType.DATE, LogicalType.TIMESTAMP):
        return dict(arguments)
    bounds = {
        key: dt.datetime.fromisoformat(value)
        for key, value in arguments.items()
        if key.endswith("_value") and isinstance(value, str)
    }
    return {**arguments, **bounds}
