"""Two simulated banks, the endpoint and the relay between them, all real servers, for a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from credit301.applications.outbox import Schedule
from credit301.partners.bank import load_banks
from credit301.partners.keys import platform_ring, sealed_to, simulated_key
from credit301.partners.relaying import Carrier
from credit301.settings import Settings
from credit301.signing.message import HttpMessage
from credit301.signing.sealing import CONTENT_TYPE, seal
from credit301.signing.signer import Signer
from credit301.workspace import Workspace
from serving.app import Service
from serving.auth import HEADER, secret_of
from serving.walk import Walk, Walker
from simulator.bank import Habits, SimulatedBank
from simulator.identity_provider import Behaviour, Provider
from tests.support.applications import database
from tests.support.endpoint import GOOD_ONE, city_in, filled_store, make_bundle
from tests.support.servers import running, until

PLATFORM, STANDARD = "demo", "demo_standard"
MODES = {PLATFORM: "platform", STANDARD: "standard"}
QUICK = Schedule(lease=5.0, first=0.05, longest=0.4, attempts=1000)


@dataclass
class City:
    """What the tests ask, and look at."""

    workspace: Workspace
    address: str
    provider: Provider
    banks: dict[str, SimulatedBank]
    addresses: dict[str, str]
    clients: dict[str, httpx.Client] = field(default_factory=dict)
    carrier: Carrier | None = None

    @property
    def inbox(self) -> str:
        """Where banks send their messages to."""
        return f"{self.address}/v1/partners/messages"

    def key(self, bank: str) -> str:
        """The API key of ``bank``."""
        return self.workspace.settings.secret(secret_of(bank))

    def codes(self, phone: str) -> list[str]:
        """What the telephone shows."""
        return [sent.code for sent in self.provider.sent.values() if sent.phone == phone]

    def walk(self, bank: str, entity: str = GOOD_ONE, **options: Any) -> Walk:
        """Walk ``entity`` from the draft to the money."""
        walker = Walker(bank, MODES[bank], self.address, self.key(bank), self.codes)
        try:
            return walker.walk("uscc", entity, **options)
        finally:
            walker.close()

    def seen(self, bank: str, application: str) -> dict[str, Any]:
        """The application with its history."""
        answer = self.clients[bank].get(f"/v1/applications/{application}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def state(self, bank: str, application: str) -> str:
        """Where it stands."""
        return str(self.seen(bank, application)["application"]["state"])

    def books(self, bank: str) -> dict[str, Any]:
        """What the bank has."""
        return self._simulated("GET", bank, "books")

    def month(self, bank: str) -> None:
        """Let a month pass at the bank."""
        self._simulated("POST", bank, "month")

    def outage(self, bank: str, seconds: float) -> None:
        """Have the bank away for a while."""
        self._simulated("POST", bank, "outage", {"seconds": seconds})

    def signed(self, bank: str, body: dict[str, Any], message_id: str | None = None) -> dict[str, Any]:
        """The arguments of a request that ``bank`` signs, sealed where it has to be."""
        content, to = msgspec.json.encode(body), sealed_to(self.workspace, load_banks(self.workspace)[bank])
        if to is None:
            return self.as_it_is(bank, content, message_id or body["message_id"])
        return self.as_it_is(bank, seal(content, to), message_id or body["message_id"], CONTENT_TYPE)

    def as_it_is(
        self, bank: str, content: bytes, message_id: str, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """The arguments of a request with ``content``, whatever it is, that ``bank`` signs."""
        asked = HttpMessage("POST", self.inbox, {"content-type": content_type}, content)
        signature = Signer(simulated_key(self.workspace, load_banks(self.workspace)[bank])).sign(asked, message_id)
        return {"content": content, "headers": asked.headers | signature}

    def tell(self, bank: str, **body: Any) -> httpx.Response:
        """Have ``bank`` send a message."""
        said = {"version": "1.0", "created_at": datetime.now(UTC).isoformat(), **body}
        return self.post(**self.signed(bank, said))

    def post(self, **request: Any) -> httpx.Response:
        """Send what was signed."""
        return httpx.post(self.inbox, trust_env=False, timeout=60, **request)

    def _simulated(self, method: str, bank: str, what: str, body: Any = None) -> dict[str, Any]:
        answer = httpx.request(
            method,
            f"{self.addresses[bank]}/simulated/{what}",
            json=body,
            headers={"Authorization": f"Bearer {self.banks[bank].token}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def submitted(world: City, bank: str, mode: str) -> str:
    """An application that is decided on, or waits for the bank to decide."""
    api = world.clients[bank]
    body = {"uscc": GOOD_ONE, "amount": "50000.00", "term_months": 12, "mode": mode}
    made = api.post("/v1/applications", json=body, headers={"Idempotency-Key": f"test-{uuid4().hex}"}).json()
    place = f"/v1/applications/{made['application_id']}"
    person = {"name": "张三", "id_number": "110101199003070011"}
    until_then = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    assert api.post(f"{place}/consent", json={"valid_until": until_then}).status_code == 200
    sent = api.post(f"{place}/identity/phone", json={**person, "phone": "13800000002"}).json()
    code = {"check": sent["check"], "code": world.codes("13800000002")[-1]}
    assert api.post(f"{place}/identity/phone/code", json=code).json()["outcome"] == "pass"
    assert api.post(f"{place}/identity/face", json={**person, "capture": "live-1"}).json()["outcome"] == "pass"
    assert api.post(f"{place}/submit").json()["state"] in {"offered", "scored"}
    return str(made["application_id"])


def accepted(world: City) -> str:
    """An application whose offer is accepted, to the bank where the platform decides."""
    number = submitted(world, PLATFORM, "platform")
    accepted = world.clients[PLATFORM].post(f"/v1/applications/{number}/accept")
    assert accepted.json()["state"] == "disbursement_instructed"
    return number


def said(kind: str, application: str, **more: Any) -> dict[str, Any]:
    """What a bank says of an application, under a new number."""
    now = datetime.now(UTC).isoformat()
    return {
        "kind": kind, "version": "1.0", "message_id": f"test-{uuid4()}", "created_at": now,
        "application_id": application, **more,
    }  # fmt: skip


@contextmanager
def city(home: Path) -> Iterator[City]:
    """Everything but the relay."""
    with ExitStack() as stack:
        store = stack.enter_context(filled_store())
        postgres = stack.enter_context(database(home))
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        provider = Provider("token-of-identity", Behaviour.perfect())
        environment.setenv("CREDIT301_IDENTITY_TOKEN", provider.token)
        settings = Settings(
            home=home,
            redis_url=f"redis://127.0.0.1:{store.port}/0",
            postgres_port=postgres.settings.postgres_port,
            identity_url=stack.enter_context(running(provider.app())),
        )
        workspace = Workspace.load(city_in(home / "city"), settings)
        banks, addresses = {}, {}
        for name, described in load_banks(workspace).items():
            key, ring = simulated_key(workspace, described), platform_ring(workspace)
            to = sealed_to(workspace, described)
            banks[name] = SimulatedBank(name, key, ring, "", "token-of-control", Habits.perfect(), seals_to=to)
            addresses[name] = stack.enter_context(running(banks[name].app()))
            environment.setenv(f"CREDIT301_BANK_{name.upper()}_URL", addresses[name])
        make_bundle(workspace.paths.bundles)
        service = Service(workspace, bundle=workspace.paths.bundles / "v1")
        made = City(workspace, stack.enter_context(running(service.app())), provider, banks, addresses)
        for name, bank in banks.items():
            bank.inbox = made.inbox
            made.clients[name] = stack.enter_context(
                httpx.Client(base_url=made.address, headers={HEADER: made.key(name)}, trust_env=False, timeout=60)
            )
        yield made


@contextmanager
def carrying(world: City, schedule: Schedule = QUICK) -> Iterator[Carrier]:
    """A relay in a thread of its own, stopped as a signal does it."""
    ready: list[tuple[Carrier, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stopping = asyncio.Event()
        carrier = Carrier(world.workspace, schedule=schedule)
        ready.append((carrier, asyncio.get_running_loop(), stopping))
        await carrier.run(stopping)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    until(lambda: ready, "the relay to start")
    carrier, loop, stopping = ready[0]
    try:
        yield carrier
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(30)
        assert not thread.is_alive()
