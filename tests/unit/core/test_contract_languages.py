"""What a contract of this repository tells a person, it tells in Chinese and in English."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from credit301.sources.explanations import BETWEEN_LANGUAGES, explanation
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from credit301.workspace import Workspace

CONTRACTS = sorted((REPOSITORY / "workspaces").glob("*/sources/*/contract.yaml"))
CHINESE = re.compile("[\u4e00-\u9fff]")
# A word, so that neither a unit nor a grade makes a Chinese text English.
ENGLISH = re.compile("[A-Za-z]{3,}")
# A sentence has at least as many of them; a Chinese one may name VAT or CSV.
WORDS = 3


def source(path: Path) -> str:
    return f"{path.parts[-4]}/{path.parts[-2]}"


@pytest.fixture(params=CONTRACTS, ids=source)
def contract(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One contract as it is written."""
    document: dict[str, Any] = yaml.safe_load(request.param.read_text(encoding="utf-8"))
    return document


def tables_and_columns(contract: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for table in contract["schema"]:
        yield table
        yield from table["properties"]


def pairs(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Each ``{zh, en}`` below ``value``, and where it is."""
    if isinstance(value, dict):
        if {"zh", "en"} & set(value):
            yield place, value
        for key, inner in value.items():
            yield from pairs(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from pairs(inner, place)


def test_there_are_contracts() -> None:
    assert {path.parts[-4] for path in CONTRACTS} >= {"wuhan", "invoices", "city_registers"}


def test_purpose_limits_grain_and_legal_basis_are_in_both_languages_chinese_first(contract: dict[str, Any]) -> None:
    texts = dict(contract["description"])
    texts |= {f"grain of {table['name']}": table["dataGranularityDescription"] for table in contract["schema"]}
    texts |= {
        custom["property"]: custom["value"]
        for custom in contract["customProperties"]
        if custom["property"] == "legalBasis"
    }
    assert {"purpose", "limitations", "legalBasis"} <= set(texts)
    for what, text in texts.items():
        chinese, english = CHINESE.search(text), ENGLISH.search(text)
        assert chinese, (what, text)
        assert english, (what, text)
        assert chinese.start() < english.start(), (what, text)
        assert len(ENGLISH.findall(text)) >= WORDS, (what, text)


def test_a_rules_description_is_chinese_then_english(contract: dict[str, Any]) -> None:
    for described in tables_and_columns(contract):
        for rule in described.get("quality", []):
            if "description" in rule:
                chinese, between, english = rule["description"].partition(BETWEEN_LANGUAGES)
                assert between, rule
                assert CHINESE.search(chinese), rule
                assert ENGLISH.search(english), rule
                assert not CHINESE.search(english), rule


def test_each_table_and_column_has_a_chinese_name_and_an_english_description(contract: dict[str, Any]) -> None:
    for described in tables_and_columns(contract):
        assert CHINESE.search(described.get("businessName", "")), described["name"]
        assert ENGLISH.search(described.get("description", "")), described["name"]
        assert not CHINESE.search(described["description"]), described["name"]


def test_each_pair_of_texts_has_chinese_in_zh_and_english_in_en(contract: dict[str, Any]) -> None:
    for place, text in pairs(contract):
        assert set(text) == {"zh", "en"}, (place, text)
        assert CHINESE.search(text["zh"]), (place, text)
        assert ENGLISH.search(text["en"]), (place, text)
        assert not CHINESE.search(text["en"]), (place, text)


def test_a_refused_row_is_explained_in_each_language_without_the_other(wuhan: Workspace) -> None:
    said = explanation(wuhan.source("tax_payment"), "arrears_add_up")
    assert said.zh == "应缴、实缴与欠税勾稽不符"
    assert said.en == "due, paid and arrears do not add up"
