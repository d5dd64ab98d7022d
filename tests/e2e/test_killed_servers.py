"""Enterprises apply while servers are killed at random: each application ends in one decision and one payment.

As many as ``CREDIT301_FAULT_APPLICATIONS`` says apply, 60 by default, and more until each server has been killed;
`make faults` runs it with 10,000.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from credit301 import verbs
from credit301.applications.migrate import DATABASE, migrate
from credit301.governance.audit.entry import Event
from credit301.governance.audit.verify import records
from credit301.settings import PREFIX, Settings
from credit301.stack import health, postgres, redis_server
from credit301.workspace import Workspace
from serving.auth import HEADER
from tests.support.endpoint import city_in, make_bundle
from tests.support.mortal import Mortal, answering
from tests.support.ports import free_ports
from tests.support.scoring import GOOD, put, valid_uscc
from tests.support.servers import until

pytestmark = [pytest.mark.server, pytest.mark.timeout(7200)]
APPLICATIONS = int(os.environ.get("CREDIT301_FAULT_APPLICATIONS", "60"))
CLIENTS = 8
ENTERPRISES = 40
SEED = 301
# Seconds between the start of one server and the end of the next.
PAUSE = (0.1, min(10.0, APPLICATIONS / 60))
PATIENCE_SECONDS = 180.0
PERSON = {"name": "张三", "id_number": "110101199003070011"}
TERMS = {"amount": "200000.00", "term_months": 12}
UNTIL = "2030-12-31T23:59:59+08:00"
CREDIT301 = Path(sys.prefix) / "bin" / "credit301"


@dataclass
class World:
    """Everything that runs, and what may be killed of it."""

    settings: Settings
    workspace: Workspace
    servers: dict[str, Mortal]
    bank: str
    entities: list[str]
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def mortal(self) -> list[str]:
        """Names of what is killed: not the bank, which keeps its books in memory and fails enough by itself."""
        return sorted(set(self.servers) - {"bank"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Online store, database, endpoint with two workers, identity provider, relay and a bank, each a process."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, **free_ports())
    workspace = Workspace.load(city_in(home / "city"), settings)
    entities = [valid_uscc(f"91420100MA4K{number:04d}") for number in range(ENTERPRISES)]
    with ExitStack() as running:
        servers: dict[str, Mortal] = {}

        def start(name: str, command: list[str | Path], answers: Any) -> None:
            servers[name] = Mortal(name, command, answers, home, _environment(settings, workspace))
            running.callback(servers[name].stop)
            servers[name].start()

        def verb(*arguments: str | Path) -> list[str | Path]:
            return [CREDIT301, "--workspace", workspace.directory, *arguments]

        redis_server.prepare(settings)
        start("redis", list(redis_server.command(settings)), _well(health.redis(settings.redis_address())))
        store = redis.Redis.from_url(settings.redis_address())
        for entity in entities:
            put(store, entity, GOOD)
        postgres.prepare(settings)
        address = settings.postgres_address("postgres")
        start("postgres", list(postgres.command(settings)), _well(health.postgres(address)))
        postgres.create_databases(settings, [DATABASE])
        migrate(settings)
        make_bundle(workspace.paths.bundles)
        bundle = workspace.paths.bundles / "v1"
        here = f"http://127.0.0.1:{settings.serving_port}"
        provider = f"http://127.0.0.1:{settings.identity_port}"
        start("identity", verb("identity-provider", "--perfect"), answering(f"{provider}/healthz"))
        start("endpoint", verb("serve", "--workers", "2", "--bundle", bundle), answering(f"{here}/readyz"))
        bank = f"http://127.0.0.1:{settings.bank_platform_port}"
        start("bank", verb("bank", "demo"), answering(f"{bank}/healthz"))
        start("relay", verb("relay"), answering(f"http://127.0.0.1:{settings.relay_port}/metrics"))
        yield World(settings, workspace, servers, bank, entities)


def _environment(settings: Settings, workspace: Workspace) -> dict[str, str]:
    own = {f"{PREFIX}{name.upper()}": str(value) for name, value in settings if name.endswith("_port")}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    return {**inherited, **own, f"{PREFIX}HOME": str(settings.home), f"{PREFIX}WORKSPACE": str(workspace.directory)}


def _well(check: health.Check) -> Any:
    def well() -> bool:
        try:
            check()
        except Exception:  # noqa: BLE001 - not well yet, whatever the reason
            return False
        return True

    return well


def _kill_at_random(world: World, load: Future[Any]) -> None:
    """Until ``load`` is done, kill one server after the other, and start each again a moment later."""
    drawn = random.Random(SEED)
    left = list[str]()
    while not load.done():
        time.sleep(drawn.uniform(*PAUSE))
        left = left or drawn.sample(world.mortal, len(world.mortal))
        server = world.servers[left.pop()]
        server.kill()
        world.kills[server.name] += 1
        time.sleep(drawn.uniform(0.0, 1.0))
        server.start()


class _Applicant:
    """A bank's system that applies for its customers, and asks again for as long as it gets no clear answer."""

    def __init__(self, api: httpx.AsyncClient, provider: httpx.AsyncClient) -> None:
        self._api = api
        self._provider = provider
        self.repeated = 0

    async def apply(self, number: int, entity: str) -> str:
        """One application, from the draft to the acceptance; its number."""
        phone = f"138{number:07d}1"
        key = {"Idempotency-Key": f"killed-{number:08d}"}
        made = await self._asked(self._api, "/v1/applications", {"uscc": entity, **TERMS}, key)
        place = f"/v1/applications/{made['application_id']}"
        await self._asked(self._api, f"{place}/consent", {"valid_until": UNTIL})
        await self._verify(place, phone)
        submitted = await self._asked(self._api, f"{place}/submit", None)
        assert submitted["state"] == "offered", submitted
        accepted = await self._asked(self._api, f"{place}/accept", None)
        assert accepted["state"] in {"disbursement_instructed", "disbursed"}, accepted
        return str(made["application_id"])

    async def _verify(self, place: str, phone: str) -> None:
        while True:
            sent = await self._asked(self._api, f"{place}/identity/phone", {**PERSON, "phone": phone})
            told = await self._asked(self._provider, "/simulated/phone", {"phone": phone})
            if not told["codes"]:
                continue
            body = {"check": sent["check"], "code": told["codes"][-1]}
            confirmed = await self._asked(self._api, f"{place}/identity/phone/code", body)
            face = await self._asked(self._api, f"{place}/identity/face", {**PERSON, "capture": "live-1"})
            if confirmed["outcome"] == face["outcome"] == "pass":
                return

    async def _asked(
        self,
        client: httpx.AsyncClient,
        path: str,
        body: dict[str, Any] | None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        said = ""
        while time.monotonic() < deadline:
            try:
                answer = await client.post(path, json=body, headers=headers)
            except httpx.TransportError as error:
                said = type(error).__name__
            else:
                if answer.is_success:
                    found: dict[str, Any] = answer.json()
                    return found
                said = answer.text
                busy = answer.status_code in {409, 429} or answer.status_code >= 500
                assert busy, f"{path} answered {answer.status_code}: {said}"
            self.repeated += 1
            await asyncio.sleep(0.1)
        raise AssertionError(f"{path} gave no answer within {PATIENCE_SECONDS} s; the last was {said}")


async def _everybody(world: World) -> tuple[list[str], int]:
    """Numbers of the applications of ``CLIENTS`` at once, and how often something had to be asked again."""
    # On a fast machine the applications would be through before each server has had its turn.
    more = itertools.takewhile(lambda _: len(world.kills) < len(world.mortal), itertools.count(APPLICATIONS))
    key = {HEADER: world.settings.secret("api_key")}
    phones = {"Authorization": f"Bearer {world.settings.secret('identity_token')}"}
    waiting = itertools.chain(range(APPLICATIONS), more)
    numbers: list[str] = []
    here, provider = (
        f"http://127.0.0.1:{port}" for port in (world.settings.serving_port, world.settings.identity_port)
    )
    async with (
        httpx.AsyncClient(base_url=here, headers=key, trust_env=False, timeout=15) as api,
        httpx.AsyncClient(base_url=provider, headers=phones, trust_env=False, timeout=15) as told,
    ):
        applicant = _Applicant(api, told)

        async def client() -> None:
            for number in waiting:
                made = await applicant.apply(number, world.entities[number % len(world.entities)])
                numbers.append(made)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return numbers, applicant.repeated


def test_each_application_ends_in_one_decision_and_at_most_one_payment(world: World) -> None:
    # The servers are started by this thread: they end with the one that started them.
    with ThreadPoolExecutor(1) as beside:
        everybody = beside.submit(lambda: asyncio.run(_everybody(world)))
        _kill_at_random(world, everybody)
    numbers, repeated = everybody.result()
    print(f"{len(numbers)} applications, {dict(world.kills)} killed, {repeated} requests repeated")  # noqa: T201
    applied = len(set(numbers))
    assert applied == len(numbers) >= APPLICATIONS
    assert set(world.kills) == set(world.mortal) == {"endpoint", "identity", "postgres", "redis", "relay"}
    # The bank refuses to pay a few of them, as banks do.
    until(lambda: _count(world, "state in ('disbursed', 'declined')") == applied, "the bank's answers", 300.0)
    assert _count(world, "true") == applied
    # One decision each: in the history, and in the evidence, whose chain holds in spite of the deaths.
    for event in ("create", "submit", "offer", "accept", "instruct_disbursement"):
        assert _once(world, "application_event", f"event = '{event}'") == applied
    assert _once(world, "outbox", "kind = 'disbursement_instruction'") == applied
    decided = Counter(
        record.entry.decision for record in records(world.workspace.paths.audit) if record.entry.event is Event.DECIDED
    )
    assert decided == Counter(_column(world, "decision_id"))
    books = _books(world)
    assert set(books["disbursements"].values()) == {1}
    assert len(books["disbursements"]) == _count(world, "state = 'disbursed'")
    assert len(books["arrivals"]) == applied
    verbs.call("audit.verify", world.workspace)


def _column(world: World, column: str) -> list[str]:
    with psycopg.connect(world.settings.postgres_address(DATABASE)) as connection:
        return [str(row[0]) for row in connection.execute(f"select {column} from applications.application")]  # type: ignore[arg-type]


def _count(world: World, condition: str) -> int:
    with psycopg.connect(world.settings.postgres_address(DATABASE)) as connection:
        query = f"select count(*) from applications.application where {condition}"
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    return int(row[0]) if row else 0


def _once(world: World, table: str, condition: str) -> int:
    """How many applications have exactly one row of ``table`` for which ``condition`` holds."""
    each = f"select 1 from applications.{table} where {condition} group by application_id having count(*) = 1"
    with psycopg.connect(world.settings.postgres_address(DATABASE)) as connection:
        row = connection.execute(f"select count(*) from ({each}) as once").fetchone()  # type: ignore[arg-type]
    return int(row[0]) if row else 0


def _books(world: World) -> dict[str, Any]:
    """What the bank says that came, and that it paid, how often."""
    token = world.settings.secret("bank_control_token")
    answer = httpx.get(
        f"{world.bank}/simulated/books", headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=20
    )
    found: dict[str, Any] = answer.raise_for_status().json()
    return found
