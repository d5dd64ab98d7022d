"""Checks that a decision reads what training learnt from: history, Feast's answer and the endpoint's own path."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from credit301.derive.features import SERVICE, view_specs
from credit301.errors import FeatureStoreError
from credit301.features.online_address import OnlineAddress
from credit301.features.packed_wire import Layout, layout_key
from credit301.features.vector import Plan, UnknownLayout, Wanted
from credit301.features.windows.definition import WindowSet, window_sets
from credit301.features.windows.history import ARRIVED, arrived, counts_at
from credit301.identity.keyed_hash import KeyedHash
from credit301.model.bundle import FeatureSpec, ViewSpec
from credit301.workspace import Workspace
from feature_repo.materialize import materialized_range
from feature_repo.store import as_known, open_store, reachable

if TYPE_CHECKING:
    from feast import FeatureStore

SHOWN = 3
TRIES = 3
Vector = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """A value that is not the same online; ``path`` says who read it."""

    entity: str
    path: str
    name: str
    online: Any
    offline: Any

    def __str__(self) -> str:
        view, _, feature = self.name.partition("__")
        return f"{self.entity} {view}:{feature}: {self.path} {self.online!r}, offline {self.offline!r}"


def check_parity(workspace: Workspace, sample: int = 200, seed: int = 301) -> dict[str, Any]:
    """Compare online and offline values of a random sample of entities, and of subjects of windows, value for value.

    Raises:
        FeatureStoreError: a value differs; the first few are named, entities by their keyed hash.
    """
    entities = _sample(workspace, sample, seed)
    store = open_store(workspace)
    with reachable():
        offline = _offline(workspace, store, entities)
        paths = {"online": _feast(workspace, store, entities), "served": _served(workspace, entities)}
        different = list(_differences(workspace, offline, paths))
        subjects, windows_different = _windows(workspace, sample, seed)
    compared = sum(len(vector) for vector in offline.values())
    different += windows_different
    if different:
        raise FeatureStoreError(
            f"{len({(item.entity, item.name) for item in different})} of {compared} online values differ from the "
            f"marts: {'; '.join(map(str, different[:SHOWN]))}.",
            hint="Run `credit301 materialize` and `credit301 features rebuild_windows`; "
            "if it persists, something else writes there.",
        )
    return {"entities": len(entities), "values": compared, "subjects": subjects, "different": 0}


def _sample(workspace: Workspace, sample: int, seed: int) -> list[str]:
    """Keys of entities in any mart at any time, chosen at random but the same for the same seed."""
    key = workspace.entity.key
    paths = [str(workspace.paths.mart(spec.mart)) for spec in view_specs(workspace)]
    everybody = " union ".join(f'select "{key}" from read_parquet(?)' for _ in paths)
    with duckdb.connect() as connection:
        rows = connection.execute(
            f'select distinct "{key}" from ({everybody}) order by hash("{key}" || ?), 1 limit ?',
            [*paths, str(seed), sample],
        ).fetchall()
    return [str(row[0]) for row in rows]


def _offline(workspace: Workspace, store: FeatureStore, entities: list[str]) -> dict[str, Vector]:
    """What Feast's history has on each of ``entities`` now: the join that the training set is made with."""
    import pandas as pd

    key = workspace.entity.key
    # The time of a simulated city may be ahead of this machine's.
    now = max(datetime.now(UTC), materialized_range(workspace)[1])
    frame = pd.DataFrame({key: entities, "event_timestamp": now})
    joined = as_known(store, frame).to_arrow()
    return {row[key]: {name: value for name, value in row.items() if "__" in name} for row in joined.to_pylist()}


def _feast(workspace: Workspace, store: FeatureStore, entities: list[str]) -> dict[str, Vector]:
    key = workspace.entity.key
    answer = store.get_online_features(
        features=store.get_feature_service(SERVICE),
        entity_rows=[{key: entity} for entity in entities],
        full_feature_names=True,
    ).to_dict()
    return {
        entity: {name: values[place] for name, values in answer.items() if name != key}
        for place, entity in enumerate(entities)
    }


