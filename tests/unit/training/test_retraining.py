"""When a new version is due."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credit301.model import stewardship
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import retraining
from training.life_verbs import drifted

ALARM = [{"zh": "漂移", "en": "the score moved"}]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return synthetic.workspace(tmp_path)


def trained(workspace: Workspace, days_ago: float, **results: int) -> None:
    made = datetime.now(UTC) - timedelta(days=days_ago)
    path = workspace.paths.state / "training.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"results": {"version": f"{made:%Y%m%dT%H%M%S}-0123abcd", **results}}))


def test_the_first_training_is_due(workspace: Workspace) -> None:
    assert "first training" in retraining.due(workspace)["due"]


def test_a_recent_training_without_drift_is_enough(workspace: Workspace) -> None:
    trained(workspace, 3)
    found = retraining.due(workspace)
    assert found["skipped"] is True
    assert "after 30 days" in found["reason"]


def test_an_old_training_is_due_again_as_the_workspace_says(workspace: Workspace) -> None:
    trained(workspace, 8)
    assert retraining.due(workspace)["skipped"]
    (workspace.directory / stewardship.PLACE).write_text("retraining: {every_days: 7}\n")
    assert "8 days ago" in retraining.due(workspace)["due"]


@pytest.mark.parametrize(("known", "is_due"), [(104, False), (105, True)])
def test_enough_new_outcomes_are_a_reason_where_the_workspace_says_how_many(
    workspace: Workspace, known: int, is_due: bool
) -> None:
    trained(workspace, 1, outcomes=100)
    workspace.paths.training_set.parent.mkdir(parents=True, exist_ok=True)
    synthetic.rows(known).frame.to_parquet(workspace.paths.training_set)
    assert retraining.due(workspace)["skipped"]
    (workspace.directory / stewardship.PLACE).write_text("retraining: {on_new_outcomes: 0.05}\n")
    found = retraining.due(workspace)
    assert ("due" in found) is is_due
    assert "105, of which the last training had 100" in found["due"] if is_due else "4 new outcomes" in found["reason"]


def test_a_drift_after_the_training_is_a_reason_and_one_before_it_is_answered(workspace: Workspace) -> None:
    trained(workspace, 1)
    retraining.remember(workspace, "2026-05", "1", ALARM)
    assert "the score moved" in retraining.due(workspace)["due"]
    assert drifted(workspace)["alarms"] == ["the score moved"]
    trained(workspace, -0.01)
    assert retraining.due(workspace)["skipped"]
    assert drifted(workspace)["skipped"]


def test_the_same_drift_of_the_same_month_is_not_raised_anew(workspace: Workspace) -> None:
    retraining.remember(workspace, "2026-05", "1", ALARM)
    first = retraining.drift(workspace)["at"]
    path = workspace.paths.state / retraining.DRIFT
    path.write_text(path.read_text().replace(first, "2026-01-01T00:00:00+00:00"))
    retraining.remember(workspace, "2026-05", "1", ALARM)
    assert retraining.drift(workspace)["at"].startswith("2026-01-01")
    retraining.remember(workspace, "2026-06", "1", ALARM)
    assert not retraining.drift(workspace)["at"].startswith("2026-01-01")


def test_a_workspace_may_leave_drift_to_people(workspace: Workspace) -> None:
    trained(workspace, 1)
    (workspace.directory / stewardship.PLACE).write_text("retraining: {on_drift: false}\n")
    retraining.remember(workspace, "2026-05", "1", ALARM)
    assert retraining.due(workspace)["skipped"]


def test_without_alarms_there_is_no_drift(workspace: Workspace) -> None:
    retraining.remember(workspace, "2026-05", "1", [])
    assert drifted(workspace)["skipped"]
