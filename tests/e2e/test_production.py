"""`make up PROFILE=production` from an environment file: the same processes, with nothing that has a default."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.fernet import Fernet

from credit301 import verbs
from credit301.settings import Profile, Settings
from credit301.stack.services import SECRETS
from tests.conftest import REPOSITORY, TinyWorkspace
from tests.support.ports import free_ports

pytestmark = [pytest.mark.server, pytest.mark.timeout(3600)]


@dataclass
class Production:
    """An environment file, and what it says."""

    file: Path
    values: dict[str, str]

    def make(self, target: str) -> subprocess.CompletedProcess[str]:
        """One target of the Makefile, as a person calls it."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "CREDIT301_"))}
        command = ["make", target, "PROFILE=production", f"ENV_FILE={self.file}"]
        return subprocess.run(command, cwd=REPOSITORY, env=inherited, capture_output=True, text=True, check=False)

    def settings(self, **changes: Any) -> Settings:
        """The settings that the file makes."""
        known = {key.removeprefix("CREDIT301_").lower(): value for key, value in self.values.items()}
        fields = {key: value for key, value in known.items() if key in Settings.model_fields}
        return Settings(**{**fields, **changes})


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Production:
    """Every variable of the production profile, with addresses on free ports of this machine."""
    directory = tmp_path_factory.mktemp("production")
    ports = free_ports()
    word = secrets.token_urlsafe(16)
    values = {f"CREDIT301_{name.upper()}": secrets.token_urlsafe(24) for name in SECRETS}
    values |= {f"CREDIT301_{name.upper()}": str(port) for name, port in ports.items()}
    values |= {
        "CREDIT301_PROFILE": "production",
        "CREDIT301_HOME": str(directory / "home"),
        "CREDIT301_POSTGRES_URL": f"postgresql://credit301:{word}@127.0.0.1:{ports['postgres_port']}",
        "CREDIT301_REDIS_URL": f"redis://:{word}@127.0.0.1:{ports['redis_port']}/0",
        "CREDIT301_MLFLOW_URL": f"http://127.0.0.1:{ports['mlflow_port']}",
        "CREDIT301_EXCHANGE_URL": "http://exchange.invalid",
        "CREDIT301_AIRFLOW_FERNET_KEY": Fernet.generate_key().decode(),
        "CREDIT301_API_KEYS": f"bank:{secrets.token_urlsafe(24)}",
        "CREDIT301_GOVERNMENT_TOKEN": secrets.token_urlsafe(24),
        "CREDIT301_BANK_TOKEN": secrets.token_urlsafe(24),
    }
    file = directory / "production.env"
    file.write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="utf-8")
    return Production(file, values)


@pytest.fixture(scope="module")
def running(production: Production) -> Iterator[Production]:
    """The production profile, up."""
    done = production.make("up")
    try:
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        yield production
    finally:
        production.make("down")


@pytest.mark.parametrize(
    "variable", ["CREDIT301_API_KEYS", "CREDIT301_TOKEN_KEYS", "CREDIT301_REDIS_URL", "CREDIT301_AIRFLOW_PASSWORD"]
)
def test_it_refuses_to_start_without_a_variable_and_names_it(
    production: Production, tmp_path: Path, variable: str
) -> None:
    lines = production.file.read_text(encoding="utf-8").splitlines(keepends=True)
    file = tmp_path / "incomplete.env"
    file.write_text("".join(line for line in lines if not line.startswith(variable)), encoding="utf-8")
    done = Production(file, production.values).make("up")
    assert done.returncode != 0
    assert variable in done.stdout + done.stderr


def test_every_service_is_healthy(running: Production) -> None:
    done = running.make("status")
    assert done.returncode == 0, done.stdout + done.stderr
    settings = running.settings()
    for port, path in (
        (settings.serving_port, "/healthz"),
        (settings.mlflow_port, "/health"),
        (settings.site_port, "/"),
    ):
        assert httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=120).status_code == 200


def test_it_makes_no_secret_of_its_own(running: Production) -> None:
    assert not (Path(running.values["CREDIT301_HOME"]) / "secrets").exists()


def test_state_is_in_postgresql(running: Production) -> None:
    for database, table in (("airflow", "dag"), ("mlflow", "experiments")):
        with psycopg.connect(running.settings().postgres_address(database)) as connection:
            assert connection.execute("select to_regclass(%s)", [table]).fetchone() == (table,)


def test_feast_keeps_its_registry_in_postgresql_and_serves_from_redis(running: Production, tmp_path: Path) -> None:
    settings = running.settings(home=tmp_path / "home", profile=Profile.PRODUCTION)
    tiny = TinyWorkspace(tmp_path / "tiny", settings).load()
    (tiny.directory / "models").mkdir()
    outcomes = "select 'U1' as uscc, timestamp '2024-03-01' as decision_time, 0 as label"
    (tiny.directory / "models" / "outcomes.sql").write_text(outcomes, encoding="utf-8")
    moment = pa.array([1_704_067_200_000_000], pa.timestamp("us"))
    row = {"uscc": ["U1"], "month": ["2024-01"], "kind": ["goods"], "_record_hash": ["1"]}
    columns: dict[str, Any] = {name: pa.array(value) for name, value in row.items()}
    landing = tiny.paths.landing / "sales"
    landing.mkdir(parents=True)
    amount = pa.array([12], pa.decimal128(18, 2))
    pq.write_table(
        pa.table({**columns, "amount": amount, "event_time": moment, "available_at": moment}), landing / "a.parquet"
    )
    verbs.call("build", tiny, docs=False)
    assert verbs.call("materialize", tiny)["rows"] == {"sales": 1}
    assert verbs.call("parity", tiny) == {"entities": 1, "values": 1, "subjects": 0, "different": 0}
    with psycopg.connect(settings.postgres_address("credit301")) as connection:
        assert connection.execute("select feature_view_name from feature_views").fetchall() == [("sales",)]
