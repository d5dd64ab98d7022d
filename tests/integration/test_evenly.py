"""Connections are shared evenly among workers, whoever of them is woken first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving import evenly
from serving.evenly import Shares
from serving.server import PROTOCOL, SHARING
from tests.conftest import REPOSITORY
from tests.support.mortal import Mortal, answering
from tests.support.ports import free_port

CLIENTS = 24


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "connections"
    evenly.make(path)
    return path


@pytest.fixture
def workers(shared: Path, tmp_path: Path) -> Iterator[str]:
    """Address of an application with three workers."""
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "tests.support.whoami:app", "--port", str(port), "--workers", "3",
        "--loop", SHARING, "--http", PROTOCOL, "--lifespan", "off", "--timeout-worker-healthcheck", "60",
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, evenly.SHARES: str(shared), "PYTHONPATH": str(REPOSITORY)}
    server = Mortal("whoami", command, answering(address), tmp_path, environment)
    server.start()
    yield address
    server.stop()


@pytest.mark.server
def test_clients_that_come_together_are_shared_among_all_workers(workers: str) -> None:
    everybody: set[str] = set()
    with httpx.Client(trust_env=False) as patient:
        while len(everybody) < 3:  # until each worker is there
            everybody.add(patient.get(workers, headers={"connection": "close"}).text)
    clients = [httpx.Client(trust_env=False) for _ in range(CLIENTS)]
    try:
        who = Counter(client.get(workers).text for client in clients)
        assert set(who) == everybody
        assert max(who.values()) - min(who.values()) <= 2
        # They stay with whom they came to.
        assert Counter(client.get(workers).text for client in clients) == who
    finally:
        for client in clients:
            client.close()


def test_a_worker_sees_what_the_living_others_have(shared: Path) -> None:
    mine, other = Shares(shared), Shares(shared)
    assert mine.least() is None, "both places are this process's own"
    mine.count(2)
    other.count(5)
    assert (mine.mine, other.mine) == (2, 5)


def test_the_place_of_a_worker_that_died_is_free_and_one_that_left_counts_no_more(shared: Path) -> None:
    code = "import sys; from pathlib import Path; from serving.evenly import Shares; Shares(Path(sys.argv[1])).count(7)"
    subprocess.run([sys.executable, "-c", code, str(shared)], check=True, cwd=REPOSITORY)
    mine = Shares(shared)
    assert (mine.mine, mine.least()) == (0, None)
    mine.count(3)
    mine.leave()
    after = Shares(shared)
    mine.count(-3)
    assert after.mine == 0
