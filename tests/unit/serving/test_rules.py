"""The rules of the models' life change while requests are served; a file that does not hold changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from credit301.model import stewardship
from credit301.workspace import Workspace
from serving.metrics import Metrics
from serving.rules import RulesFollower
from tests.unit.training import synthetic

GOOD = "traffic: {challenger_share: 0.4}\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return synthetic.workspace(tmp_path)


def write(workspace: Workspace, text: str) -> Path:
    path = workspace.directory / stewardship.PLACE
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def looks(follower: RulesFollower, count: int = 2) -> list[bool]:
    return [asyncio.run(follower.look()) for _ in range(count)]


def test_a_changed_file_is_taken_once_it_stands_still(workspace: Workspace) -> None:
    follower = RulesFollower(workspace, Metrics())
    assert looks(follower) == [False, False]
    write(workspace, GOOD)
    assert looks(follower, 3) == [False, True, False]
    assert follower.rules.traffic.challenger_share == 0.4
    assert follower.status.problem == ""


@pytest.mark.parametrize(
    "text",
    ["traffic: {challenger_share: 7}\n", "trafic: {}\n", "a: [", "\u00ff\ud800".encode("utf-8", "surrogatepass")],
)
def test_a_file_that_does_not_hold_keeps_the_last_good_rules_and_says_so(
    workspace: Workspace, text: str | bytes
) -> None:
    path = write(workspace, GOOD)
    metrics = Metrics()
    follower = RulesFollower(workspace, metrics)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert looks(follower) == [False, False]
    assert follower.rules.traffic.challenger_share == 0.4
    assert stewardship.PLACE.rpartition("/")[2] in follower.status.problem or follower.status.problem
    assert b"credit301_rules_refused 1.0" in metrics.text()
    write(workspace, GOOD.replace("4", "5"))
    assert looks(follower) == [False, True]
    assert follower.status.problem == ""
    assert b"credit301_rules_refused 0.0" in metrics.text()


def test_a_file_that_is_gone_takes_no_approval_away(workspace: Workspace) -> None:
    rules = "approval: {required: true, roles: {validator: {title: {zh: 验证, en: validation}}}}\n"
    path = write(workspace, rules)
    follower = RulesFollower(workspace, Metrics())
    path.unlink()
    looks(follower)
    assert follower.rules.approval.required
    assert "gone" in follower.status.problem
