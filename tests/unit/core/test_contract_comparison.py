"""Two versions of a contract: what changed, whether it breaks anything, and the version that it asks for."""

from __future__ import annotations

import json
import shutil
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301 import verbs
from credit301.contracts.comparison import Change, Level, compare
from credit301.contracts.model import Contract, SubModel, Text
from credit301.contracts.release import FOLDER, against_release, last_release, next_version, parsed, releases
from credit301.contracts.types import widened
from credit301.errors import ContractError
from credit301.settings import Settings
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY, TinyWorkspace

if TYPE_CHECKING:
    from pathlib import Path

FEATURE = "- {name: amount_sum, label: {zh: 金额, en: amount}, aggregation: sum, column: amount, window_months: 12, risk: decreasing}"
AMOUNT = '{name: amount, logicalType: number, physicalType: "DECIMAL(18,2)", required: true, logicalTypeOptions: {minimum: 0}, classification: internal}'
KIND = "{name: kind, logicalType: string, enum: [{value: goods}, {value: services}], classification: internal}"
REASONS = "adverse: {zh: 金额较低, en: Sales are low}, favourable: {zh: 金额较高, en: Sales are high}}"
QUALITY = "quality: [{name: modest, type: custom, engine: sql, implementation: amount < 90, severity: warning}]"

# Old text, new text, the words of the change: each is one way to break those downstream.
BREAKING = {
    "column removed": (f"      - {KIND}\n", "", "column removed"),
    "column renamed": (KIND, KIND.replace("name: kind", "name: trade, physicalName: kind"), "column renamed to trade"),
    "type changed": (KIND, "{name: kind, logicalType: integer, classification: internal}", "logical_type changed"),
    "type narrowed": ("DECIMAL(18,2)", "DECIMAL(12,2)", "type narrowed"),
    "now required": (KIND, KIND.replace("logicalType: string", "logicalType: string, required: true"), "now required"),
    "required column added": (
        f"- {KIND}",
        f"- {{name: added, logicalType: string, required: true, classification: internal}}\n      - {KIND}",
        "required column added",
    ),
    "more sensitive": (KIND, KIND.replace("internal", "personal"), "sensitivity class internal → personal"),
    "fewer values": ("{value: goods}, {value: services}", "{value: goods}", "check is stricter"),
    "higher minimum": ("minimum: 0", "minimum: 1", "check is stricter"),
    "check added": (
        KIND,
        KIND.replace("enum", "logicalTypeOptions: {pattern: '^[a-z]+$'}, enum"),
        "severity fail added",
    ),
    "severity raised": ("severity: warning", "severity: error", "severity warn → fail"),
    "key changed": (
        "name: kind, logicalType: string",
        "name: kind, logicalType: string, primaryKey: true",
        "key changed",
    ),
    "grain changed": ("one row for each month", "one row for each quarter", "grain changed"),
    "time changed": ("availableAt: available_at", "lagDays: 3", "time changed"),
    "dimension changed": ("domain: tax", "domain: other", "dimension changed"),
    "feature removed": ("      - {name: amount_mean", "      # - {name: amount_mean", "feature removed"),
    "feature renamed": ("- {name: amount_mean", "- {name: amount_other", "feature renamed to amount_other"),
    "feature defined otherwise": ("window_months: 6", "window_months: 9", "window_months changed from 6 to 9"),
    "feature aggregated otherwise": ("aggregation: mean", "aggregation: max", "aggregation changed from mean to max"),
    "reason removed": ("adverse: {zh: 金额较低, en: Sales are low}, ", "", "adverse reason text removed"),
    "sub-model removed": (
        "value: {label: {zh: 销售, en: sales}, absence: no_data}",
        "value: {enabled: false, label: {zh: 销售, en: sales}, absence: no_data}",
        "enabled of the sub-model changed",
    ),
    "absence means something else": ("absence: no_data", "absence: no_events", "absence of the sub-model changed"),
    "kept for less than a window": (
        "retention, value: 5, unit: y",
        "retention, value: 100, unit: d",
        "shorter than its window",
    ),
    "retired": ("status: active", "status: retired", "status changed"),
}
COMPATIBLE = {
    "optional column": (
        f"- {KIND}",
        f"- {{name: added, logicalType: string, classification: internal}}\n      - {KIND}",
        "optional column added",
    ),
    "type widened": ("DECIMAL(18,2)", "DECIMAL(20,2)", "type widened"),
    "no longer required": (
        "required: true, logicalTypeOptions: {minimum: 0}",
        "logicalTypeOptions: {minimum: 0}",
        "no longer required",
    ),
    "more values": ("{value: services}", "{value: services}, {value: both}", "check is looser"),
    "lower minimum": ("minimum: 0", "minimum: -1", "check is looser"),
    "stricter warning": ("amount < 90", "amount < 80", "check is stricter"),
    "feature added": (
        "      - {name: amount_mean",
        "      - {name: amount_max, label: {zh: 最大, en: largest}, aggregation: max, column: amount}\n      - {name: amount_mean",
        "feature added",
    ),
    "reason in other words": ("Sales are low", "Sales are rather low", "adverse reason text changed"),
    "kept longer": ("retention, value: 5, unit: y", "retention, value: 6, unit: y", "retention"),
    "another owner": ("tax_office", "tax_bureau", "owner changed"),
    "pulled otherwise": ("path: government/v1/sales/records", "path: government/v2/sales/records", "pull changed"),
}
DOCUMENTED = {
    "label": ("businessName: 代码", "businessName: 统一代码", "label changed"),
    "name of a feature": ("label: {zh: 平均, en: mean}", "label: {zh: 均值, en: mean}", "label changed"),
    "title": ("businessName: 销售", "businessName: 销售额", "title changed"),
}


