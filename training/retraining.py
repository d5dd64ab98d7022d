"""When a new version is due: on drift, on new outcomes, by age, or because there is none yet."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from credit301.files import write_atomically
from credit301.model import stewardship
from training.train import STATE

if TYPE_CHECKING:
    from credit301.workspace import Workspace

DRIFT = "drift.json"
_VERSION_TIME = "%Y%m%dT%H%M%S"


def due(workspace: Workspace) -> dict[str, Any]:
    """Why a new version is to be trained now; ``skipped`` with the reason where none is."""
    if workspace.definition.labels is None:
        return {"skipped": True, "reason": f"{workspace.name} 未声明标签 declares no labels: nothing is trained"}
    rules = stewardship.load(workspace).retraining
    trained = trained_at(workspace)
    if trained is None:
        return {"due": "首次训练 first training"}
    found = drift(workspace)
    if rules.on_drift and found["alarms"] and not answered(workspace, found):
        return {"due": f"漂移 drift: {'; '.join(alarm['en'] for alarm in found['alarms'])}"}
    before, now = _outcomes(workspace)
    if rules.on_new_outcomes is not None and before and now - before >= rules.on_new_outcomes * before:
        return {"due": f"新增结果 new outcomes: {now}, of which the last training had {before}"}
    age = datetime.now(UTC) - trained
    if age >= timedelta(days=rules.every_days):
        return {"due": f"已 {age.days} 天未训练 trained {age.days} days ago"}
    more = f", {now - before} new outcomes beside {before}" if before else ""
    ago = f"trained {age.days} days ago, no drift since{more}"
    return {"skipped": True, "reason": f"{ago}; the next training is due after {rules.every_days} days"}


def _outcomes(workspace: Workspace) -> tuple[int, int]:
    """Outcomes that the last training had, and those that are known now."""
    results = _last(workspace) or {}
    path = workspace.paths.training_set
    if "outcomes" not in results or not path.is_file():
        return 0, 0
    return int(results["outcomes"]), int(pq.read_metadata(path).num_rows)


def _last(workspace: Workspace) -> dict[str, Any] | None:
    """Results of the last training; ``None`` where there was none."""
    path = workspace.paths.state / STATE
    if not path.is_file():
        return None
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return results


def trained_at(workspace: Workspace) -> datetime | None:
    """When the last version was trained."""
    last = _last(workspace)
    if last is None:
        return None
    return datetime.strptime(last["version"].partition("-")[0], _VERSION_TIME).replace(tzinfo=UTC)


def answered(workspace: Workspace, found: dict[str, Any]) -> bool:
    """Whether a version was trained after the drift ``found``."""
    trained = trained_at(workspace)
    return trained is not None and datetime.fromisoformat(found["at"]) <= trained


def drift(workspace: Workspace) -> dict[str, Any]:
    """What monitoring found last: ``at``, ``month``, ``version`` and ``alarms``, each in both languages."""
    path = workspace.paths.state / DRIFT
    if not path.is_file():
        return {"at": "", "month": "", "version": "", "alarms": []}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def remember(workspace: Workspace, month: str, version: str, alarms: list[dict[str, str]]) -> None:
    """Keep what monitoring found; nothing is raised anew, and an older month takes back nothing of a newer one."""
    path = workspace.paths.state / DRIFT
    before = drift(workspace)
    if before["version"] == version and (
        before["month"] > month or [before["month"], before["alarms"]] == [month, alarms]
    ):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    write_atomically(path, {"at": at, "month": month, "version": version, "alarms": alarms})
