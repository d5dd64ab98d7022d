"""What happens when something fails for good."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

TASK_FAILURE = {
    "dag_run": SimpleNamespace(dag_id="ingest_tax_declaration", run_id="manual__1"),
    "task_instance": SimpleNamespace(task_id="ingest", try_number=3),
    "task": SimpleNamespace(owner="tax_administration"),
    "exception": RuntimeError("the exchange answered 503"),
}


def alerts(state: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (state / "alerts.jsonl").read_text(encoding="utf-8").splitlines()]


def test_an_alert_says_what_failed_whose_it_is_and_why(road: ModuleType, tmp_path: Path) -> None:
    road.policy.alert_callback(tmp_path)(TASK_FAILURE)
    alert = alerts(tmp_path)[0]
    assert {key: alert[key] for key in ("dag", "run", "task", "try", "owner", "error")} == {
        "dag": "ingest_tax_declaration",
        "run": "manual__1",
        "task": "ingest",
        "try": 3,
        "owner": "tax_administration",
        "error": "the exchange answered 503",
    }


def test_alerts_are_added_to_those_before(road: ModuleType, tmp_path: Path) -> None:
    callback = road.policy.alert_callback(tmp_path / "state")
    callback(TASK_FAILURE)
    callback(TASK_FAILURE)
    assert len(alerts(tmp_path / "state")) == 2


def test_the_alert_of_a_whole_run_names_no_task(road: ModuleType, tmp_path: Path) -> None:
    context = {"dag_run": TASK_FAILURE["dag_run"], "reason": "timed out"}
    road.policy.alert_callback(tmp_path)(context)
    alert = alerts(tmp_path)[0]
    assert (alert["task"], alert["error"]) == (None, "timed out")
