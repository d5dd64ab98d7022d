"""Messages: delivered at least once whatever dies, applied once, in order, and shown where they are given up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from credit301.applications import statements, verbs
from credit301.applications.changes import Change
from credit301.applications.database import Database
from credit301.applications.outbox import Again, Delivered, Never, Outcome, Relay, Schedule
from credit301.applications.records import Kind, Message
from credit301.applications.store import ApplicationStore
from credit301.errors import NotFound
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.support.applications import BANK, database, draft, url
from tests.support.postgres import Server
from tests.support.servers import running, until

pytestmark = pytest.mark.server
QUICK = Schedule(lease=0.5, first=0.0, longest=0.0, attempts=3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with database(tmp_path_factory.mktemp("outbox")) as started:
        yield started


@pytest.fixture(autouse=True)
def _empty(server: Server) -> None:
    import psycopg

    with psycopg.connect(url(server), autocommit=True) as connection:
        connection.execute("delete from applications.outbox")


def with_store(server: Server, act: Callable[[ApplicationStore], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        store = ApplicationStore(Database(url(server)), "wuhan")
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def caused(store: ApplicationStore, applications: int, each: int = 1) -> list[UUID]:
    """Some applications with messages, numbered by their payload."""
    numbers = []
    for _ in range(applications):
        found = await draft(store, verified=False)
        messages = [(Kind.WITHDRAWAL, {"number": number}) for number in range(each)]
        await store.change(found, Change(messages=messages))
        numbers.append(found.id)
    return numbers


async def left(store: ApplicationStore) -> list[Any]:
    rows: list[Any] = await store.database.fetch(statements.MESSAGES, workspace="wuhan", everything=False, most=10_000)
    return rows


async def empty(store: ApplicationStore) -> None:
    """Wait until everything was delivered."""
    for _ in range(6000):
        if not await left(store):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the outbox does not become empty")


def relay(store: ApplicationStore, deliver: Any, schedule: Schedule = QUICK, most: int = 32) -> Relay:
    return Relay(store.database, "wuhan", deliver, schedule, most=most)


def test_waits_grow_by_two_and_are_drawn_between_half_and_all() -> None:
    schedule = Schedule(first=1.0, longest=60.0)
    assert [schedule.wait(attempts, lambda: 1.0) for attempts in (1, 2, 3, 4, 20)] == [1.0, 2.0, 4.0, 8.0, 60.0]
    assert schedule.wait(4, lambda: 0.0) == 4.0


def test_the_messages_of_one_application_come_in_order_and_each_with_its_number(server: Server) -> None:
    async def act(store: ApplicationStore) -> None:
        numbers = await caused(store, 3, each=3)
        seen: dict[UUID, list[int]] = {}

        async def deliver(message: Message) -> Outcome:
            seen.setdefault(message.application, []).append(message.payload["number"])
            assert (message.tenant, message.kind) == (BANK.name, Kind.WITHDRAWAL)
            return Delivered()

        carrier = relay(store, deliver)
        assert [await carrier.once() for _ in range(4)] == [3, 3, 3, 0]
        assert seen == {number: [0, 1, 2] for number in numbers}

    with_store(server, act)


def test_several_relays_at_once_deliver_each_message_once(server: Server) -> None:
    async def act(store: ApplicationStore) -> None:
        await caused(store, 40)
        seen: Counter[UUID] = Counter()

        async def deliver(message: Message) -> Outcome:
            seen[message.id] += 1
            await asyncio.sleep(0.005)
            return Delivered()

        tasks = [asyncio.create_task(relay(store, deliver, Schedule(), most=5).run(idle=0.01)) for _ in range(4)]
        await empty(store)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(seen) == 40
        assert set(seen.values()) == {1}

    with_store(server, act)


def test_what_fails_is_tried_again_and_one_slow_receiver_does_not_keep_the_others_back(server: Server) -> None:
    async def act(store: ApplicationStore) -> None:
        slow, *others = await caused(store, 6)
        done: Counter[UUID] = Counter()
        tried: Counter[UUID] = Counter()
        blocked, others_done = asyncio.Event(), asyncio.Event()

        async def deliver(message: Message) -> Outcome:
            tried[message.application] += 1
            if message.application == slow:
                await blocked.wait()
            elif tried[message.application] < 3:
                raise ConnectionError("away")
            done[message.application] += 1
            if len(done) == len(others):
                others_done.set()
            return Delivered()

        task = asyncio.create_task(relay(store, deliver, Schedule(first=0.0), most=3).run(idle=0.01))
        await others_done.wait()
        blocked.set()
        await empty(store)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert set(done.values()) == {1}
        assert {tried[number] for number in others} == {3}

    with_store(server, act)


def test_what_is_given_up_is_shown_with_its_reason_and_may_be_tried_again(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = "13812345678"
    answers: list[Outcome] = [Never("no such loan"), Again(f"telephone {phone} is away")]

    async def act(store: ApplicationStore) -> None:
        await caused(store, 2)
        by_application: dict[UUID, Outcome] = {}

        async def deliver(message: Message) -> Outcome:
            if message.application not in by_application:
                by_application[message.application] = answers[len(by_application)]
            return by_application[message.application]

        carrier = relay(store, deliver)
        for _ in range(4):
            await carrier.once()
        assert await carrier.once() == 0

    with_store(server, act)
    workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", server.settings)
    assert verbs.messages(workspace) == {"pending": 0, "dead": 2}
    assert "no such" in capsys.readouterr().out

    dead = with_store(server, left)
    # Neither the table nor what is shown of it repeats a person's number.
    assert sorted(row["last_error"] for row in dead) == ["no such loan", "telephone 138****5678 is away"]
    assert sorted(row["attempts"] for row in dead) == [1, QUICK.attempts]
    assert verbs.messages(workspace, retry=str(dead[0]["id"])) == {"pending": 1, "dead": 1}
    with pytest.raises(NotFound):
        verbs.messages(workspace, retry=str(dead[0]["id"]))

    async def again(store: ApplicationStore) -> None:
        async def deliver(_: Message) -> Outcome:
            return Delivered()

        assert await relay(store, deliver).once() == 1

    with_store(server, again)
    assert verbs.messages(workspace) == {"pending": 0, "dead": 1}


class Receiver:
    """A bank's side: it takes its time, forgets to answer now and then, and applies each message once."""

    def __init__(self) -> None:
        self.came: Counter[str] = Counter()
        self.applied: list[str] = []
        self._lock = threading.Lock()

    async def take(self, request: Request) -> Response:
        message = msgspec.json.decode(await request.body(), type=Message)
        number = str(message.id)
        with self._lock:
            self.came[number] += 1
            if self.came[number] == 1:
                self.applied.append(number)
        await asyncio.sleep(0.03)
        # The answer to one in five is lost although the message is there.
        return Response(status_code=500 if self.came[number] == 1 and len(self.applied) % 5 == 0 else 200)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/", self.take, methods=["POST"])])