@pytest.fixture
def base(tiny: TinyWorkspace) -> TinyWorkspace:
    """A contract that says enough to be broken in every way."""
    tiny.definition = tiny.definition.replace("dimensions: {", "dimensions: {other: {zh: 其他, en: other}, ")
    tiny.replace(
        "physicalType: table\n",
        f"physicalType: table\n    dataGranularityDescription: one row for each month\n    {QUALITY}\n",
    )
    more = "      - {name: amount_mean, label: {zh: 平均, en: mean}, aggregation: mean, column: amount, window_months: 6, risk: decreasing, "
    return tiny.replace(FEATURE, f"{FEATURE}\n{more}{REASONS}")


def changed(base: TinyWorkspace, old: str, new: str) -> tuple[Workspace, tuple[Change, ...]]:
    """The workspace after the change, and what differs from the release before it."""
    before = base.load()
    verbs.call("contracts.release", before)
    after = base.replace(old, new).load()
    return after, compare(before.source("sales"), after.source("sales"))


def said(changes: tuple[Change, ...], level: Level) -> str:
    return "; ".join(change.what.en for change in changes if change.level is level)


@pytest.mark.parametrize("case", BREAKING)
def test_what_breaks_those_downstream_asks_for_a_major_version(base: TinyWorkspace, case: str) -> None:
    old, new, words = BREAKING[case]
    workspace, changes = changed(base, old, new)
    assert words in said(changes, Level.BREAKING)
    with pytest.raises(ContractError, match=r"ask for 2\.0\.0 or later \(a major version\), it says 1\.0\.0"):
        verbs.call("contracts.check", workspace)
    base.replace("version: 1.0.0", "version: 1.9.0")
    with pytest.raises(ContractError, match=r"it says 1\.9\.0"):
        verbs.call("contracts.release", base.load())
    base.replace("version: 1.9.0", "version: 2.0.0")
    assert verbs.call("contracts.release", base.load())["released"] == ["sales 2.0.0"]


@pytest.mark.parametrize("case", COMPATIBLE)
def test_what_offers_more_or_asks_less_asks_for_a_minor_version(base: TinyWorkspace, case: str) -> None:
    old, new, words = COMPATIBLE[case]
    workspace, changes = changed(base, old, new)
    assert words in said(changes, Level.COMPATIBLE)
    assert said(changes, Level.BREAKING) == ""
    with pytest.raises(ContractError, match=r"ask for 1\.1\.0 or later \(a minor version\)"):
        verbs.call("contracts.check", workspace)
    base.replace("version: 1.0.0", "version: 1.1.0")
    assert verbs.call("contracts.check", base.load())["pending"] == ["sales"]


@pytest.mark.parametrize("case", DOCUMENTED)
def test_words_ask_for_a_patch_version(base: TinyWorkspace, case: str) -> None:
    old, new, words = DOCUMENTED[case]
    workspace, changes = changed(base, old, new)
    assert words in said(changes, Level.DOCUMENTATION)
    assert {change.level for change in changes} == {Level.DOCUMENTATION}
    with pytest.raises(ContractError, match=r"ask for 1\.0\.1 or later \(a patch version\)"):
        verbs.call("contracts.check", workspace)


def test_every_change_is_told_in_both_languages(base: TinyWorkspace) -> None:
    before, text = base.load().source("sales"), base.contract
    for old, new, _ in (*BREAKING.values(), *COMPATIBLE.values()):
        base.contract = text
        for change in compare(before, base.replace(old, new).load().source("sales")):
            assert any("\u4e00" <= character <= "\u9fff" for character in change.what.zh), change
            assert change.what.en


