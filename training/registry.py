"""The model registry: where it is, what its models are called, and a light view of it over REST.

Importing this module costs nothing; ``mlflow`` is imported by :func:`connect` alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from credit301.errors import ModelError
from credit301.settings import PREFIX, Profile

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from credit301.workspace import Workspace

TAG_SHA256 = "credit301.bundle_sha256"
TAG_DIRECTORY = "credit301.bundle_dir"
TAG_DATA_AS_OF = "credit301.data_as_of"
TAG_ROWS = "credit301.label_rows"
TAG_VERSION = "credit301.bundle_version"
TAG_GATE = "credit301.gate"
TAG_REASON = "credit301.gate_reason"
TAG_REPORT = "credit301.gate_report"
TAG_APPROVAL = "credit301.approval"
TAG_PROMOTION = "credit301.promotion"
PASSED, REFUSED = "passed", "refused"

# Nothing calls out: no telemetry, no look-up of packages, and a local server is not asked for through a proxy.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_PRINT_MODEL_URLS_ON_CREATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "GIT_PYTHON_REFRESH": "quiet",
    "NO_PROXY": "127.0.0.1,localhost",
}


@dataclass(frozen=True)
class Target:
    """A tracking store with its registry. ``local``: a SQLite file of the workspace instead of a server."""

    uri: str
    local: bool


def ensemble_name(workspace: Workspace) -> str:
    """Registered model of the final model."""
    return f"{workspace.name}-ensemble"


def source_name(workspace: Workspace, source: str) -> str:
    """Registered model of a source's sub-model."""
    return f"{workspace.name}-{source}"


def target(workspace: Workspace) -> Target:
    """The MLflow server of the settings; where none was asked for and none runs, a SQLite file of the workspace.

    Raises:
        ModelError: a server was asked for by ``CREDIT301_MLFLOW_URL`` or the profile, and does not answer.
    """
    address = workspace.settings.mlflow_address()
    if is_up(address):
        return Target(address, local=False)
    if workspace.settings.mlflow_url or workspace.settings.profile is not Profile.EMBEDDED:
        raise ModelError(
            f"The MLflow server at {address} does not answer.", hint=f"Start it, or correct {PREFIX}MLFLOW_URL."
        )
    folder = workspace.paths.root / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    return Target(f"sqlite:///{folder / 'mlflow.db'}", local=True)


def is_up(address: str) -> bool:
    """Whether an MLflow server answers at ``address``."""
    try:
        return httpx.get(f"{address.rstrip('/')}/health", timeout=30.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def has_verdict(tags: dict[str, str]) -> bool:
    """Whether the tags hold a verdict on the very bundle that the version has now."""
    try:
        report = json.loads(tags.get(TAG_REPORT, ""))
    except ValueError:
        return False
    same = isinstance(report, dict) and report.get("bundle_sha256") == tags.get(TAG_SHA256)
    agrees = same and tags.get(TAG_GATE) == (PASSED if report.get("passed") else REFUSED)
    return bool(agrees)


def load_mlflow() -> None:
    """Import MLflow, which reads in its environment, as it is imported, that it shall call nobody."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow.pyfunc  # noqa: F401


def connect(where: Target) -> MlflowClient:
    """A client of ``where``, which also becomes the store of MLflow's module-level functions in this process."""
    load_mlflow()
    import logging

    import mlflow
    from mlflow.utils.logging_utils import disable_logging

    # What it tells of each step on standard error is told by the verbs; what goes wrong is raised.
    disable_logging()

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(where.uri)
    mlflow.set_registry_uri(where.uri)
    return mlflow.MlflowClient(where.uri, where.uri)


class RestRegistry:
    """What a loop needs to see of a server's registry, without the 400 MB that MLflow's own client takes.

    Raises:
        httpx.HTTPError: from every method, when the server does not answer or answers with an error.
    """

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self._client = httpx.Client(base_url=f"{address.rstrip('/')}/api/2.0/mlflow", timeout=10.0, trust_env=False)

    def aliases(self) -> dict[str, str]:
        """Version by alias; empty where the model does not exist yet."""
        answer = self._client.get("/registered-models/get", params={"name": self.name})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        answer.raise_for_status()
        found = answer.json()["registered_model"].get("aliases", [])
        return {str(item["alias"]): str(item["version"]) for item in found}

    def version(self, number: str) -> tuple[dict[str, Any], dict[str, str]] | None:
        """A version and its tags; ``None`` where there is no such version."""
        answer = self._client.get("/model-versions/get", params={"name": self.name, "version": number})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()["model_version"]
        return found, {tag["key"]: tag["value"] for tag in found.get("tags", [])}

    def set_alias(self, alias: str, number: str | None) -> None:
        """Give the alias to a version, or take it away."""
        path, body = "/registered-models/alias", {"name": self.name, "alias": alias}
        if number is None:
            self._client.request("DELETE", path, json=body).raise_for_status()
        else:
            self._client.post(path, json={**body, "version": number}).raise_for_status()

    def set_tag(self, number: str, key: str, value: str) -> None:
        """Write a tag on a version."""
        body = {"name": self.name, "version": number, "key": key, "value": value}
        self._client.post("/model-versions/set-tag", json=body).raise_for_status()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
