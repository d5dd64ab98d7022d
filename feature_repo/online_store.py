"""Feast's Redis online store with packed rows: one value a view, one round trip an entity, written from Arrow.

Everything else (clients, cluster and sentinel, registry, teardown) is stock Feast's, by inheritance. A row that became
known later is never overwritten by one that became known earlier, so that a repeated or late materialization does no
harm, while a corrected source, whose rows are known later, may replace rows of any event time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from feast import Entity, FeatureView, RepoConfig, utils
from feast.infra.online_stores.helpers import _redis_key, _redis_key_prefix
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, _versioned_fv_name
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, String

from credit301.derive.features import online_field
from credit301.errors import FeatureStoreError
from credit301.features.packed_wire import (
    Kind,
    Layout,
    entity_key,
    fingerprint_of,
    layout_key,
    nan_columns,
    unpack,
)
from credit301.features.packing import pack
from credit301.features.vector import is_expired
from feature_repo import store_commands as commands
from feature_repo.proto_values import from_protos, to_proto
from feature_repo.written import tokens_key

SCANNED_AT_ONCE = 5_000
VERSION_TAG = "contract_version"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

ProtoRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
ReadRow = tuple[datetime | None, dict[str, Value] | None]


class PackedRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """As stock Feast's, whose ``client: glide`` and ``skip_dedup`` have no effect here.

    With ``enforce_ttl`` a row that is older than its view's ``ttl`` is answered null, status ``OUTSIDE_MAX_AGE``; stock
    Feast's Redis store serves it.
    """

    enforce_ttl: bool = False
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
        field = field_of(view, config).encode("utf-8")
        expire = config.online_store.key_ttl_seconds or 0
        return commands.write(client, field, expire, keys.to_pylist(), rows.to_pylist())

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
            name: from_protos([values.get(name) for _, values, _, _ in data], kind)
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
        (rows,) = self._read(config, [Wanted(field_of(table, config), wanted, keys, life_of(table, config))])
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
            wanted.append(Wanted(field_of(view, config), names, keys, life_of(view, config)))
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
            _mark_expired(online_features_response.results[-len(names) :], rows, indexes)

    async def _read_features_per_fv_async(self, *arguments: Any) -> None:
        import asyncio

        await asyncio.to_thread(self._read_features_per_fv, *arguments)

    def _read(self, config: RepoConfig, wanted: list[Wanted]) -> list[list[ReadRow]]:
        """For each of ``wanted``, its rows; one HMGET a distinct key, all in one pipeline."""
        fields: dict[bytes, dict[str, int]] = {}
        for view in wanted:
            for key in view.keys:
                asked = fields.setdefault(key, {})
                asked.setdefault(view.field, len(asked))
        with self._get_client(config.online_store).pipeline(transaction=False) as pipeline:
            for key, asked in fields.items():
                pipeline.hmget(key, list(asked))
            found = dict(zip(fields, pipeline.execute(), strict=True))
        now = time.time_ns() // 1000
        return [
            [self._row(config, found[key][fields[key][view.field]], view, now) for key in view.keys] for view in wanted
        ]

    def _row(self, config: RepoConfig, data: bytes | None, view: Wanted, now: int) -> ReadRow:
        if data is None:
            return None, None
        names = view.names
        layout = self._layout(config, fingerprint_of(data))
        row = unpack(layout, data)
        if is_expired(row.event, view.life, now):
            return _EPOCH + row.event * _MICROSECOND, None
        nans = nan_columns(layout, data)
        values = dict(zip(layout.names, zip(layout.kinds, row.values, strict=True), strict=True))
        read = {name: to_proto(*values.get(name, ("d", None)), nan=name in nans) for name in names}
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
        base = _versioned_fv_name(table, config)
        fields = [online_field(base, version) for version in range(1, version_of(table) + 1)]
        for keys in self._entities(config, table.join_keys):
            commands.drop(client, keys, fields)
        client.hdel(tokens_key(config.project), *fields)

    def drop_rows(self, config: RepoConfig, join_key: str, field: str, entities: list[str]) -> None:
        """Delete the rows in ``field`` of ``entities``, values of the only join key."""
        client = self._get_client(config.online_store)
        for several in commands.batched(entities, SCANNED_AT_ONCE):
            commands.drop(client, [entity_key(config.project, join_key, entity) for entity in several], [field])

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Delete everything of the project, and what says that it is there."""
        super().teardown(config, tables, entities)
        self._get_client(config.online_store).delete(tokens_key(config.project))

    def tidy(self, config: RepoConfig, join_keys: list[str], bounds: dict[str, int]) -> int:
        """Delete rows by field; those whose event time is before its bound (microseconds since 1970).

        Returns:
            How many rows those were. A row that is written anew meanwhile stays.
        """
        client = self._get_client(config.online_store)
        deleted = sum(commands.tidy(client, keys, bounds) for keys in self._entities(config, join_keys))
        if deleted:
            # What was last written is not there any more: the next materialization writes everything.
            client.hdel(tokens_key(config.project), *bounds)
        return deleted

    def _entities(self, config: RepoConfig, join_keys: list[str]) -> Iterator[list[bytes]]:
        """Keys of every entity with these join keys, some thousands at a time."""
        client = self._get_client(config.online_store)
        pattern = b"".join([commands.escaped(_redis_key_prefix(join_keys)), b"*", config.project.encode("utf-8")])
        waiting: list[bytes] = []
        for key in client.scan_iter(pattern, count=SCANNED_AT_ONCE):
            waiting.append(key)
            if len(waiting) == SCANNED_AT_ONCE:
                yield waiting
                waiting = []
        yield waiting


_Times = tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]


class Wanted(NamedTuple):
    """Of the entities at ``keys``, the features ``names`` of the view in ``field``; how long a row may be used."""

    field: str
    names: list[str]
    keys: list[bytes]
    life: int


def version_of(view: FeatureView) -> int:
    """The version of the contract that the view's rows are of."""
    return int(view.tags.get(VERSION_TAG, "1"))


def field_of(view: FeatureView, config: RepoConfig) -> str:
    """The field of the view's rows: its name, with Feast's own version and that of the contract where there is one."""
    return online_field(_versioned_fv_name(view, config), version_of(view))


def life_of(view: FeatureView, config: RepoConfig) -> int:
    """For how long after its event time a row of the view may be used, in microseconds; 0 for ever."""
    # A view on demand, whose values may be written too, has none.
    ttl: timedelta | None = getattr(view, "ttl", None)
    return ttl // _MICROSECOND if ttl and config.online_store.enforce_ttl else 0


def _mark_expired(results: Any, rows: list[ReadRow], indexes: Any) -> None:
    """Rows that are there and too old are answered as such."""
    for (moment, values), places in zip(rows, indexes, strict=True):
        if moment is not None and values is None:
            for result in results:
                for place in places:
                    result.statuses[place] = FieldStatus.OUTSIDE_MAX_AGE


def layout_of(view: FeatureView) -> Layout:
    """How the rows of a view are laid out: doubles and texts plainly, any other type as Feast's own protobuf."""
    kinds: dict[Any, Kind] = {Float64: "d", String: "s"}
    return Layout(
        tuple(feature.name for feature in view.features),
        tuple(kinds.get(feature.dtype, "p") for feature in view.features),
    )


def _microseconds(time: datetime) -> int:
    return (utils.make_tzaware(time) - _EPOCH) // _MICROSECOND
