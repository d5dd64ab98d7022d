"""Which model decided when, and who approved it: a log that nobody can rewrite unnoticed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credit301.errors import AuditError, ConfigError, ContractError
from credit301.model import promotions as log
from credit301.model import stewardship
from credit301.model.promotions import Act, Signature
from credit301.model.stewardship import Approval, Role
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import registry
from training.life_verbs import promotions as verb

RULES = """\
approval: {required: true, roles: {validator: {title: {zh: 验证, en: validation}, people: [li]}}}
segments: [{feature: "registry:sector", title: {zh: 行业, en: sector}}]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return synthetic.workspace(tmp_path)


def write(workspace: Workspace, act: Act, version: str, **values: str) -> log.Promotion:
    return log.record(workspace, act, version=version, **values)  # type: ignore[arg-type]


def champion(workspace: Workspace) -> str | None:
    found = log.holder(log.read(workspace))
    return found.version if found else None


def before(workspace: Workspace, version: str) -> str | None:
    found = log.before(log.read(workspace), version)
    return found.version if found else None


def test_nobody_is_champion_before_the_first_promotion(workspace: Workspace) -> None:
    assert champion(workspace) is None
    assert before(workspace, "1") is None


def test_a_refusal_and_an_approval_change_no_alias(workspace: Workspace) -> None:
    write(workspace, Act.PROMOTED, "1")
    write(workspace, Act.REFUSED, "2")
    write(workspace, Act.APPROVED, "3")
    assert champion(workspace) == "1"


def test_the_champion_before_is_the_last_other_one(workspace: Workspace) -> None:
    for version in ("1", "2", "2"):
        write(workspace, Act.PROMOTED, version)
    assert before(workspace, "2") == "1"


def test_after_a_rollback_the_one_before_is_found_again(workspace: Workspace) -> None:
    write(workspace, Act.PROMOTED, "1")
    write(workspace, Act.PROMOTED, "2")
    write(workspace, Act.ROLLED_BACK, "1")
    assert champion(workspace) == "1"
    assert before(workspace, "1") == "2"


def test_an_alias_that_was_taken_away_leaves_no_champion_but_a_history(workspace: Workspace) -> None:
    write(workspace, Act.PROMOTED, "1")
    write(workspace, Act.REMOVED, "1")
    assert champion(workspace) is None
    assert before(workspace, "") == "1"


def test_aliases_have_histories_of_their_own(workspace: Workspace) -> None:
    write(workspace, Act.PROMOTED, "1")
    write(workspace, Act.PROMOTED, "2", alias="shadow")
    found = log.holder(log.read(workspace), "shadow")
    assert (champion(workspace), found.version if found else None) == ("1", "2")


def test_an_approval_is_of_one_bundle_only(workspace: Workspace) -> None:
    log.record(workspace, Act.APPROVED, version="1", digest="a", signed=Signature("li", "validator", "checked"))
    records = log.read(workspace)
    found = log.approval(records, "1", "a")
    assert found is not None
    assert (found.by, found.role, found.reason) == ("li", "validator", "checked")
    assert log.approval(records, "1", "b") is None
    assert log.approval(records, "2", "a") is None


@pytest.mark.parametrize("damage", ["changed", "removed", "cut off", "all gone"])
def test_a_log_that_was_tampered_with_is_not_believed(workspace: Workspace, damage: str) -> None:
    for version in ("1", "2", "3"):
        write(workspace, Act.PROMOTED, version)
    path = workspace.paths.promotions / "promotions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    match damage:
        case "changed":
            lines[1] = lines[1].replace(b'"version":"2"', b'"version":"9"')
        case "removed":
            del lines[1]
        case "cut off":
            del lines[2]
    path.unlink() if damage == "all gone" else path.write_bytes(b"".join(lines))
    with pytest.raises(AuditError):
        log.read(workspace)


def test_a_process_killed_while_writing_leaves_a_log_that_goes_on(workspace: Workspace) -> None:
    write(workspace, Act.PROMOTED, "1")
    with (workspace.paths.promotions / "promotions.jsonl").open("ab") as file:
        file.write(b'{"number":2,"at":"20')
    write(workspace, Act.PROMOTED, "2")
    assert [record.version for record in log.read(workspace)] == ["1", "2"]