def test_relays_killed_in_the_middle_lose_nothing_and_the_receiver_applies_each_message_once(server: Server) -> None:
    expected = 48
    with_store(server, lambda store: caused(store, expected))
    receiver = Receiver()
    processes: list[subprocess.Popen[bytes]] = []
    with running(receiver.app) as address:
        command = [sys.executable, "-m", "tests.support.relay", url(server), address, "0.5"]
        try:
            for killed_after in (8, 24):
                processes.append(subprocess.Popen(command, cwd=REPOSITORY))
                until(lambda: len(receiver.applied) >= killed_after, "messages")  # noqa: B023
                processes[-1].kill()
                processes[-1].wait()
            processes.append(subprocess.Popen(command, cwd=REPOSITORY))
            until(lambda: with_store(server, left) == [], "the outbox to be empty", 120.0)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert len(receiver.applied) == len(set(receiver.applied)) == expected
    # It came more than once, and was applied once.
    assert sum(receiver.came.values()) > expected


def test_a_relay_that_dies_leaves_a_message_for_later_and_not_for_now(server: Server) -> None:
    async def act(store: ApplicationStore) -> None:
        await caused(store, 1)
        given = {"workspace": "wuhan", "most": 9}
        now = datetime.now(UTC) + timedelta(seconds=1)
        lease = now + timedelta(seconds=30)
        assert len(await store.database.fetch(statements.CLAIM_MESSAGES, now=now, until=lease, **given)) == 1
        assert await store.database.fetch(statements.CLAIM_MESSAGES, now=now, until=lease, **given) == []
        later = lease + timedelta(seconds=1)
        assert len(await store.database.fetch(statements.CLAIM_MESSAGES, now=later, until=later, **given)) == 1

    with_store(server, act)


def test_thousands_that_wait_in_a_table_that_nobody_has_analysed_do_not_keep_the_relay_from_the_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenth of the time that a statement is given: read anew for each message, the waiting ones take many times that.
    monkeypatch.setattr("credit301.applications.database.STATEMENT_SECONDS", 0.5)

    async def act(store: ApplicationStore) -> None:
        heads = await caused(store, applications=300)
        import psycopg

        with psycopg.connect(url(server), autocommit=True) as connection:
            connection.execute(
                "insert into applications.outbox"
                " (id, workspace, tenant, application_id, kind, payload, created_at, next_attempt_at)"
                " select gen_random_uuid(), workspace, tenant, application_id, kind, payload, created_at, next_attempt_at"
                " from applications.outbox cross join generate_series(1, 39)"
            )
        delivered: list[UUID] = []

        async def deliver(message: Message) -> Outcome:
            delivered.append(message.application)
            return Delivered()

        assert await relay(store, deliver, most=32).once() == 32
        assert delivered == heads[:32]

    with_store(server, act)