def other(value: Any) -> Any:
    """A value of the same kind that is another one; what has no such value is taken away."""
    if isinstance(value, Enum):
        return next(member for member in type(value) if member is not value)
    changes: dict[type, Any] = {
        Text: lambda: Text(zh=value.zh + "改", en=value.en + " changed"),
        bool: lambda: not value,
        int: lambda: value + 1,
        str: lambda: f"{value}x",
        tuple: lambda: value[:-1],
        SubModel: lambda: value.model_copy(update={"absence": "no_events"}),
    }
    return changes.get(type(value), lambda: None)()


@given(data=st.data())
def test_no_field_of_a_contract_changes_unnoticed(data: st.DataObject) -> None:
    """Also not one that is added to the model tomorrow: what no rule knows is breaking."""
    contract = WUHAN.source(data.draw(st.sampled_from(list(WUHAN.sources))))
    field = data.draw(st.sampled_from(sorted(set(Contract.model_fields) - {"version", "path"})))
    mutated = contract.model_copy(update={field: other(getattr(contract, field))})
    if getattr(contract, field) != getattr(mutated, field):
        assert compare(contract, mutated), field
    assert compare(contract, contract) == ()


@given(data=st.data())
def test_no_field_of_a_column_or_feature_changes_unnoticed(data: st.DataObject) -> None:
    contract = WUHAN.source(data.draw(st.sampled_from([c.name for c in WUHAN.featured()])))
    part = data.draw(st.sampled_from(["columns", "features"]))
    items = list(getattr(contract, part))
    index = data.draw(st.integers(0, len(items) - 1))
    field = data.draw(st.sampled_from(sorted(type(items[index]).model_fields)))
    value = other(getattr(items[index], field))
    if value == getattr(items[index], field):
        return
    items[index] = items[index].model_copy(update={field: value})
    assert compare(contract, contract.model_copy(update={part: tuple(items)})), field


@given(
    st.integers(1, 30).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))),
    st.integers(1, 30).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))),
)
def test_a_decimal_is_widened_where_it_holds_every_value_of_the_other(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    whole, fraction = "9" * (old[0] - old[1]), "9" * old[1]
    holds = len(whole) <= new[0] - new[1] and len(fraction) <= new[1]
    assert widened(f"DECIMAL({old[0]},{old[1]})", f"DECIMAL({new[0]},{new[1]})") is holds


@given(st.tuples(*[st.integers(0, 50)] * 3), st.sampled_from(Level))
def test_the_next_version_is_above_and_lowers_what_stands_behind(version: tuple[int, int, int], level: Level) -> None:
    after = parsed(next_version(".".join(map(str, version)), level))
    assert after > version
    assert all(part == 0 for part in after[4 - level :])


@pytest.mark.parametrize("version", ["1", "1.0", "v1.0.0", "1.0.0-rc1", "01.0.0"])
def test_a_version_that_is_no_semantic_one_is_refused(base: TinyWorkspace, version: str) -> None:
    base.replace("version: 1.0.0", f"version: '{version}'")
    with pytest.raises(ContractError, match="no semantic version"):
        verbs.call("contracts.check", base.load())


def test_a_release_never_changes(base: TinyWorkspace) -> None:
    workspace = base.load()
    assert verbs.call("contracts.release", workspace)["released"] == ["sales 1.0.0"]
    before = releases(workspace.source("sales").path)["1.0.0"].read_bytes()
    assert verbs.call("contracts.release", workspace)["released"] == []
    assert releases(workspace.source("sales").path)["1.0.0"].read_bytes() == before
    assert list(releases(workspace.source("sales").path)) == ["1.0.0"]


def test_a_version_below_the_released_one_is_refused(base: TinyWorkspace) -> None:
    verbs.call("contracts.release", base.load())
    base.replace("version: 1.0.0", "version: 0.9.0")
    with pytest.raises(ContractError, match=r"version 0\.9\.0 is below the released 1\.0\.0"):
        verbs.call("contracts.check", base.load())


def test_the_last_release_is_the_highest_version_not_the_last_name(base: TinyWorkspace) -> None:
    last = "1.0.0"
    for version in ("1.0.0", "1.9.0", "1.10.0"):
        base.replace(f"version: {last}", f"version: {version}")
        last = version
        verbs.call("contracts.release", base.load())
    released = last_release(base.load().source("sales").path)
    assert released is not None
    assert released.version == "1.10.0"


def test_a_broken_feature_is_named_with_all_that_stands_on_it(
    base: TinyWorkspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verbs.call("contracts.release", base.load())
    base.replace(f"      - {KIND}\n", "").replace("window_months: 6", "window_months: 9")
    with pytest.raises(ContractError, match="1 contracts: sales"):
        verbs.call("contracts.check", base.load(), json_file=tmp_path / "check.json")
    [found] = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert (found["contract"], found["released"], found["asks_for"]) == ("sales", "1.0.0", "2.0.0")
    feature = next(change for change in found["changes"] if change["name"] == "amount_mean")
    assert feature["breaks"] == {
        "dbt_models": [],
        "features": ["sales.amount_mean"],
        "feature_views": ["sales"],
        "submodels": ["sales"],
        "ensemble": True,
        "labels": [],
        "reasons": [{"zh": "金额较低", "en": "Sales are low"}, {"zh": "金额较高", "en": "Sales are high"}],
        "decides_rows_in": [],
    }
    printed = capsys.readouterr().out
    assert "Sales are low" in printed
    assert "金额较低" in printed


def test_a_broken_column_names_the_models_that_read_it(base: TinyWorkspace, tmp_path: Path) -> None:
    verbs.call("contracts.release", base.load())
    base.replace("DECIMAL(18,2)", "DECIMAL(9,2)")
    with pytest.raises(ContractError):
        verbs.call("contracts.check", base.load(), json_file=tmp_path / "check.json")
    [found] = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    [change] = found["changes"]
    assert change["breaks"]["dbt_models"] == ["stg_sales", "feature_sales"]
    assert change["breaks"]["features"] == ["sales.amount_mean", "sales.amount_sum"]


def test_a_missing_classification_is_named_with_its_line(tiny: TinyWorkspace) -> None:
    tiny.replace(", enum: [{value: goods}, {value: services}], classification: internal", "")
    line = tiny.contract[: tiny.contract.index("{name: kind")].count("\n") + 1
    with pytest.raises(ContractError, match=rf"contract\.yaml:{line}: .*'kind' has no classification"):
        tiny.load()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("description: {purpose: what it sells}\n", "a purpose"),
        ("team: {name: tax_office}\n", "an owner"),
        ("  - {property: legalBasis, value: consent of the enterprise}\n", "a legal basis"),
        ("slaProperties: [{property: retention, value: 5, unit: y}]\n", "a retention"),
    ],
)
def test_an_active_contract_says_who_why_by_what_right_and_how_long(tiny: TinyWorkspace, text: str, what: str) -> None:
    tiny.replace(text, "")
    with pytest.raises(ContractError, match=f"an active contract needs {what}"):
        tiny.load()
    tiny.replace("status: active", "status: draft").load()


