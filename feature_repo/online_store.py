"""Feast's Redis online store with packed rows: one value a view, one round trip an entity, written from Arrow.

Everything else (clients, cluster and sentinel, registry, teardown) is stock Feast's, by inheritance. A row that became
known later is never overwritten by one that became known earlier, so that a repeated or late materialization does no
harm, while a corrected source, whose rows are known later, may replace rows of any event time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from feast import FeatureView, RepoConfig, utils
from feast.infra.online_stores.helpers import _redis_key, _redis_key_prefix
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, _versioned_fv_name
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, String
from redis import Redis, RedisCluster

from credit301.errors import FeatureStoreError
from credit301.features.packed_wire import (
    WRITE_SCRIPT,
    Kind,
    Layout,
    fingerprint_of,
    layout_key,
    nan_columns,
    unpack,
)
from credit301.features.packing import pack

ROWS_A_CALL = 512
CALLS_A_PIPELINE = 32
SCANNED_AT_ONCE = 5_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

ProtoRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
ReadRow = tuple[datetime | None, dict[str, Value] | None]


class PackedRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """As stock Feast's, whose ``client: glide`` and ``skip_dedup`` have no effect here."""

    type: Literal["feature_repo.online_store.PackedRedisOnlineStore"] = (  # type: ignore[assignment]
        "feature_repo.online_store.PackedRedisOnlineStore"
    )


