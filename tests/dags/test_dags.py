"""The DAGs of the reference city: which there are, what holds for each, and that assets connect the whole road."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from credit301.stack import airflow_env
from tests.conftest import REPOSITORY
from tests.dags.conftest import DAGS

SOURCES = {
    "bank_account_flow",
    "bank_loan",
    "bank_repayment",
    "business_registration",
    "development_reform",
    "enterprise_profile",
    "financial_statements",
    "fiscal_support",
    "housing_fund",
    "judicial_penalty",
    "platform_event",
    "social_insurance",
    "tax_declaration",
    "tax_payment",
}
DRIFT = "wuhan/drift"
STEPS = ("build_warehouse", "check_features", "materialize_features", "train_models", "promote_ensemble")
GOVERNANCE = ("apply_retention",)
IDS = sorted(
    {*(f"ingest_{source}" for source in SOURCES), *STEPS, *GOVERNANCE, "expire_applications", "monitor_models"}
)


def dags_of(module: ModuleType) -> dict[str, Any]:
    from airflow.sdk import DAG

    return {value.dag_id: value for value in vars(module).values() if isinstance(value, DAG)}


def produced(dag: Any) -> set[str]:
    return {outlet.name for task in dag.tasks for outlet in task.outlets}


def consumed(dag: Any) -> set[str]:
    condition = getattr(dag.timetable, "asset_condition", None)
    return assets_of(condition) if condition is not None else set()


def assets_of(condition: Any) -> set[str]:
    """Names of all assets of a condition, which is an asset or a combination of conditions."""
    parts = getattr(condition, "objects", None)
    return {condition.name} if parts is None else set().union(*(assets_of(part) for part in parts))


@pytest.fixture(scope="module")
def dags(road: ModuleType) -> dict[str, Any]:
    return dags_of(road)


def test_the_dags_are_one_for_each_source_and_one_for_each_step(dags: dict[str, Any]) -> None:
    assert sorted(dags) == IDS


def test_airflow_reads_the_folder_without_an_error(road: ModuleType) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    assert sorted(bag.dag_ids) == IDS


def test_reading_the_dags_imports_nothing_heavy(road: ModuleType) -> None:
    script = (
        "import sys, time; began = time.perf_counter(); import airflow.sdk; import policy; base = time.perf_counter();"
        "import credit301_dags; heavy = {'feast', 'mlflow', 'great_expectations', 'pandas', 'lightgbm', 'duckdb', 'sklearn'};"
        "print('parse seconds', round(time.perf_counter() - base, 2), 'after', round(base - began, 2));"
        "print('heavy', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=DAGS)
    sys.stdout.write(done.stdout)
    assert done.stdout.strip().endswith("heavy []")


@pytest.mark.parametrize("name", IDS)
def test_a_dag_says_in_both_languages_what_it_does(dags: dict[str, Any], name: str) -> None:
    dag = dags[name]
    for text in (dag.description, dag.doc_md):
        assert any("\u4e00" <= character <= "\u9fff" for character in text)
        assert any(character.isascii() and character.isalpha() for character in text)


@pytest.mark.parametrize("name", IDS)
def test_a_dag_has_tags(dags: dict[str, Any], name: str) -> None:
    assert {"wuhan"} < set(dags[name].tags)


@pytest.mark.parametrize("name", IDS)
def test_a_dag_runs_once_at_a_time_and_never_for_the_past(dags: dict[str, Any], name: str) -> None:
    assert (dags[name].max_active_runs, dags[name].catchup) == (1, False)


@pytest.mark.parametrize("name", IDS)
def test_every_task_has_an_owner_that_is_no_default(dags: dict[str, Any], name: str) -> None:
    owners = {task.owner for task in dags[name].tasks}
    assert owners.isdisjoint({"airflow", ""})


@pytest.mark.parametrize("name", IDS)
def test_every_task_is_retried_with_longer_and_longer_waits(dags: dict[str, Any], name: str) -> None:
    for task in dags[name].tasks:
        assert task.retries == 2
        assert task.retry_exponential_backoff == 2.0
        assert timedelta(0) < task.retry_delay < task.max_retry_delay


@pytest.mark.parametrize("name", IDS)
def test_every_task_and_every_run_has_a_time_limit(dags: dict[str, Any], name: str) -> None:
    dag = dags[name]
    for task in dag.tasks:
        assert timedelta(0) < task.execution_timeout
        # All tries of a task fit into a run.
        assert task.execution_timeout * (task.retries + 1) < dag.dagrun_timeout


@pytest.mark.parametrize("name", IDS)
def test_a_failure_raises_an_alert(dags: dict[str, Any], name: str) -> None:
    dag = dags[name]
    assert dag.on_failure_callback
    assert all(task.on_failure_callback for task in dag.tasks)


def test_an_ingest_dag_belongs_to_the_owner_that_the_contract_names(road: ModuleType, dags: dict[str, Any]) -> None:
    for name, contract in road._workspace.sources.items():
        assert {task.owner for task in dags[f"ingest_{name}"].tasks} == {contract.owner}


def test_an_ingest_dag_runs_as_often_as_the_contract_says(road: ModuleType, dags: dict[str, Any]) -> None:
    for name, contract in road._workspace.sources.items():
        assert dags[f"ingest_{name}"].timetable.expression == contract.freshness.schedule


def test_every_asset_that_a_dag_waits_for_is_produced_by_exactly_one(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        for asset in consumed(dag):
            assert [other.dag_id for other in dags.values() if asset in produced(other)], asset


def test_the_road_leads_from_every_source_to_the_promotion(dags: dict[str, Any]) -> None:
    reached = {name for name in dags if name.startswith("ingest_")}
    for step in STEPS:
        waits_for = consumed(dags[step]) - {DRIFT}
        before = {name for name in reached if produced(dags[name]) & waits_for}
        assert waits_for == {asset for name in before for asset in produced(dags[name]) & waits_for}, step
        reached.add(step)
    assert consumed(dags["build_warehouse"]) == {f"wuhan/landing/{source}" for source in SOURCES}


def test_monitoring_follows_the_joined_outcomes_and_drift_starts_a_training(dags: dict[str, Any]) -> None:
    assert consumed(dags["monitor_models"]) == {"wuhan/training_set"}
    assert produced(dags["monitor_models"]) == {DRIFT}
    assert consumed(dags["train_models"]) == {"wuhan/features", DRIFT}
    assert order(dags["monitor_models"]) == ["monitor", "drifted"]
    assert order(dags["train_models"]) == ["training_set", "retraining_due", "train"]


def test_the_road_ends_in_a_nomination_and_no_dag_makes_a_champion(dags: dict[str, Any]) -> None:
    assert order(dags["promote_ensemble"]) == ["nominate", "report"]
    assert "promote" not in {task.task_id for dag in dags.values() for task in dag.tasks}


def order(dag: Any) -> list[str]:
    """The tasks of a DAG that is one line."""
    (first,) = [task for task in dag.tasks if not task.upstream_list]
    found = [first]
    while found[-1].downstream_list:
        (following,) = found[-1].downstream_list
        found.append(following)
    assert len(found) == len(dag.tasks)
    return [task.task_id for task in found]


def test_the_warehouse_is_also_built_when_a_source_does_not_come(dags: dict[str, Any]) -> None:
    assert dags["build_warehouse"].timetable.timetable.expression == "30 5 * * *"


def test_what_has_expired_is_taken_out_each_day_before_the_nightly_build(dags: dict[str, Any]) -> None:
    retention, build = dags["apply_retention"], dags["build_warehouse"]
    assert [task.op_args[0] for task in retention.tasks] == ["retention"]
    minute, hour, *days = retention.timetable.expression.split()
    assert days == ["*", "*", "*"]
    nightly = build.timetable.timetable.expression.split()
    assert (int(hour), int(minute)) < (int(nightly[1]), int(nightly[0]))


def test_the_warehouse_has_one_writer(dags: dict[str, Any]) -> None:
    writers = [dag for dag in dags.values() for task in dag.tasks if task.task_id == "build"]
    assert [(dag.dag_id, dag.max_active_runs, dag.max_active_tasks) for dag in writers] == [("build_warehouse", 1, 1)]


PRELOADING = """
import importlib, os, sys
from pathlib import Path
import airflow_local_settings
from credit301.contracts import loader
from credit301.settings import get_settings
from credit301.workspace import Workspace
print('known', loader._load.cache_info().misses)
os.environ["CREDIT301_WORKSPACE"] = sys.argv[1]
get_settings.cache_clear()
importlib.reload(airflow_local_settings)
print('known', loader._load.cache_info().misses)
Workspace.load(Path(sys.argv[1]))
print('known', loader._load.cache_info().misses)
print("loaded", sorted({"great_expectations", "openlineage", "duckdb", "expectations", "feast", "mlflow"} & set(sys.modules)))
"""


def test_tasks_find_libraries_and_contracts_loaded_by_the_scheduler_which_a_mistake_does_not_stop(
    tmp_path: Path,
) -> None:
    # First for a folder that is no workspace, then for the city's, which is then read no more.
    environment = {**os.environ, **airflow_env.preloading("scheduler"), "CREDIT301_WORKSPACE": str(tmp_path)}
    command = [sys.executable, "-c", PRELOADING, str(REPOSITORY / "workspaces" / "wuhan")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    known = f"known {len(SOURCES)}"
    loaded = "loaded ['duckdb', 'expectations', 'feast', 'great_expectations', 'mlflow', 'openlineage']"
    said = [line for line in done.stdout.splitlines() if line.startswith(("known ", "loaded "))]
    assert said == ["known 0", known, known, loaded]
