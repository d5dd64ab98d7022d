"""B1: one decision in process."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import hiredis
import numpy as np
import uvloop

from benchmarks import peers
from benchmarks.city import CLIENT, City
from benchmarks.harness import Call, Measured, Round, calling, settled_memory, time_in_turn
from benchmarks.results import Figure
from credit301.features.packed_wire import entity_key
from credit301.features.windows.definition import window_sets
from credit301.governance.audit.writer import AuditWriter
from credit301.model.booster import Booster
from serving.decide import Application, Caller, DecisionFlow
from serving.features import OnlineStore
from serving.judge import Loaded
from serving.metrics import Metrics
from serving.models import ModelHolder
from serving.permission import ConsentGate
from serving.strategies import StrategyBook

REACH = "p50 <= 2 x floor, and >= 20 x faster than the peer"
WHAT = (
    "one decision in process: consent and features read, audited, sub-models, ensemble, rules, limit and price,"
    " reasons, evidence (without ring tags, which do not exist yet)"
)
FLOOR_TIMES = 2.0
PEER_TIMES = 20.0
ROUNDS = 7
CALLS, PEER_CALLS = 1500, 40
AMOUNT, TERM = Decimal("200000.00"), 12
_READ = 1 << 16


def measure(city: City, folder: Path) -> list[Figure]:
    """One decision beside Feast with MLflow in process, and beside the bare read and the bare models."""
    models = ModelHolder(Metrics(), city.workspace.entity.key)
    models.use_directory(city.bundle)
    loaded = models.current
    if loaded is None:
        raise RuntimeError("the bundle that was just loaded is not in use")
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        _decisions(city, models, runner) as ours,
        _bare(city, loaded) as floor,
    ):
        peer = peers.decide_in_process(city, folder)
        contenders = {
            "ours": (ours, CALLS),
            "floor": (calling(floor), CALLS),
            "peer": (calling(peer), PEER_CALLS),
        }
        with settled_memory():
            taken = time_in_turn(contenders, ROUNDS)
    return [_figure(share, {name: shares[share] for name, shares in taken.items()}) for share in (0.5, 0.99)]


def _figure(share: float, taken: dict[str, Measured]) -> Figure:
    ours, peer, floor = (taken[name].median for name in ("ours", "peer", "floor"))
    return Figure(
        id="B1",
        what=f"{WHAT}, p{share * 100:.0f}",
        unit="us",
        ours=ours,
        peer=peer,
        floor=floor,
        spread=(taken["ours"].least, taken["ours"].most),
        reached=ours <= FLOOR_TIMES * floor and peer >= PEER_TIMES * ours,
    )


@contextmanager
def _decisions(city: City, models: ModelHolder, runner: asyncio.Runner) -> Iterator[Round]:
    """The way that the endpoint goes, without HTTP."""
    workspace = city.workspace
    gate, windows = ConsentGate.of(workspace), window_sets(workspace)
    store = OnlineStore(workspace.settings.redis_address(), gate, windows=windows)
    audit = AuditWriter.of(workspace)
    strategies = StrategyBook(workspace, Metrics())
    flow = DecisionFlow(workspace, store, models, strategies, audit)
    caller = Caller(CLIENT, "benchmark")
    asked = [Application(entity, AMOUNT, TERM) for entity in city.entities]

    async def decide(first: int, count: int) -> list[float]:
        clock = time.perf_counter_ns
        taken = []
        for number in range(first, first + count):
            start = clock()
            await flow.decide(asked[number % len(asked)], caller)
            taken.append((clock() - start) / 1000)
        return taken

    try:
        # One loop for all calls of a round, as in a server: starting one costs more than some decisions.
        yield lambda first, count: runner.run(decide(first, count))
    finally:
        runner.run(store.close())
        audit.close()


@contextmanager
def _bare(city: City, loaded: Loaded) -> Iterator[Call]:
    """The same fields over a socket in one command made beforehand, then each sub-model's raw score by the C function.

    Nothing is decoded: the models score rows that were encoded beforehand.
    """
    plan, manifest = loaded.plan, loaded.manifest
    boosters = [Booster(loaded.scorer.bundle.files[m.file].decode(), len(m.features)) for m in manifest.submodels]
    places = [[plan.keys.index(f"{m.view}:{name}") for name in m.features] for m in manifest.submodels]
    address = urlsplit(city.workspace.settings.redis_address())
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = hiredis.Reader()

        def read(command: bytes) -> list[bytes | None]:
            connection.sendall(command)
            while True:
                reader.feed(connection.recv(_READ))
                reply = reader.gets()
                if reply is not False:
                    return reply

        commands, rows = [], []
        for entity in city.entities:
            key = entity_key(plan.project, plan.join_key, entity)
            commands.append(hiredis.pack_command(("HMGET", key, *plan.views)))  # type: ignore[arg-type]
            vector = loaded.scorer.encode_row(plan.decode(read(commands[-1])).values)
            rows.append([(b.raw, vector[p]) for b, p in zip(boosters, places, strict=True) if _known(vector[p])])

        def decide(number: int) -> None:
            place = number % len(commands)
            read(commands[place])
            for raw, values in rows[place]:
                raw(values)

        yield decide


def _known(values: np.ndarray) -> bool:
    return not bool(np.isnan(values).all())
