"""The packed online store and its engine, through Feast's own interface and beside stock Feast, on real servers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cluster import running_cluster
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.server

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PACKED = "feature_repo.online_store.PackedRedisOnlineStore"
ENGINE = "feature_repo.engine.PackedMaterializationEngine"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def redis() -> Iterator[Any]:
    with redis_server() as server:
        import redis as client

        yield client.Redis(port=server.port)


@pytest.fixture(autouse=True)
def empty(redis: Any) -> None:
    redis.flushall()


def mart(path: Path, rows: list[dict[str, Any]]) -> str:
    """A mart with columns uscc, amount, industry; ``at`` and ``known`` are hours before NOW."""
    table = pa.table(
        {
            "uscc": [row["uscc"] for row in rows],
            "amount": pa.array([row.get("amount") for row in rows], pa.float64()),
            "industry": pa.array([row.get("industry") for row in rows], pa.string()),
            "event_timestamp": [NOW - HOUR * row.get("at", 0) for row in rows],
            "created_timestamp": [NOW - HOUR * row.get("known", row.get("at", 0)) for row in rows],
        }
    )
    pq.write_table(table, path)
    return str(path)


def store(folder: Path, connection: str, *, packed: bool = True, kind: str = "redis", project: str = "city") -> Any:
    from feast import FeatureStore, RepoConfig

    # Each store has a registry of its own: `packed` and stock must not share what is materialized.
    config = RepoConfig(
        project=project,
        provider="local",
        registry=str(folder / f"registry-{packed}.db"),
        offline_store={"type": "duckdb"},
        online_store={"type": PACKED if packed else "redis", "connection_string": connection, "redis_type": kind},
        entity_key_serialization_version=3,
        **({"batch_engine": {"type": ENGINE}} if packed else {}),
    )
    return FeatureStore(config=config)


def view(path: str, name: str = "tax", features: tuple[str, ...] = ("amount", "industry")) -> list[Any]:
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, String

    kinds = {"amount": Float64, "industry": String}
    enterprise = Entity(name="enterprise", join_keys=["uscc"], value_type=ValueType.STRING)
    source = FileSource(
        name=f"{name}_mart",
        path=path,
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    schema = [Field(name="uscc", dtype=String), *(Field(name=feature, dtype=kinds[feature]) for feature in features)]
    return [enterprise, FeatureView(name=name, entities=[enterprise], schema=schema, source=source)]


def materialize(feast: Any, start: timedelta = 48 * HOUR) -> None:
    feast.materialize(start_date=NOW - start, end_date=NOW)


def read(feast: Any, *keys: str, features: tuple[str, ...] = ("tax:amount", "tax:industry")) -> dict[str, list[Any]]:
    answer: dict[str, list[Any]] = feast.get_online_features(
        features=list(features), entity_rows=[{"uscc": key} for key in keys], full_feature_names=True
    ).to_dict()
    del answer["uscc"]
    # Stock Feast's writer leaves NaN where the mart has no value.
    return {
        name: [None if isinstance(value, float) and math.isnan(value) else value for value in values]
        for name, values in answer.items()
    }


def test_what_is_read_is_what_stock_feast_reads(redis: Any, tmp_path: Path) -> None:
    rows = [
        {
            "uscc": f"E{number}",
            "amount": None if number % 3 == 0 else number / 7,
            "industry": [None, "零售业", ""][number % 3],
        }
        for number in range(2000)
    ]
    rows += [{"uscc": f"E{number}", "amount": -1.0, "at": 5} for number in range(0, 2000, 2)]
    path = mart(tmp_path / "tax.parquet", rows)
    address = f"127.0.0.1:{redis.connection_pool.connection_kwargs['port']}"
    answers = []
    for packed in (True, False):
        feast = store(tmp_path, f"{address},db={int(packed)}", packed=packed)
        feast.apply(view(path))
        materialize(feast)
        answers.append(read(feast, *(f"E{number}" for number in range(0, 2000, 13)), "unknown"))
    assert answers[0] == answers[1]
    assert answers[0]["tax__amount"][1] == 13 / 7


def test_a_row_known_earlier_never_replaces_one_known_later(redis: Any, tmp_path: Path) -> None:
    feast = store(tmp_path, address(redis))
    path = mart(tmp_path / "tax.parquet", [{"uscc": "E1", "amount": 2.0, "at": 1}])
    feast.apply(view(path))
    materialize(feast)
    mart(tmp_path / "tax.parquet", [{"uscc": "E1", "amount": 1.0, "at": 3}])
    materialize(feast)
    assert read(feast, "E1")["tax__amount"] == [2.0]


def test_a_corrected_source_replaces_a_row_that_was_true_later(redis: Any, tmp_path: Path) -> None:
    feast = store(tmp_path, address(redis))
    # A wrong date put the row an hour ahead; the correction is older by event time but was known later.
    path = mart(tmp_path / "tax.parquet", [{"uscc": "E1", "amount": 2.0, "at": 1, "known": 1}])
    feast.apply(view(path))
    materialize(feast)
    mart(tmp_path / "tax.parquet", [{"uscc": "E1", "amount": 3.0, "at": 10, "known": 0}])
    materialize(feast)
    assert read(feast, "E1")["tax__amount"] == [3.0]


def test_a_dropped_view_leaves_nothing_behind(redis: Any, tmp_path: Path) -> None:
    feast = store(tmp_path, address(redis))
    path = mart(tmp_path / "tax.parquet", [{"uscc": f"E{n}", "amount": 1.0} for n in range(50)])
    other = mart(tmp_path / "court.parquet", [{"uscc": f"E{n}", "amount": 5.0} for n in range(10)])
    feast.apply(view(path) + view(other, "court")[1:])
    materialize(feast)
    assert len(list(redis.scan_iter(b"*uscc*"))) == 50
    feast.apply([], objects_to_delete=[feast.get_feature_view("tax")], partial=False)
    assert len(list(redis.scan_iter(b"*uscc*"))) == 10
    assert read(feast, "E1", features=("court:amount",)) == {"court__amount": [5.0]}


def test_rows_written_before_a_view_gained_a_feature_are_still_read(redis: Any, tmp_path: Path) -> None:
    feast = store(tmp_path, address(redis))
    path = mart(tmp_path / "tax.parquet", [{"uscc": "E1", "amount": 1.0, "industry": "C"}])
    feast.apply(view(path, features=("amount",)))
    materialize(feast)
    feast.apply(view(path))
    assert read(feast, "E1") == {"tax__amount": [1.0], "tax__industry": [None]}
    materialize(feast)
    assert read(feast, "E1") == {"tax__amount": [1.0], "tax__industry": ["C"]}


def test_rows_pushed_through_feast_are_read_with_every_type(redis: Any, tmp_path: Path) -> None:
    import pandas as pd
    from feast import FeatureView, Field
    from feast.types import Array, Bool, Float32, Int64

    feast = store(tmp_path, address(redis))
    path = mart(tmp_path / "tax.parquet", [{"uscc": "E1"}])
    enterprise, tax = view(path)
    more = {"n": Int64, "b": Bool, "f": Float32, "l": Array(Int64)}
    schema = [*tax.schema, *(Field(name=name, dtype=kind) for name, kind in more.items())]
    typed = FeatureView(name="tax", entities=[enterprise], schema=schema, source=tax.batch_source)
    feast.apply([enterprise, typed])
    frame = pd.DataFrame(
        [
            {"uscc": "E1", "amount": math.nan, "industry": "C", "n": 2**60, "b": True, "f": 0.5, "l": [1, 2]},
            {"uscc": "E2", "amount": 1.5, "industry": None, "n": 1, "b": False, "f": 2.5, "l": []},
        ]
    ).assign(event_timestamp=NOW, created_timestamp=NOW)
    feast.write_to_online_store("tax", frame)
    answer = read(feast, "E1", "E2", features=tuple(f"tax:{n}" for n in ("amount", "industry", "n", "b", "f", "l")))
    assert answer["tax__n"] == [2**60, 1]
    assert answer["tax__b"] == [True, False]
    assert answer["tax__f"] == [0.5, 2.5]
    assert answer["tax__l"][0] == [1, 2]
    assert answer["tax__industry"] == ["C", None]
    assert answer["tax__amount"][1] == 1.5


def test_the_same_on_a_cluster_of_three(tmp_path: Path) -> None:
    with ExitStack() as stack:
        ports = stack.enter_context(running_cluster(3))
        feast = store(tmp_path, ",".join(f"127.0.0.1:{port}" for port in ports), kind="redis_cluster")
        path = mart(tmp_path / "tax.parquet", [{"uscc": f"E{n}", "amount": float(n)} for n in range(3000)])
        feast.apply(view(path))
        materialize(feast)
        keys = [f"E{n}" for n in range(0, 3000, 101)]
        assert read(feast, *keys)["tax__amount"] == [float(key[1:]) for key in keys]
        feast.apply([], objects_to_delete=[feast.get_feature_view("tax")], partial=False)
        import redis as client

        left = [key for port in ports for key in client.Redis(port=port).scan_iter(b"*uscc*")]
        assert left == []


def address(redis: Any) -> str:
    return f"127.0.0.1:{redis.connection_pool.connection_kwargs['port']}"
