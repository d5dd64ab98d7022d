"""The endpoint against a real MLflow server: what it reads there is what MLflow 3 really answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from credit301.model import bundle, promotions
from credit301.model.promotions import Act, Signature
from credit301.settings import Settings
from credit301.workspace import Workspace
from serving.app import Service
from serving.auth import HEADER
from tests.conftest import REPOSITORY
from tests.support.ports import free_port
from tests.support.scoring import trained
from tests.support.servers import running, until

pytestmark = pytest.mark.server
NAME = "wuhan-ensemble"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server with its own store."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    quiet = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "true",
    }
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=quiet, stdout=log, stderr=log, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            until(lambda: _is_up(client), "MLflow to start", 400)
            yield client
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False


def _register(mlflow: httpx.Client, directory: Path, tags: dict[str, str]) -> str:
    """Log ``directory`` as a run's artifact ``bundle`` and register it, over the REST interface; gives the version."""

    def post(path: str, **body: object) -> dict[str, dict[str, str]]:
        answer = mlflow.post(f"/api/2.0/mlflow/{path}", json=body)
        assert answer.is_success, answer.text
        data: dict[str, dict[str, str]] = answer.json()
        return data

    run = mlflow.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]
    place = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    for path in (path for path in directory.rglob("*") if path.is_file()):
        target = f"/api/2.0/mlflow-artifacts/artifacts/{place}/bundle/{path.relative_to(directory)}"
        assert mlflow.put(target, content=path.read_bytes()).is_success
    version = post(
        "model-versions/create",
        name=NAME,
        source=f"{run['artifact_uri']}/bundle",
        run_id=run["run_id"],
        tags=[{"key": f"credit301.{key}", "value": value} for key, value in tags.items()],
    )["model_version"]["version"]
    post("registered-models/alias", name=NAME, alias="champion", version=version)
    return version


def test_it_follows_the_champion_of_a_real_registry(mlflow: httpx.Client, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", mlflow_url=str(mlflow.base_url))
    workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)
    key = {HEADER: settings.secret("api_key")}
    with (
        running(Service(workspace, poll_interval=0.1).app()) as address,
        httpx.Client(base_url=address, headers=key, trust_env=False) as api,
    ):
        # No such model, then a model without the alias: neither is a problem of the registry.
        until(lambda: api.get("/v1/model").json()["registry_checked_at"], "the first look")
        assert api.get("/v1/model").json()["registry_problem"] == ""
        assert mlflow.post("/api/2.0/mlflow/registered-models/create", json={"name": NAME}).is_success
        seen = api.get("/v1/model").json()["registry_checked_at"]
        until(lambda: api.get("/v1/model").json()["registry_checked_at"] > seen, "another look")
        assert api.get("/v1/model").json()["registry_problem"] == ""

        model = trained()
        made = bundle.write(tmp_path / "made" / "v1", model.manifest, model.files)
        signed = Signature("li", "model_validator", "test")
        promotions.record(workspace, Act.APPROVED, version="1", digest=made.sha256, signed=signed)
        number = _register(mlflow, tmp_path / "made" / "v1", {"gate": "passed", "bundle_sha256": made.sha256})
        assert number == "1"
        until(lambda: api.get("/v1/model").json()["version"] == "v1", "version v1")
        status = api.get("/v1/model").json()
        assert (status["registry_version"], status["sha256"]) == (number, made.sha256)

        refused = trained("v2", 0.5)
        other = bundle.write(tmp_path / "made" / "v2", refused.manifest, refused.files)
        number = _register(mlflow, tmp_path / "made" / "v2", {"gate": "refused", "bundle_sha256": other.sha256})
        until(lambda: api.get("/v1/model").json()["rejected"], "the refusal to be noticed")
        status = api.get("/v1/model").json()
        assert (status["version"], status["rejected"]["registry_version"]) == ("v1", number)
