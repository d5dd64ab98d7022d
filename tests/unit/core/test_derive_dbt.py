"""The dbt files of a source follow from its contract."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from credit301.derive import HEADER
from credit301.derive.dbt import feature_sql, project_files, spine_sql, staging_sql
from credit301.derive.dbt.changes import changes_macro
from credit301.derive.dbt.features import carries_on
from credit301.errors import ContractError

if TYPE_CHECKING:
    from credit301.workspace import Workspace
    from tests.conftest import TinyWorkspace


def models(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Derived model properties by name."""
    document = YAML(typ="safe").load(project_files(workspace)["models.yml"])
    return {model["name"]: model for model in document["models"]}


def test_every_derived_file_says_that_it_is_derived(wuhan: Workspace) -> None:
    for name, text in project_files(wuhan).items():
        assert HEADER in text, name


def test_staging_carries_every_column_of_the_contract(wuhan: Workspace) -> None:
    for contract in wuhan.sources.values():
        sql = staging_sql(contract)
        for column in contract.columns:
            assert column.name in sql, f"{contract.name}.{column.name}"


def test_a_feature_mart_has_an_enforced_contract_with_exactly_the_features(wuhan: Workspace) -> None:
    derived = models(wuhan)
    for contract in wuhan.featured():
        model = derived[f"feature_{contract.name}"]
        assert model["config"]["contract"] == {"enforced": True}
        names = [column["name"] for column in model["columns"]]
        assert names == [
            "uscc",
            "event_timestamp",
            "created_timestamp",
            *(feature.name for feature in contract.features),
        ]


def test_a_removed_feature_leaves_the_mart(tiny: TinyWorkspace) -> None:
    tiny.contract += "      - {name: month_count, label: {zh: 月数, en: months}, aggregation: count}\n"
    before = tiny.load()
    assert "month_count" in feature_sql(before, before.source("sales"))
    tiny.contract = tiny.contract[: tiny.contract.index("      - {name: month_count")]
    after = tiny.load()
    assert "month_count" not in "".join(project_files(after).values())


def test_only_versions_known_at_the_time_are_joined(tiny: TinyWorkspace) -> None:
    workspace = tiny.load()
    sql = feature_sql(workspace, workspace.source("sales"))
    assert "r.known_from <= s.as_of" in sql
    assert "(r.known_until is null or r.known_until > s.as_of)" in sql


def test_a_condition_with_quotes_stays_one_literal(tiny: TinyWorkspace) -> None:
    tiny.replace("window_months: 12", 'window_months: 12, where: {kind: "o\'clock \\"x\\""}')
    workspace = tiny.load()
    assert """kind = 'o''clock \\"x\\"'""" in feature_sql(workspace, workspace.source("sales"))


def test_a_monthly_grid_is_only_there_on_request(tiny: TinyWorkspace) -> None:
    assert "month_starts" not in spine_sql(tiny.load())
    tiny.definition += "feature_grid: monthly\n"
    assert "month_starts" in spine_sql(tiny.load())


def test_an_unknown_comparison_is_an_error(tiny: TinyWorkspace) -> None:
    tiny.replace("window_months: 12", "window_months: 12, where: {amount: {above: 3}}")
    with pytest.raises(ContractError, match=r"where\.amount"):
        tiny.load()


def described(node: Any, at: str = "") -> list[tuple[str, str]]:
    """Place and text of every description, and of every label of an exposure, below ``node``."""
    if isinstance(node, list):
        return [found for item in node for found in described(item, at)]
    if not isinstance(node, dict):
        return []
    here = f"{at}/{node.get('name', '')}"
    texts = [(f"{here}.{key}", node[key]) for key in ("description", "label") if isinstance(node.get(key), str)]
    return [*texts, *(found for value in node.values() for found in described(value, here))]


def test_every_description_is_in_chinese_and_english(wuhan: Workspace) -> None:
    own = [path.read_text(encoding="utf-8") for path in sorted((wuhan.directory / "models").rglob("*.yml"))]
    derived = [text for name, text in project_files(wuhan).items() if name.endswith(".yml")]
    texts = [found for text in (*own, *derived) for found in described(YAML(typ="safe").load(text))]
    assert len(texts) > 300
    one_language = {
        place: text
        for place, text in texts
        if not re.search("[\u4e00-\u9fff]", text) or not re.search("[A-Za-z]{2}", text)
    }
    assert one_language == {}


def test_every_derived_model_and_exposure_is_described(wuhan: Workspace) -> None:
    document = YAML(typ="safe").load(project_files(wuhan)["models.yml"])
    assert [item["name"] for item in (*document["models"], *document["exposures"]) if not item.get("description")] == []


def test_only_a_mart_that_the_clock_moves_evenly_is_carried_on(tiny: TinyWorkspace) -> None:
    tiny.contract += "      - {name: recency, label: {zh: 距, en: recency}, aggregation: recency_days}\n"
    (sales,) = tiny.load().featured()
    assert carries_on(sales)
    tiny.contract += (
        "      - {name: months, label: {zh: 月, en: months}, aggregation: active_months}\n"
        "      - {name: gap, label: {zh: 隔, en: gap}, aggregation: ratio, of: [recency, months]}\n"
    )
    (sales,) = tiny.load().featured()
    assert not carries_on(sales)


def test_who_changed_is_asked_once_for_each_window_of_a_contract(wuhan: Workspace) -> None:
    macro = changes_macro(wuhan)
    for contract in wuhan.featured():
        of_source = macro.split(f"carries_on('stg_{contract.name}')")[1].split("{% endif %}")[0]
        for months in {feature.window_months for feature in contract.features if feature.window_months}:
            assert of_source.count(f"event_time > {{{{ window_start(before(), '{months} months') }}}}") == 1
        assert of_source.count("known_from > {{ before() }}") == of_source.count("known_until > {{ before() }}") == 1
