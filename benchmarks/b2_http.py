"""B2: decisions over HTTP, under load."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from benchmarks import peers
from benchmarks.city import City
from benchmarks.harness import Measured
from benchmarks.load import HOST, Answered, Load, send
from benchmarks.results import Figure
from benchmarks.servers import Command, running
from credit301 import console
from credit301.derive.features import SERVICE
from credit301.settings import PREFIX
from serving.auth import HEADER
from tests.support.ports import free_ports

REACH = (
    "p99 <= 10 ms; >= 1,000 decisions/s with 32 clients; >= 10 x the peer's rate; >= 0.5 of its rate where twice as "
    "much is asked for, and >= 0.9 right after"
)
WHAT = (
    "decisions over HTTP, two workers, {}"
    " (evidence has left the process before the answer, and is on the disk within 50 ms)"
)
PATH = "/v1/decisions"
P99_MS = 10.0
RATE, RATE_UNIT = 1000.0, "decisions/s"
PEER_TIMES = 10.0
WORKERS = 2
ROUNDS = 5
SECONDS, WARM_UP = 3.0, 0.5
AMOUNT, TERM = "200000.00", 12


@dataclass(frozen=True)
class Case:
    """How the load comes: ``pace`` requests a second, or (0) as fast as each client gets its answers."""

    title: str
    clients: int
    pace: float = 0.0


ONE = Case("1 client", 1)
MANY = Case("32 clients", 32)
# The peer cannot answer as many: its backlog would only grow, and its times would say how long one waited to look.
PACED = Case("1,000 requests/s offered on 32 connections; no peer, whose rate is far below", 32, RATE)
GOODPUT, RECOVERED = 0.5, 0.9
"""Shares of the capacity that are left where too much is asked for, and right after; the refusals cost something, too,
and those who ask are on the same cores."""
TIMES = 2.0
"""How many times as much as it can do the endpoint is asked for, to see what it does then."""
CROWD = 256
Found = dict[tuple[Case, str], list[Answered]]
"""Answers by case and contender, one entry a round."""


def measure(city: City, folder: Path) -> list[Figure]:
    """Latency and rate by case, beside Feast's and MLflow's servers and beside an echo."""
    ports = free_ports()
    found: Found = {}
    with _endpoint(city, folder, ports["serving_port"]) as ours, _echo(folder, ours, ports["site_port"]) as floor:
        _in_turn((ONE, MANY, PACED), {"ours": ours, "floor": floor}, found)
        beyond = _beyond(ours, Measured.of([answered.rate for answered in found[MANY, "ours"]]).median)
    with _peer(city, folder, ports["exchange_port"], ports["mlflow_port"]) as peer:
        _in_turn((ONE, MANY), {"peer": peer}, found)
    rates = [figure(case, "rate", found) for case in (ONE, MANY)]
    times = [figure(case, part, found) for case in (ONE, MANY, PACED) for part in ("p50", "p99")]
    return [*times, *rates, *beyond]


def _beyond(load: Load, capacity: float) -> list[Figure]:
    """What is answered where twice the ``capacity`` (decisions/s) is asked for, and right after; the floor is that."""
    asked = msgspec.structs.replace(load, clients=CROWD, pace=TIMES * capacity, refusable=True)
    after = msgspec.structs.replace(load, clients=MANY.clients)
    answered: list[tuple[Answered, Answered]] = []
    for _ in range(ROUNDS):
        answered.append((send(asked), send(after)))
        console.say(
            f"  {TIMES:g} x the capacity: {answered[-1][0].rate:,.0f}/s answered, p99 {answered[-1][0].p99:.0f} ms,"
            f" {answered[-1][0].refused:,.0f}/s refused; right after {answered[-1][1].rate:,.0f}/s"
        )
    return [beyond(capacity, [both[place].rate for both in answered], after=bool(place)) for place in (0, 1)]


def beyond(capacity: float, rates: list[float], *, after: bool) -> Figure:
    """The rate under too much load, or (``after``) right after it, beside the ``capacity`` (all decisions/s)."""
    measured = Measured.of(rates)
    told = "rate right after that, 32 clients" if after else f"rate where {TIMES:g} x that is asked for"
    return Figure(
        id="B2",
        what=WHAT.format(f"{told} (the floor: the rate of 32 clients)"),
        unit=RATE_UNIT,
        ours=measured.median,
        peer=None,
        floor=capacity,
        spread=(measured.least, measured.most),
        reached=measured.median >= (RECOVERED if after else GOODPUT) * capacity,
    )


def _in_turn(cases: Sequence[Case], loads: dict[str, Load], found: Found) -> None:
    for case in cases:
        for _ in range(ROUNDS):
            for name, load in loads.items():
                answered = send(msgspec.structs.replace(load, clients=case.clients, pace=case.pace))
                found.setdefault((case, name), []).append(answered)
                console.say(
                    f"  {name}, {case.title.partition(';')[0]}: {answered.rate:,.0f}/s,"
                    f" p50 {answered.p50:.2f} ms, p99 {answered.p99:.2f} ms"
                )


def figure(case: Case, quantity: str, found: Found) -> Figure:
    """One quantity of a case: ``p50``, ``p99`` or ``rate``."""

    def of(name: str) -> Measured | None:
        answers = found.get((case, name))
        return Measured.of([getattr(answered, quantity) for answered in answers]) if answers else None

    ours, peer, floor = of("ours"), of("peer"), of("floor")
    if ours is None:
        raise ValueError(f"nothing was measured with {case.title}")
    return Figure(
        id="B2",
        what=WHAT.format(f"{quantity}, {case.title}"),
        unit=RATE_UNIT if quantity == "rate" else "ms",
        ours=ours.median,
        peer=peer.median if peer else None,
        floor=floor.median if floor else None,
        spread=(ours.least, ours.most),
        reached=reached(case, quantity, ours.median, peer.median if peer else None),
    )


def reached(case: Case, quantity: str, ours: float, peer: float | None) -> bool:
    """Whether a figure is as it must be: a time in ms within the bound of p99, a rate above the peer's by far.

    The absolute rate is asked of many clients alone: one client that waits for each answer cannot fill a server.
    """
    if quantity != "rate":
        return ours <= P99_MS
    return peer is not None and ours >= PEER_TIMES * peer and (case.clients == 1 or ours >= RATE)


@contextmanager
def _endpoint(city: City, folder: Path, port: int) -> Iterator[Load]:
    """The endpoint as ``credit301 serve`` runs it, with the bundle of the city; the load for it."""
    workspace = city.workspace
    settings = workspace.settings
    command: Command = [Path(sys.executable).with_name("credit301"), "--workspace", workspace.directory, "serve"]
    command += ["--port", str(port), "--workers", str(WORKERS), "--bundle", city.bundle]
    environment = {
        f"{PREFIX}PROFILE": str(settings.profile),
        f"{PREFIX}HOME": str(settings.home),
        f"{PREFIX}HOST": HOST,
        f"{PREFIX}REDIS_URL": settings.redis_address(),
    }
    bodies = [
        json.dumps({workspace.entity.key: entity, "amount": AMOUNT, "term_months": TERM}) for entity in city.entities
    ]
    with running(command, folder / "serve.log", f"http://{HOST}:{port}/readyz", environment):
        yield Load(
            kind="bodies",
            clients=1,
            seconds=SECONDS,
            warm_up=WARM_UP,
            port=port,
            path=PATH,
            bodies=bodies,
            headers={HEADER: settings.secret("api_key")},
        )


@contextmanager
def _echo(folder: Path, load: Load, port: int) -> Iterator[Load]:
    """A server that gives back what the endpoint answered to the same requests; the same load for it."""
    address = f"http://{HOST}:{load.port}{load.path}"
    with httpx.Client(headers=load.headers, trust_env=False) as client:
        answers = {body: client.post(address, content=body).raise_for_status().text for body in load.bodies}
    recorded = folder / "answers.json"
    recorded.write_bytes(msgspec.json.encode(answers))
    command: Command = [sys.executable, "-m", "benchmarks.echo", str(port), recorded]
    with running(command, folder / "echo.log", f"http://{HOST}:{port}/healthz"):
        yield msgspec.structs.replace(load, port=port)


@contextmanager
def _peer(city: City, folder: Path, features: int, model: int) -> Iterator[Load]:
    """``feast serve`` and ``mlflow models serve``, each with one worker; the load of a caller that asks both."""
    package = peers.package(city, folder)
    peers.stock_store(city, folder)
    binaries = Path(sys.executable).parent
    feast: Command = [binaries / "feast", "--feature-store-yaml", peers.configuration(city, folder), "serve"]
    feast += ["--no-access-log", "--host", HOST, "--port", str(features)]
    # Without a limit of requests, or its only worker would be replaced in the middle of a round.
    feast += ["--max-requests", "0", "--max-requests-jitter", "0"]
    mlflow: Command = [binaries / "mlflow", "models", "serve", "--model-uri", package, "--env-manager", "local"]
    mlflow += ["--host", HOST, "--port", str(model), "--workers", "1"]
    # It looks for its web server on the path.
    path = {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    console.say("== the peer's servers")
    with (
        running(feast, folder / "feast.log", f"http://{HOST}:{features}/health"),
        running(mlflow, folder / "mlflow.log", f"http://{HOST}:{model}/health", path),
    ):
        yield Load(
            kind="pair",
            clients=1,
            seconds=SECONDS,
            warm_up=WARM_UP,
            port=features,
            path="/get-online-features",
            bodies=[
                json.dumps(
                    {
                        "feature_service": SERVICE,
                        "entities": {city.workspace.entity.key: [entity]},
                        "full_feature_names": True,
                    }
                )
                for entity in city.entities
            ],
            model_port=model,
            columns=peers.columns(city),
        )
