"""What a task does with what its verb says, and runs of a DAG as Airflow runs it, here as its database is made once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest

from credit301.errors import ConfigError, Credit301Error, GateRefused, SourceError
from tests.conftest import REPOSITORY, TinyWorkspace
from tests.support.sftp import serving
from tests.unit.sources.conftest import PULL
from tests.unit.sources.test_file_drop import csv_text

WUHAN = str(REPOSITORY / "workspaces" / "wuhan")


def run(road: ModuleType, monkeypatch: pytest.MonkeyPatch, outcome: dict[str, Any] | Credit301Error) -> dict[str, Any]:
    """The task's function, with a verb that ends as told."""

    def call(name: str, workspace: object, **options: object) -> dict[str, Any]:
        if isinstance(outcome, Credit301Error):
            raise outcome
        return {**outcome, "verb": name, "options": options}

    monkeypatch.setattr(road.verbs, "call", call)
    summary: dict[str, Any] = road.run_verb.function("train", WUHAN, {"force": True})
    return summary


def test_a_task_passes_its_options_on_and_returns_the_summary(
    road: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = run(road, monkeypatch, {"rows": 3})
    assert summary == {"rows": 3, "verb": "train", "options": {"force": True}}


def test_a_training_without_new_data_skips_so_that_nothing_is_promoted(
    road: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException):
        run(road, monkeypatch, {"skipped": True})


@pytest.mark.parametrize("error", [GateRefused("AUC fell"), ConfigError("no password")])
def test_what_trying_again_does_not_mend_is_not_tried_again(
    road: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Credit301Error
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=error.message):
        run(road, monkeypatch, error)


def test_a_source_that_does_not_answer_is_tried_again(road: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError):
        run(road, monkeypatch, SourceError("the exchange answered 503"))


@pytest.mark.parametrize("verb", ["monitor", "drifted"])
def test_without_a_champion_there_is_nothing_to_watch_and_no_drift(road: ModuleType, verb: str) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException):
        road.run_verb.function(verb, WUHAN, {})


def test_without_any_training_one_is_due_and_after_it_none_is(road: ModuleType) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    assert "first training" in road.run_verb.function("retraining_due", WUHAN, {})["due"]
    state = road._workspace.paths.state / "training.json"
    state.parent.mkdir(parents=True, exist_ok=True)
    version = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-0123abcd"
    state.write_text(json.dumps({"results": {"version": version}}))
    try:
        with pytest.raises(AirflowSkipException, match="no drift since"):
            road.run_verb.function("retraining_due", WUHAN, {})
    finally:
        state.unlink()


@pytest.mark.server
def test_airflow_runs_the_ingest_of_a_workspace_from_file_to_landing(
    airflow_database: None, tiny: TinyWorkspace, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    rows = [("91420102MA01EJ0J1J", "2024-03", "120.50"), ("not a code", "2024-03", "1.00")]
    lines = [f"{code},{month},{amount},goods,2024-03-31T00:00:00,2024-04-10T09:00:00" for code, month, amount in rows]
    (drop / "sales.csv").write_text("uscc,month,amount,kind,event_time,available_at\n" + "\n".join(lines) + "\n")
    tiny.definition += "ingest: {tolerance: 0.9}\n"
    tiny.replace(
        "connector: http_exchange, options: {path: government/v1/sales/records, token_secret: government_token}",
        "connector: file_drop, options: {path: sales.csv}",
    )
    workspace = tiny.load()
    environment = {
        **os.environ,
        "CREDIT301_WORKSPACE": str(workspace.directory),
        "CREDIT301_HOME": str(workspace.settings.home),
        "CREDIT301_DATA_DIR": str(drop),
    }
    airflow = Path(sys.prefix) / "bin" / "airflow"
    done = subprocess.run(
        [airflow, "dags", "test", "ingest_sales"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    landed = duckdb.execute(f"select uscc, amount from '{workspace.paths.landing}/sales/*.parquet'").fetchall()
    quarantined = duckdb.execute(f"select uscc from '{workspace.paths.quarantine}/sales/*.parquet'").fetchall()
    assert [(code, float(amount)) for code, amount in landed] == [("91420102MA01EJ0J1J", 120.5)]
    assert quarantined == [("not a code",)]


@pytest.mark.server
def test_a_task_uses_a_connection_that_only_airflows_database_has(
    airflow_database: None, tiny: TinyWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "sales.csv").write_text(csv_text(3))
    tiny.replace(
        "connector: http_exchange, " + PULL,
        "connector: sftp, options: {connection: bureau_of_database, folder: /, path: sales.csv}",
    )
    workspace = tiny.load()
    environment = {
        **os.environ,
        "CREDIT301_WORKSPACE": str(workspace.directory),
        "CREDIT301_HOME": str(workspace.settings.home),
    }
    airflow = Path(sys.prefix) / "bin" / "airflow"

    def run(*arguments: str) -> None:
        done = subprocess.run([airflow, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "word-of-the-test" not in done.stdout + done.stderr

    with serving(tmp_path / "served") as server:
        run("connections", "add", "bureau_of_database", "--conn-uri", server.uri())
        run("dags", "test", "ingest_sales")
    assert len(list((workspace.paths.landing / "sales").glob("*.parquet"))) == 1