def _served(workspace: Workspace, entities: list[str]) -> dict[str, Vector]:
    """What the endpoint would read: the same plan and decoding, over a connection of its own."""
    plan = Plan(Wanted(workspace.name, workspace.entity.key, tuple(_views(workspace))))
    client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client(socket_timeout=30)
    try:
        with client.pipeline(transaction=False) as pipeline:
            for entity in entities:
                pipeline.hmget(plan.key(entity), plan.fields)
            replies = pipeline.execute()
        return {
            entity: dict(zip((key.replace(":", "__") for key in plan.keys), _decoded(client, plan, reply), strict=True))
            for entity, reply in zip(entities, replies, strict=True)
        }
    finally:
        client.close()


def _decoded(client: Any, plan: Plan, reply: Any) -> list[Any]:
    while True:
        try:
            return plan.decode(reply).values  # noqa: PD011 - no data frame
        except UnknownLayout as unknown:
            text = client.get(layout_key(plan.project, unknown.fingerprint))
            if text is None:
                raise FeatureStoreError(
                    f"The online store does not say how its rows are laid out ({unknown}).",
                    hint="Materialize the features again.",
                ) from unknown
            plan.learn(Layout.parse(text))


def _views(workspace: Workspace) -> Iterator[ViewSpec]:
    for spec in view_specs(workspace):
        features = tuple(
            FeatureSpec(feature.name, feature.kind, () if feature.kind == "category" else None)
            for feature in spec.features
        )
        yield ViewSpec(spec.name, spec.dimension, features, field=spec.field, ttl_seconds=spec.ttl_seconds)


def _differences(
    workspace: Workspace, offline: Mapping[str, Vector], paths: Mapping[str, Mapping[str, Vector]]
) -> Iterator[Difference]:
    found = [
        (entity, path, name, online[entity].get(name), value)
        for entity, vector in offline.items()
        for name, value in vector.items()
        for path, online in paths.items()
        if not _same(online[entity].get(name), value)
    ]
    if found:
        named = KeyedHash.from_settings(workspace.settings)
        yield from (Difference(named(entity), *rest) for entity, *rest in found)


def _same(online: Any, offline: Any) -> bool:
    missing = [value is None or (isinstance(value, float) and math.isnan(value)) for value in (online, offline)]
    return all(missing) or (not any(missing) and bool(online == offline))


def _windows(workspace: Workspace, sample: int, seed: int) -> tuple[int, list[Difference]]:
    """Compare the windows of a sample of subjects; where an event may have come meanwhile, it tries again."""
    sets = window_sets(workspace)
    if not sets:
        return 0, []
    client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client(socket_timeout=30)
    compared, different = 0, []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for windows in sets:
            for _ in range(TRIES):
                subjects, found = _compare_windows(workspace, connection, client, windows, (sample, seed))
                if not found:
                    break
            compared += subjects
            different += found
    client.close()
    return compared, different


def _compare_windows(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    client: Any,
    windows: WindowSet,
    chosen: tuple[int, int],
) -> tuple[int, list[Difference]]:
    named = KeyedHash.from_settings(workspace.settings)
    arrived(connection, workspace, windows)
    now = time.time_ns() // 1000
    since = datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(microseconds=now - windows.longest)
    compared, different = 0, []
    for subject in windows.subjects:
        values = [
            row[0]
            for row in connection.execute(
                f'select "{subject.column}" from {ARRIVED} where "{windows.contract.time.event_time}" > ? '
                f'and "{subject.column}" is not null group by 1 order by hash("{subject.column}" || ?), 1 limit ?',
                [since, str(chosen[1]), chosen[0]],
            ).fetchall()
        ]
        if not values:
            continue
        with client.pipeline(transaction=False) as pipeline:
            for value in values:
                pipeline.get(windows.key(subject.column, value))
            replies = pipeline.execute()
        points = pa.table({"at": pa.array([now] * len(values), pa.int64()), subject.column: values})
        for value, reply, offline in zip(
            values, replies, counts_at(connection, windows, points).to_pylist(), strict=True
        ):
            online = windows.counts(subject.column, reply, now)
            different += [
                Difference(named(value), "online", name.replace(":", "__"), number, offline[name])
                for name, number in online.items()
                if number != offline[name]
            ]
        compared += len(values)
    return compared, different
