from __future__ import annotations

import pytest

from credit301.derive.expectations import ROWS, suite
from credit301.errors import ContractError
from credit301.sources.predicates import violation
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace


def test_every_check_of_every_contract_has_one_expectation(wuhan: Workspace) -> None:
    for contract in wuhan.sources.values():
        derived = [item["check"] for item in suite(contract) if item["check"] != "freshness"]
        assert derived == [check.id for check in contract.checks]


def test_a_source_that_must_be_fresh_warns_when_it_is_not(wuhan: Workspace) -> None:
    freshness = suite(wuhan.source("tax_declaration"))[-1]
    assert (freshness["check"], freshness["severity"], freshness["kwargs"]["column"]) == (
        "freshness",
        "warn",
        "available_at",
    )


def test_the_key_may_occur_again_once_it_is_known_anew(tiny: TinyWorkspace) -> None:
    unique = next(item for item in suite(tiny.load().source("sales")) if item["check"] == "unique_key")
    assert unique["kwargs"]["column_list"] == ["uscc", "month", "available_at"]


def test_braces_of_a_pattern_survive_the_query_template(tiny: TinyWorkspace) -> None:
    contract = tiny.load().source("sales")
    pattern = next(item for item in suite(contract) if item["check"] == "month_pattern")
    assert pattern["type"] == ROWS
    assert "^[0-9]{4}-[0-9]{2}$" in pattern["kwargs"]["unexpected_rows_query"].format(batch="batch")


def test_a_check_of_whole_batches_selects_no_rows(wuhan: Workspace) -> None:
    contract = wuhan.source("tax_declaration")
    check = next(check for check in contract.checks if check.id == "row_count")
    with pytest.raises(ContractError, match="does not judge rows"):
        violation(contract, check)