@pytest.mark.parametrize(("value", "days"), [("value: 5, unit: y", 1825), ("value: 90, unit: d", 90)])
def test_retention_is_in_days(tiny: TinyWorkspace, value: str, days: int) -> None:
    assert tiny.replace("value: 5, unit: y", value).load().source("sales").retention == days


@pytest.mark.parametrize(
    "value", ["value: 5, unit: m", "value: 5", "value: 0, unit: y", "value: five, unit: y", "value: 1.5, unit: y"]
)
def test_a_retention_that_is_no_time_is_refused(tiny: TinyWorkspace, value: str) -> None:
    tiny.replace("value: 5, unit: y", value)
    with pytest.raises(ContractError, match="retention is a whole number of days"):
        tiny.load()


WORKSPACES = sorted(path.parent for path in (REPOSITORY / "workspaces").glob("*/workspace.yaml"))
WUHAN = Workspace.load(REPOSITORY / "workspaces" / "wuhan", Settings())


@pytest.mark.parametrize("directory", WORKSPACES, ids=lambda path: path.name)
def test_every_contract_of_the_repository_is_released_as_it_is(directory: Path, settings: Settings) -> None:
    """Drift between a contract and its last release; `credit301 -w DIR contracts release` after the version was raised."""
    workspace = Workspace.load(directory, settings)
    comparisons = [against_release(contract) for contract in workspace.sources.values()]
    pending = {
        comparison.current.name: [f"{change.subject.name}: {change.what.en}" for change in comparison.changes]
        for comparison in comparisons
        if comparison.pending
    }
    assert pending == {}


def test_a_contract_that_drifts_from_its_release_is_found(tmp_path: Path, settings: Settings) -> None:
    directory = tmp_path / "city"
    shutil.copytree(REPOSITORY / "workspaces" / "invoices", directory)
    for contract in Workspace.load(directory, settings).sources.values():
        shutil.rmtree(contract.path / FOLDER, ignore_errors=True)
    verbs.call("contracts.release", Workspace.load(directory, settings))
    path = directory / "sources" / "applicants" / "contract.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("classification: internal", "classification: personal"),
        encoding="utf-8",
    )
    with pytest.raises(ContractError, match="1 contracts: applicants"):
        verbs.call("contracts.check", Workspace.load(directory, settings))
