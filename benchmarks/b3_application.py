"""B3: from an application that is submitted to the bank that is instructed to pay, over HTTP, with every store."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.city import City
from benchmarks.harness import BenchmarkError, Measured, percentile
from benchmarks.results import Figure
from benchmarks.servers import Command, running
from credit301 import console
from credit301.settings import PREFIX
from serving.auth import HEADER
from tests.support.applications import database
from tests.support.ports import free_ports

REACH = "p99 <= 1 s from submission to the instruction to pay"
P99_MS = 1_000.0
WHAT = "application submitted to disbursement instructed over HTTP, {}, 8 at once; no peer and no floor"
CLIENTS, ROUNDS, EACH = 8, 3, 100
HOST = "127.0.0.1"
PLACE = "/v1/applications"
TERMS = {"amount": "200000.00", "term_months": 12}
PERSON = {"name": "张三", "id_number": "110101199003070011"}
UNTIL = "2030-12-31T23:59:59+08:00"


def measure(city: City, folder: Path) -> list[Figure]:
    """Latency from the submission to the answer that the bank is instructed, and the rate of whole applications."""
    with _endpoint(city, folder) as (address, identity, phones):
        # The first decisions of a process are slower; they are not measured.
        asyncio.run(_round(city, address, identity, phones, clients=1))
        rounds = [asyncio.run(_round(city, address, identity, phones)) for _ in range(ROUNDS)]
    for times, pace in rounds:
        console.say(
            f"  p50 {percentile(times, 0.5):.1f} ms, p99 {percentile(times, 0.99):.1f} ms; {pace:.0f}/s from the draft"
        )
    p50, p99 = (Measured.of([percentile(times, share) for times, _ in rounds]) for share in (0.5, 0.99))
    rate = Measured.of([pace for _, pace in rounds])
    return [
        _figure("p50", "ms", p50, reached=p50.median <= P99_MS),
        _figure("p99", "ms", p99, reached=p99.median <= P99_MS),
        _figure("rate from the draft on, eight requests each", "applications/s", rate, reached=True),
    ]


def _figure(quantity: str, unit: str, found: Measured, *, reached: bool) -> Figure:
    return Figure(
        id="B3",
        what=WHAT.format(quantity),
        unit=unit,
        ours=found.median,
        peer=None,
        floor=None,
        spread=(found.least, found.most),
        reached=reached,
    )


_NUMBERS = itertools.count(time.time_ns())


async def _round(
    city: City, address: str, identity: str, phones: dict[str, str], clients: int = CLIENTS
) -> tuple[list[float], float]:
    """Milliseconds from submission to instruction of those that were offered a loan, and applications a second."""
    key = {HEADER: city.workspace.settings.secret("api_key")}
    entities = itertools.cycle(city.entities)
    times: list[float] = []
    async with (
        httpx.AsyncClient(base_url=address, headers=key, trust_env=False, timeout=30) as api,
        httpx.AsyncClient(base_url=identity, headers=phones, trust_env=False, timeout=30) as provider,
    ):

        async def client() -> None:
            for _ in range(EACH // CLIENTS):
                times.extend(await _one(api, provider, city.workspace.entity.key, next(entities)))

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        took = time.perf_counter() - began
    if not times:
        raise BenchmarkError("Nobody was offered a loan, so that nothing was instructed.")
    return times, EACH // CLIENTS * clients / took


async def _one(api: httpx.AsyncClient, provider: httpx.AsyncClient, key: str, entity: str) -> list[float]:
    number = next(_NUMBERS)
    phone = f"138{number % 10**7:07d}1"
    made = await _asked(api, PLACE, {key: entity, **TERMS}, {"Idempotency-Key": f"bench-{number}"})
    place = f"{PLACE}/{made['application_id']}"
    await _asked(api, f"{place}/consent", {"valid_until": UNTIL})
    sent = await _asked(api, f"{place}/identity/phone", {**PERSON, "phone": phone})
    codes = (await _asked(provider, "/simulated/phone", {"phone": phone}))["codes"]
    await _asked(api, f"{place}/identity/phone/code", {"check": sent["check"], "code": codes[-1]})
    await _asked(api, f"{place}/identity/face", {**PERSON, "capture": "live-1"})
    began = time.perf_counter()
    decided = await _asked(api, f"{place}/submit", None)
    if decided["state"] != "offered":
        return []
    paid = await _asked(api, f"{place}/accept", None)
    if paid["state"] != "disbursement_instructed":
        raise BenchmarkError(f"An accepted offer is {paid['state']}.")
    return [(time.perf_counter() - began) * 1000]


async def _asked(
    client: httpx.AsyncClient, path: str, body: dict[str, object] | None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    answer = await client.post(path, json=body, headers=headers)
    if not answer.is_success:
        raise BenchmarkError(f"{path} answered {answer.status_code}: {answer.text[:300]}")
    found: dict[str, Any] = answer.json()
    return found


@contextmanager
def _endpoint(city: City, folder: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Addresses of endpoint and identity provider (which answers at once), and the header that the latter wants."""
    workspace, ports = city.workspace, free_ports()
    settings = workspace.settings
    program: Command = [Path(sys.executable).with_name("credit301"), "--workspace", workspace.directory]
    identity, address = (f"http://{HOST}:{ports[name]}" for name in ("identity_port", "serving_port"))
    with database(folder / "b3") as server:
        environment = {
            f"{PREFIX}PROFILE": str(settings.profile),
            f"{PREFIX}HOME": str(settings.home),
            f"{PREFIX}HOST": HOST,
            f"{PREFIX}REDIS_URL": settings.redis_address(),
            f"{PREFIX}POSTGRES_URL": server.url.rpartition("/")[0],
            f"{PREFIX}IDENTITY_URL": identity,
        }
        provider = [*program, "identity-provider", "--perfect", "--port", str(ports["identity_port"])]
        serve = [*program, "serve", "--port", str(ports["serving_port"]), "--bundle", city.bundle]
        with (
            running(provider, folder / "identity.log", f"{identity}/healthz", environment),
            running(serve, folder / "applications.log", f"{address}/readyz", environment),
        ):
            yield address, identity, {"Authorization": f"Bearer {settings.secret('identity_token')}"}
