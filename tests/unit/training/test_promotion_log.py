"""The history of promotions."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import promotion_log as log
from training import registry


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return synthetic.workspace(tmp_path)


def write(workspace: Workspace, action: str, version: str | None) -> None:
    log.append(workspace, action, version=version, verdict="", by="test")


def test_nobody_is_champion_before_the_first_promotion(workspace: Workspace) -> None:
    assert log.last_good(workspace) is None
    assert log.before(workspace, "1") is None


def test_a_refusal_changes_nothing(workspace: Workspace) -> None:
    write(workspace, log.PROMOTED, "1")
    write(workspace, log.REFUSED, "2")
    assert log.last_good(workspace) == "1"


def test_the_champion_before_is_the_last_other_one(workspace: Workspace) -> None:
    for version in ("1", "2", "2"):
        write(workspace, log.PROMOTED, version)
    assert log.before(workspace, "2") == "1"


def test_after_a_rollback_the_one_before_is_found_again(workspace: Workspace) -> None:
    write(workspace, log.PROMOTED, "1")
    write(workspace, log.PROMOTED, "2")
    write(workspace, log.ROLLED_BACK, "1")
    assert log.last_good(workspace) == "1"
    assert log.before(workspace, "1") == "2"


def test_an_alias_that_was_taken_away_leaves_no_champion_but_a_history(workspace: Workspace) -> None:
    write(workspace, log.PROMOTED, "1")
    write(workspace, log.REMOVED, "1")
    assert log.last_good(workspace) is None
    assert log.before(workspace, "") == "1"


def test_a_line_says_who_when_what_and_why(workspace: Workspace) -> None:
    log.append(workspace, log.REFUSED, version="4", verdict="refused", by="li", reason="AUC 过低 | AUC is too low")
    entry = log.read(workspace)[0]
    assert entry.pop("at").startswith("20")
    assert entry == {
        "action": "refused",
        "version": "4",
        "verdict": "refused",
        "by": "li",
        "reason": "AUC 过低 | AUC is too low",
    }


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
