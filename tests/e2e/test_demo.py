"""`make demo` as a person runs it, on a small city: the whole road, then what the addresses answer, then its end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import httpx
import psutil
import pytest

from credit301.settings import Settings
from credit301.stack import airflow_env
from credit301.stack.airflow_api import Airflow
from credit301.stack.road import STEPS
from credit301.stack.supervisor import MARKER
from tests.conftest import REPOSITORY
from tests.support.ports import free_ports

pytestmark = [pytest.mark.server, pytest.mark.timeout(3600)]
# As much time as a slow machine takes: how fast it is, the benchmarks say.
DEMO = ("demo", "--enterprises", "1500", "--minutes", "60")
CREDIT301 = Path(sys.prefix) / "bin" / "credit301"


@dataclass
class Demo:
    """A demonstration that has run."""

    settings: Settings
    environment: dict[str, str]
    output: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of the demonstration's own home."""
        return subprocess.run(
            [CREDIT301, *arguments], env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )

    def page(self, port: int, path: str) -> httpx.Response:
        """What one of its servers answers."""
        return httpx.get(f"http://127.0.0.1:{port}{path}", follow_redirects=True, trust_env=False, timeout=120)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demonstration on a small city, in a home and on ports of its own."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), **free_ports())
    own = {f"CREDIT301_{name.upper()}": str(value) for name, value in settings if name.endswith("_port")}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "CREDIT301_"))}
    demo = Demo(settings, {**inherited, **own, "CREDIT301_HOME": str(settings.home), "COLUMNS": "120"}, "")
    try:
        done = demo.run(*DEMO)
        assert done.returncode == 0, done.stderr[-6000:]
        demo.output = done.stdout + done.stderr
        yield demo
    finally:
        demo.run("down")


def test_it_says_where_everything_is(demo: Demo) -> None:
    settings = demo.settings
    for port in (settings.serving_port, settings.airflow_port, settings.mlflow_port, settings.site_port):
        assert f"http://127.0.0.1:{port}" in demo.output
    assert str(airflow_env.passwords_file(settings)) in demo.output


def test_every_dag_of_the_road_has_succeeded(demo: Demo) -> None:
    with Airflow(demo.settings) as airflow:
        runs = airflow.runs(datetime(2000, 1, 1, tzinfo=UTC))
        succeeded = {run.dag for run in runs if run.state == "success"}
        assert succeeded >= {*STEPS, *(dag for dag in airflow.dags() if dag.startswith("ingest_"))}
        assert [run for run in runs if run.state == "failed"] == []


def test_the_endpoint_is_ready_and_decides(demo: Demo) -> None:
    assert demo.page(demo.settings.serving_port, "/readyz").status_code == httpx.codes.OK
    decided = demo.run("decide")
    assert decided.returncode == 0, decided.stderr
    assert "decision_id" in decided.stdout


def test_the_pages_of_data_quality_and_of_the_warehouse_are_there(demo: Demo) -> None:
    for path in ("/data_docs/", "/dbt_docs/"):
        assert demo.page(demo.settings.site_port, path).status_code == httpx.codes.OK


def test_mlflow_names_the_champion(demo: Demo) -> None:
    path = "/api/2.0/mlflow/registered-models/alias?name=wuhan-ensemble&alias=champion"
    assert demo.page(demo.settings.mlflow_port, path).json()["model_version"]["version"] == "1"


def test_airflow_refuses_a_visitor_without_the_password(demo: Demo) -> None:
    assert demo.page(demo.settings.airflow_port, "/api/v2/dags").status_code == httpx.codes.UNAUTHORIZED


def test_mlflow_refuses_another_host_name(demo: Demo) -> None:
    url = f"http://127.0.0.1:{demo.settings.mlflow_port}/api/2.0/mlflow/experiments/search"
    answer = httpx.post(url, json={"max_results": 1}, headers={"Host": "attacker.example"}, trust_env=False)
    assert answer.status_code == httpx.codes.FORBIDDEN


def test_every_server_listens_on_loopback_only(demo: Demo) -> None:
    listening = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(demo.settings.home):
                connections = process.net_connections(kind="inet")
                listening |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    assert listening == {"127.0.0.1"}


def test_no_log_names_an_enterprise(demo: Demo) -> None:
    landed = demo.settings.home / "wuhan" / "landing" / "business_registration"
    codes = duckdb.execute(f"select distinct uscc from read_parquet('{landed}/*.parquet')").fetchall()
    wanted = re.compile("|".join(code for (code,) in codes))
    folders = (demo.settings.home / "airflow" / "logs", demo.settings.home / "logs")
    logs = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(logs) > len(codes) / 100
    naming = [path for path in logs if wanted.search(path.read_text(encoding="utf-8", errors="replace"))]
    assert naming == []


def test_new_outcomes_lead_through_the_dags_to_a_shadow_and_never_to_another_champion(demo: Demo) -> None:
    began = datetime.now(UTC)
    moved = demo.run("advance", "--days", "61")
    assert "exchange_told: True" in moved.stdout, moved.stderr
    # The same pulls again: what follows is caused by assets, as at the first time and each night.
    again = demo.run(*DEMO)
    assert again.returncode == 0, again.stderr[-6000:]
    assert "promoted: False" in again.stdout
    path = "/api/2.0/mlflow/registered-models/alias?name=wuhan-ensemble&alias="
    held = {
        alias: demo.page(demo.settings.mlflow_port, path + alias).json()["model_version"]["version"]
        for alias in ("champion", "shadow")
    }
    assert held == {"champion": "1", "shadow": "2"}
    decided = demo.run("decide", "--count", "5", "--grant-consent")
    assert "champion 5" in decided.stdout, decided.stderr
    compared = demo.run("compare")
    assert re.search(r"live: decisions [5-9]", compared.stdout), compared.stdout[-2000:] + compared.stderr[-2000:]
    with Airflow(demo.settings) as airflow:
        runs = airflow.runs(began)
    assert {run.dag for run in runs if run.state == "success"} >= {*STEPS, "monitor_models"}
    assert [run.dag for run in runs if run.state == "failed"] == []


def test_down_ends_everything(demo: Demo) -> None:
    assert demo.run("down").returncode == 0
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(demo.settings.home):
                left.append(process.cmdline())
        except psutil.Error:
            continue
    assert left == []