class PackedRedisOnlineStore(RedisOnlineStore):  # type: ignore[misc]
    """Packed rows in Redis, see :mod:`credit301.features.packed_wire`."""

    def __init__(self) -> None:
        super().__init__()
        self._layouts: dict[tuple[str, int], Layout] = {}

    # -- writing

    def write_arrow(
        self, config: RepoConfig, view: FeatureView, keys: pa.Array, columns: dict[str, pa.Array], times: _Times
    ) -> int:
        """Write one row for each of ``keys`` (Redis keys, binary); returns how many were not too old to be written."""
        layout = layout_of(view)
        rows = pack(layout, columns, *times)
        client = self._get_client(config.online_store)
        client.set(layout_key(config.project, layout.fingerprint), layout.text)
        field = _versioned_fv_name(view, config).encode("utf-8")
        expire = config.online_store.key_ttl_seconds or 0
        return _write(client, field, expire, keys.to_pylist(), rows.to_pylist())

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[ProtoRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows given as protobuf, as Feast's own engines and ``push`` give them."""
        if not data:
            return
        version = config.entity_key_serialization_version
        keys = [_redis_key(config.project, key, entity_key_serialization_version=version) for key, _, _, _ in data]
        layout = layout_of(table)
        columns = {
            name: _from_protos([values.get(name) for _, values, _, _ in data], kind)
            for name, kind in zip(layout.names, layout.kinds, strict=True)
        }
        event = np.array([_microseconds(event) for _, _, event, _ in data], dtype=np.int64)
        created = np.array([_microseconds(created or event) for _, _, event, created in data], dtype=np.int64)
        self.write_arrow(config, table, pa.array(keys, pa.binary()), columns, (created, event))
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[ProtoRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """As :meth:`online_write_batch`, off the event loop."""
        import asyncio

        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    # -- reading

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """Rows of one view, in the order of ``entity_keys``; ``(None, None)`` where there is none."""
        wanted = requested_features or [feature.name for feature in table.features]
        keys = self._generate_redis_keys_for_entities(config, entity_keys)
        (rows,) = self._read(config, [(_versioned_fv_name(table, config), wanted, keys)])
        return rows

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """As :meth:`online_read`, off the event loop."""
        import asyncio

        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: Sequence[tuple[FeatureView, list[str]]],
        join_key_values: Any,
        entity_name_to_join_key_map: Any,
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """All views of all entities in one round trip."""
        wanted, places = [], []
        for view, names in grouped_refs:
            values, indexes, length = utils._get_unique_entities(  # noqa: SLF001 - as stock Feast's stores do
                view, join_key_values, entity_name_to_join_key_map
            )
            keys = self._generate_redis_keys_for_entities(config, utils._get_entity_key_protos(values))  # noqa: SLF001
            wanted.append((_versioned_fv_name(view, config), names, keys))
            places.append((indexes, length))
        read = self._read(config, wanted)
        for (view, names), rows, (indexes, length) in zip(grouped_refs, read, places, strict=True):
            utils._populate_response_from_feature_data(  # noqa: SLF001
                names,
                rows,
                indexes,
                online_features_response,
                full_feature_names,
                view,
                length,
                include_feature_view_version_metadata,
            )

    async def _read_features_per_fv_async(self, *arguments: Any) -> None:
        import asyncio

        await asyncio.to_thread(self._read_features_per_fv, *arguments)

    def _read(self, config: RepoConfig, wanted: list[tuple[str, list[str], list[bytes]]]) -> list[list[ReadRow]]:
        """For each of ``wanted`` (view, features, keys), its rows; one HMGET a distinct key, all in one pipeline."""
        fields: dict[bytes, dict[str, int]] = {}
        for view, _, keys in wanted:
            for key in keys:
                asked = fields.setdefault(key, {})
                asked.setdefault(view, len(asked))
        with self._get_client(config.online_store).pipeline(transaction=False) as pipeline:
            for key, asked in fields.items():
                pipeline.hmget(key, list(asked))
            found = dict(zip(fields, pipeline.execute(), strict=True))
        return [
            [self._row(config, found[key][fields[key][view]], names) for key in keys] for view, names, keys in wanted
        ]

    def _row(self, config: RepoConfig, data: bytes | None, names: list[str]) -> ReadRow:
        if data is None:
            return None, None
        layout = self._layout(config, fingerprint_of(data))
        row = unpack(layout, data)
        nans = nan_columns(layout, data)
        values = dict(zip(layout.names, zip(layout.kinds, row.values, strict=True), strict=True))
        read = {name: _to_proto(*values.get(name, ("d", None)), nan=name in nans) for name in names}
        return _EPOCH + row.event * _MICROSECOND, read

    def _layout(self, config: RepoConfig, fingerprint: int) -> Layout:
        known = self._layouts.get((config.project, fingerprint))
        if known is None:
            text = self._get_client(config.online_store).get(layout_key(config.project, fingerprint))
            if text is None:
                raise FeatureStoreError(
                    f"The online store does not say how its rows are laid out ({fingerprint:08x}).",
                    hint="Materialize the features again.",
                )
            known = self._layouts[config.project, fingerprint] = Layout.parse(text)
        return known

    # -- what is no longer wanted

    def delete_table(self, config: RepoConfig, table: FeatureView) -> None:
        """Delete all rows of a view; an entity without any other view leaves no key behind."""
        client = self._get_client(config.online_store)
        field = _versioned_fv_name(table, config)
        pattern = b"".join([_escaped(_redis_key_prefix(table.join_keys)), b"*", config.project.encode("utf-8")])
        waiting: list[bytes] = []
        for key in client.scan_iter(pattern, count=SCANNED_AT_ONCE):
            waiting.append(key)
            if len(waiting) == SCANNED_AT_ONCE:
                _drop(client, waiting, field)
                waiting.clear()
        _drop(client, waiting, field)


_Times = tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]


def layout_of(view: FeatureView) -> Layout:
    """How the rows of a view are laid out: doubles and texts plainly, any other type as Feast's own protobuf."""
    kinds: dict[Any, Kind] = {Float64: "d", String: "s"}
    return Layout(
        tuple(feature.name for feature in view.features),
        tuple(kinds.get(feature.dtype, "p") for feature in view.features),
    )


def _calls(client: Redis | RedisCluster, keys: list[bytes]) -> Iterator[tuple[Redis, list[list[int]]]]:
    """For each server, the places of its keys in calls that it accepts: in a cluster, keys of one slot."""
    if not isinstance(client, RedisCluster):
        yield client, list(batched(list(range(len(keys))), ROWS_A_CALL))
        return
    slots: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        slots.setdefault(client.keyslot(key), []).append(place)
    nodes: dict[str, list[list[int]]] = {}
    for slot, places in slots.items():
        nodes.setdefault(client.nodes_manager.get_node_from_slot(slot).name, []).append(places)
    for name, calls in nodes.items():
        yield client.get_redis_connection(client.get_node(node_name=name)), calls


def _write(client: Redis | RedisCluster, field: bytes, expire: int, keys: list[bytes], rows: list[bytes]) -> int:
    written = 0
    for node, calls in _calls(client, keys):
        for several in batched(calls, CALLS_A_PIPELINE):
            with node.pipeline(transaction=False) as pipeline:
                for places in several:
                    these = [keys[place] for place in places]
                    pipeline.eval(WRITE_SCRIPT, len(these), *these, field, expire, *[rows[place] for place in places])
                written += sum(pipeline.execute())
    return written


def batched(items: list[Any], size: int) -> Iterator[list[Any]]:
    """``items`` in lists of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _drop(client: Redis | RedisCluster, keys: list[bytes], field: str) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            # The last field that goes takes the key with it.
            pipeline.execute_command("HDEL", key, field)
        pipeline.execute()


def _escaped(prefix: bytes) -> bytes:
    """``prefix`` as it must stand in a pattern of SCAN."""
    return re.sub(rb"([*?\[\]\\^-])", rb"\\\1", prefix)


def _microseconds(time: datetime) -> int:
    return (utils.make_tzaware(time) - _EPOCH) // _MICROSECOND


def _from_protos(values: list[Value | None], kind: Kind) -> pa.Array:
    given = [None if value is None or value.WhichOneof("val") in {None, "null_val"} else value for value in values]
    if kind == "d":
        return pa.array([None if value is None else value.double_val for value in given], pa.float64())
    if kind == "s":
        return pa.array([None if value is None else value.string_val for value in given], pa.string())
    return pa.array([None if value is None else value.SerializeToString() for value in given], pa.binary())


def _to_proto(kind: Kind, value: Any, *, nan: bool) -> Value:
    if nan:
        return Value(double_val=math.nan)
    if value is None:
        return Value()
    if kind == "d":
        return Value(double_val=value)
    return Value(string_val=value) if kind == "s" else Value.FromString(value)
