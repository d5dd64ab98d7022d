"""Only rows that differ from what was written last go online, and the server is believed only as far as it remembers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.redis_server import redis_server

pytestmark = pytest.mark.server

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TTL_DAYS = 10


@pytest.fixture(scope="module")
def redis() -> Iterator[Any]:
    with redis_server() as server:
        import redis as client

        yield client.Redis(port=server.port)


@pytest.fixture
def feast(redis: Any, tmp_path: Path) -> Any:
    """A store with a directory of its own, and one view of amounts."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, String

    redis.flushall()
    port = redis.connection_pool.connection_kwargs["port"]
    store = FeatureStore(
        config=RepoConfig(
            project="city",
            provider="local",
            registry=str(tmp_path / "registry.db"),
            offline_store={"type": "duckdb"},
            online_store={
                "type": "feature_repo.online_store.PackedRedisOnlineStore",
                "connection_string": f"127.0.0.1:{port}",
            },
            batch_engine={"type": "feature_repo.engine.PackedMaterializationEngine"},
            entity_key_serialization_version=3,
            repo_path=tmp_path,
        )
    )
    mart(tmp_path, {"E1": 1.0}, NOW)
    enterprise = Entity(name="enterprise", join_keys=["uscc"], value_type=ValueType.STRING)
    source = FileSource(
        name="tax_mart",
        path=str(tmp_path / "tax.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    schema = [Field(name="uscc", dtype=String), Field(name="amount", dtype=Float64)]
    store.apply(
        [
            enterprise,
            FeatureView(name="tax", entities=[enterprise], schema=schema, source=source, ttl=timedelta(days=TTL_DAYS)),
        ]
    )
    return store


def mart(folder: Path, amounts: dict[str, float | None], moment: datetime) -> None:
    """Everybody's amount as of ``moment``."""
    table = pa.table(
        {
            "uscc": pa.array(amounts, pa.string()),
            "amount": pa.array(amounts.values(), pa.float64()),
            "event_timestamp": [moment] * len(amounts),
            "created_timestamp": [moment] * len(amounts),
        }
    )
    pq.write_table(table, folder / "tax.parquet")


def written(feast: Any, amounts: dict[str, float | None], moment: datetime) -> int | None:
    """Materialize the amounts of ``moment``; how many rows were written."""
    from feature_repo.online_store import field_of, layout_of
    from feature_repo.written import Mark

    mart(feast.config.repo_path, amounts, moment)
    feast.materialize(start_date=moment - timedelta(seconds=1), end_date=moment)
    view = feast.get_feature_view("tax")
    mark = Mark.of(feast.config, view, field_of(view, feast.config), layout_of(view).fingerprint)
    assert mark is not None
    return mark.written()


def online(feast: Any, *keys: str) -> list[float | None]:
    """The amounts that are served."""
    rows = [{"uscc": key} for key in keys]
    answer = feast.get_online_features(features=["tax:amount"], entity_rows=rows).to_dict()
    amounts: list[float | None] = answer["amount"]
    return amounts


def test_only_what_differs_is_written(feast: Any) -> None:
    first: dict[str, float | None] = {f"E{number}": float(number) for number in range(50)}
    assert written(feast, first, NOW) == 50
    assert written(feast, first, NOW + DAY) == 0
    second: dict[str, float | None] = {**first, "E1": None, "E2": 0.5, "E77": 7.0}
    assert written(feast, second, NOW + 2 * DAY) == 3
    assert online(feast, "E0", "E1", "E2", "E77") == [0.0, None, 0.5, 7.0]
    assert written(feast, second, NOW + 3 * DAY) == 0


def test_a_row_is_written_again_before_it_expires(feast: Any) -> None:
    amounts: dict[str, float | None] = {"E1": 1.0, "E2": 2.0}
    assert written(feast, amounts, NOW) == 2
    assert written(feast, {**amounts, "E2": 3.0}, NOW + 4 * DAY) == 1
    # Half of its time to live is over for E1, not for E2.
    assert written(feast, {**amounts, "E2": 3.0}, NOW + TTL_DAYS / 2 * DAY) == 1


@pytest.mark.parametrize("loss", ["flushed", "restored", "dropped"])
def test_a_server_that_lost_rows_gets_all_of_them(feast: Any, redis: Any, loss: str) -> None:
    amounts: dict[str, float | None] = {"E1": 1.0, "E2": 2.0}
    written(feast, amounts, NOW)
    if loss == "flushed":
        redis.flushall()
    elif loss == "restored":
        kept = {key: redis.dump(key) for key in redis.scan_iter()}
        assert written(feast, {**amounts, "E1": 5.0}, NOW + DAY) == 1
        # A backup of the day before: what was written since is not in it, though all keys are.
        for key, value in kept.items():
            redis.restore(key, 0, value, replace=True)
        amounts["E1"] = 5.0
    else:
        view = feast.get_feature_view("tax")
        feast._get_provider().online_store.delete_table(feast.config, view)
    assert written(feast, amounts, NOW + 2 * DAY) == 2
    assert online(feast, "E1", "E2") == list(amounts.values())


def test_rows_that_the_server_refuses_are_not_taken_for_written(feast: Any) -> None:
    assert written(feast, {"E1": 1.0}, NOW + DAY) == 1
    # As of an earlier day: the server has what became known later.
    assert written(feast, {"E1": 9.0}, NOW) is None
    assert written(feast, {"E1": 9.0}, NOW + 2 * DAY) == 1
    assert online(feast, "E1") == [9.0]


def test_who_has_no_row_any_more_has_none_online(feast: Any) -> None:
    from feature_repo.online_store import field_of, layout_of
    from feature_repo.written import Mark

    assert written(feast, {"E1": 1.0, "E2": 2.0}, NOW) == 2
    assert written(feast, {"E1": 1.0}, NOW + DAY) == 0
    view = feast.get_feature_view("tax")
    field = field_of(view, feast.config)
    mark = Mark.of(feast.config, view, field, layout_of(view).fingerprint)
    assert mark is not None
    store = feast._get_provider().online_store
    dropped: list[list[str]] = []

    def delete(entities: list[str]) -> None:
        dropped.append(entities)
        store.drop_rows(feast.config, "uscc", field, entities)

    there = "select uscc from (values ('E1')) as there(uscc)"
    assert mark.drop_gone(there, delete) == 1
    assert dropped == [["E2"]]
    assert online(feast, "E1", "E2") == [1.0, None]
    assert mark.drop_gone(there, delete) == 0
    assert written(feast, {"E1": 1.0, "E2": 2.0}, NOW + 2 * DAY) == 1
