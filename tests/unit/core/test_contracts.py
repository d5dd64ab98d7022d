"""A contract is read strictly, and says what went wrong, where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from credit301.contracts import CheckKind, Severity
from credit301.contracts.model import Aggregation, Feature, Text
from credit301.errors import ContractError

if TYPE_CHECKING:
    from credit301.workspace import Workspace
    from tests.conftest import TinyWorkspace


def line_of(text: str, needle: str) -> int:
    """Line of the first occurrence of ``needle``, from 1."""
    return text[: text.index(needle)].count("\n") + 1


def test_a_key_that_the_standard_does_not_know_is_named_with_its_line(tiny: TinyWorkspace) -> None:
    tiny.replace("team: {name: tax_office}", "team: {name: tax_office}\nowner_of_it_all: me")
    with pytest.raises(ContractError, match="owner_of_it_all"):
        tiny.load()


def test_an_unknown_key_of_a_feature_is_named_with_its_line(tiny: TinyWorkspace) -> None:
    tiny.replace("risk: decreasing", "risk: decreasing, windw: 3")
    line = line_of(tiny.contract, "windw")
    with pytest.raises(ContractError, match=rf"contract\.yaml:{line}: .*windw: unknown key"):
        tiny.load()


def test_an_unknown_custom_property_is_refused(tiny: TinyWorkspace) -> None:
    tiny.replace("- property: time", "- property: tiem")
    with pytest.raises(ContractError, match=r"unknown property; known: .*time"):
        tiny.load()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("column: amount,", "column: amuont,", "'amuont' is not a column of sales"),
        ("eventTime: event_time", "eventTime: happened_at", "'happened_at' is not a column"),
        (
            "aggregation: sum, column: amount, window_months: 12",
            "aggregation: sum, window_months: 12",
            "sum needs a column",
        ),
        (
            "aggregation: sum, column: amount, window_months: 12",
            "aggregation: ratio, of: [other, other]",
            "'other' is no directly",
        ),
        (
            "aggregation: sum, column: amount, window_months: 12",
            "aggregation: concentration, column: kind, weight: amuont",
            "'amuont' is not a column of sales",
        ),
        (
            "aggregation: sum, column: amount, window_months: 12",
            "aggregation: sum, column: amount, weight: amount",
            "only concentration has a weight",
        ),
        ("name: sales\nversion", "name: purchases\nversion", "the folder is called 'sales'"),
        ("domain: tax", "domain: weather", "domain 'weather' is no dimension"),
        ("name: kind, logicalType: string", "name: kind, logicalType: array", "must be one of string, integer"),
        ("aggregation: sum", "aggregation: median", "Input should be 'count'"),
    ],
)
def test_a_reference_to_nothing_is_an_error(tiny: TinyWorkspace, old: str, new: str, message: str) -> None:
    tiny.replace(old, new)
    with pytest.raises(ContractError) as caught:
        tiny.load()
    assert message in str(caught.value)


def test_a_feature_declared_twice_is_an_error(tiny: TinyWorkspace) -> None:
    tiny.contract += "      - {name: amount_sum, label: {zh: 金额, en: amount}, aggregation: count}\n"
    with pytest.raises(ContractError, match="declared twice"):
        tiny.load()


def test_broken_yaml_is_named_with_its_line(tiny: TinyWorkspace) -> None:
    tiny.replace("domain: tax", "domain: tax: city")
    with pytest.raises(ContractError, match=r"contract\.yaml:\d+: not valid YAML"):
        tiny.load()


def test_checks_follow_from_what_the_contract_says_of_its_columns(tiny: TinyWorkspace) -> None:
    checks = {check.id: check for check in tiny.load().source("sales").checks}
    assert {name: check.kind for name, check in checks.items()} == {
        "uscc_not_null": CheckKind.NOT_NULL,
        "uscc_uscc": CheckKind.USCC,
        "month_not_null": CheckKind.NOT_NULL,
        "month_pattern": CheckKind.PATTERN,
        "amount_not_null": CheckKind.NOT_NULL,
        "amount_castable": CheckKind.CASTABLE,
        "amount_between": CheckKind.BETWEEN,
        "kind_in_set": CheckKind.IN_SET,
        "event_time_not_null": CheckKind.NOT_NULL,
        "event_time_castable": CheckKind.CASTABLE,
        "available_at_not_null": CheckKind.NOT_NULL,
        "available_at_castable": CheckKind.CASTABLE,
        "unique_key": CheckKind.UNIQUE_KEY,
    }
    assert checks["kind_in_set"].arguments == {"values": ["goods", "services"]}


def test_a_version_is_unique_by_key_and_time_of_publication(tiny: TinyWorkspace) -> None:
    checks = {check.id: check for check in tiny.load().source("sales").checks}
    assert checks["unique_key"].arguments == {"columns": ["uscc", "month", "available_at"]}


def test_a_warning_in_percent_becomes_a_tolerance(wuhan: Workspace) -> None:
    checks = {check.id: check for check in wuhan.source("business_registration").checks}
    assert checks["division_in_wuhan"].severity is Severity.WARN
    assert checks["division_in_wuhan"].tolerance == 0.2


def test_every_source_of_the_reference_city_says_who_owns_it_and_why_it_may_be_used(wuhan: Workspace) -> None:
    for contract in wuhan.sources.values():
        assert contract.owner, contract.name
        assert contract.legal_basis, contract.name
        assert contract.purpose, contract.name
        assert contract.grain, contract.name


def test_every_text_shown_to_a_person_is_in_both_languages(wuhan: Workspace) -> None:
    for contract in wuhan.sources.values():
        texts = [contract.title, *(feature.label for feature in contract.features)]
        texts += [text for feature in contract.features for text in (feature.adverse, feature.favourable) if text]
        for text in texts:
            assert any("\u4e00" <= character <= "\u9fff" for character in text.zh), text
            assert text.en.isascii(), text


def test_a_feature_with_a_direction_of_risk_has_a_reason_for_both_sides(wuhan: Workspace) -> None:
    silent = [
        f"{contract.name}:{feature.name}"
        for contract in wuhan.sources.values()
        for feature in contract.features
        if feature.risk != "free" and not (feature.adverse and feature.favourable)
    ]
    assert silent == []


def test_how_many_distinct_values_there_are_tells_none_of_them() -> None:
    label = Text(zh="手机", en="phones")
    counted = Feature(name="phone_count", aggregation=Aggregation.DISTINCT, label=label, column="phone")
    newest = Feature(name="phone_last", aggregation=Aggregation.LAST, label=label, column="phone")
    chosen = Feature(name="own", aggregation=Aggregation.DISTINCT, label=label, column="phone", where={"phone": "138"})
    assert (counted.tells, newest.tells, chosen.tells) == (set(), {"phone"}, {"phone"})
    assert counted.reads == {"phone"}


def test_a_contract_is_read_once_while_its_text_stays_the_same(tiny: TinyWorkspace) -> None:
    first, again = tiny.load().source("sales"), tiny.load().source("sales")
    assert again is first
    tiny.replace("version: 1.0.0", "version: 1.0.1")
    assert tiny.load().source("sales").version == "1.0.1"