def test_what_decided_on_a_day_and_who_had_approved_it(workspace: Workspace) -> None:
    log.record(workspace, Act.APPROVED, version="1", digest="a", signed=Signature("li", "validator", "tests passed"))
    log.record(workspace, Act.PROMOTED, version="1", digest="a", signed=Signature("wang"))
    today = datetime.now(UTC).astimezone().date()
    answer = verb(workspace, on=today.isoformat())
    assert [row["version"] for row in answer["records"]] == ["1"]
    assert answer["approved"]["champion 1"].startswith("li (validator)")
    assert verb(workspace, on=(today - timedelta(days=1)).isoformat())["records"] == []
    assert [row["version"] for row in verb(workspace, on=(today + timedelta(days=1)).isoformat())["records"]] == ["1"]


def test_a_day_that_is_none_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="no date"):
        verb(workspace, on="yesterday")


def test_a_role_approves_only_by_its_people_and_with_a_name() -> None:
    title = synthetic.text("role")
    rules = Approval(
        required=True, roles={"validator": Role(title=title, people=("li",)), "officer": Role(title=title)}
    )
    rules.check("li", "validator")
    rules.check("anybody", "officer")
    for by, role in (("wang", "validator"), ("", "officer"), ("li", ""), ("li", "janitor")):
        with pytest.raises(ConfigError):
            rules.check(by, role)


def test_a_workspace_without_the_file_needs_no_approval_and_has_no_accept_lane(workspace: Workspace) -> None:
    rules = stewardship.load(workspace)
    assert not rules.needs_approval("champion")
    assert rules.accept_lane is None


def test_a_shadow_needs_no_approval(workspace: Workspace) -> None:
    (workspace.directory / stewardship.PLACE).write_text(RULES, encoding="utf-8")
    rules = stewardship.load(workspace)
    assert [rules.needs_approval(alias) for alias in stewardship.ALIASES] == [True, True, False]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("approval", "aproval", r"models\.yaml:1: aproval: unknown key"),
        ("registry:sector", "registry:sectors", r"models\.yaml:2: .*no contract has"),
        ("roles: {validator: {title: {zh: 验证, en: validation}, people: [li]}}", "roles: {}", "there is no role"),
    ],
)
def test_what_the_file_says_wrong_is_an_error_with_its_line(
    workspace: Workspace, old: str, new: str, what: str
) -> None:
    (workspace.directory / stewardship.PLACE).write_text(RULES.replace(old, new), encoding="utf-8")
    with pytest.raises(ContractError, match=what):
        stewardship.load(workspace)


def test_the_reference_city_lets_nothing_decide_without_approval(wuhan: Workspace) -> None:
    rules = stewardship.load(wuhan)
    assert rules.needs_approval("champion")
    assert rules.accept_lane is not None
    assert rules.accept_lane.share == 0.02


@pytest.mark.parametrize(
    ("tags", "verdict"),
    [
        ({}, False),
        ({registry.TAG_GATE: "passed"}, False),
        ({registry.TAG_GATE: "passed", registry.TAG_REPORT: "not JSON"}, False),
        ({registry.TAG_GATE: "passed", registry.TAG_REPORT: "[]"}, False),
        ({registry.TAG_GATE: "passed", registry.TAG_REPORT: '{"passed":true,"bundle_sha256":"a"}'}, True),
        ({registry.TAG_GATE: "passed", registry.TAG_REPORT: '{"passed":false,"bundle_sha256":"a"}'}, False),
        ({registry.TAG_GATE: "passed", registry.TAG_REPORT: '{"passed":true,"bundle_sha256":"b"}'}, False),
        ({registry.TAG_GATE: "refused", registry.TAG_REPORT: '{"passed":false,"bundle_sha256":"a"}'}, True),
    ],
)
def test_a_verdict_counts_only_with_its_report_on_this_very_bundle(tags: dict[str, str], verdict: bool) -> None:
    assert registry.has_verdict({registry.TAG_SHA256: "a", **tags}) is verdict
