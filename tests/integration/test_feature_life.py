"""Parity, freshness, time to live and versions of online features, through the verbs, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from credit301 import verbs
from credit301.errors import FeatureStoreError
from credit301.features.packed_wire import HEADER, entity_key
from credit301.features.verbs import StaleFeatures
from credit301.identity.keyed_hash import KeyedHash
from credit301.settings import Settings
from credit301.workspace import Workspace
from feature_repo import tidy as tidying
from feature_repo.store import open_store
from tests.conftest import TinyWorkspace
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.server

NOW = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
WRONG = 301.0


@pytest.fixture(scope="module")
def redis() -> Iterator[Any]:
    with redis_server() as server:
        import redis as client

        yield client.Redis(port=server.port)


@pytest.fixture
def city(tmp_path: Path, redis: Any) -> TinyWorkspace:
    redis.flushall()
    port = redis.connection_pool.connection_kwargs["port"]
    return TinyWorkspace(tmp_path / "tiny", Settings(home=tmp_path / "home", redis_url=f"redis://127.0.0.1:{port}/0"))


def materialized(city: TinyWorkspace, age: timedelta = timedelta(hours=1), times: float = 1.0) -> Workspace:
    """The workspace with the mart of its one source built and online."""
    return online(city.load(), rows(city.load(), age, times))


def rows(workspace: Workspace, age: timedelta, times: float = 1.0, without: frozenset[int] = frozenset()) -> pa.Table:
    """Rows of thirty entities; all features of those in ``without`` and of every seventh are null."""
    (contract,) = workspace.featured()
    columns: dict[str, Any] = {"uscc": [f"U{number}" for number in range(30)]}
    for place, feature in enumerate(contract.features):
        values = [None if number % 7 == 0 or number in without else times * (number + place) for number in range(30)]
        columns[feature.name] = pa.array(values, pa.float64())
    moment = pa.array([NOW - age] * 30, pa.timestamp("us"))
    return pa.table({**columns, "event_timestamp": moment, "created_timestamp": moment})


def online(workspace: Workspace, mart: pa.Table) -> Workspace:
    """The workspace with ``mart`` as that of its one source, materialized."""
    (contract,) = workspace.featured()
    path = workspace.paths.mart(f"feature_{contract.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(mart, path)
    verbs.call("materialize", workspace)
    return workspace


def test_history_feast_and_the_endpoints_path_agree(city: TinyWorkspace) -> None:
    assert verbs.call("features.parity", materialized(city))["different"] == 0


def test_a_difference_names_entity_view_feature_and_both_values(city: TinyWorkspace, redis: Any) -> None:
    workspace = materialized(city)
    key = entity_key(workspace.name, "uscc", "U5")
    row = redis.hget(key, "sales")
    redis.hset(key, "sales", row[: HEADER.size] + b"\x40\x72\xd0\x00\x00\x00\x00\x00" + row[HEADER.size + 8 :])
    feature = workspace.source("sales").features[0].name
    with pytest.raises(FeatureStoreError) as found:
        verbs.call("parity", workspace)
    named = KeyedHash.from_settings(workspace.settings)("U5")
    assert f"{named} sales:{feature}: online {WRONG}, offline 5.0" in str(found.value)
    assert f"served {WRONG}" in str(found.value)
    assert "U5" not in str(found.value)


def test_a_row_that_was_lost_is_found(city: TinyWorkspace, redis: Any) -> None:
    workspace = materialized(city)
    redis.delete(entity_key(workspace.name, "uscc", "U5"))
    with pytest.raises(FeatureStoreError, match=r"None, offline 5\.0"):
        verbs.call("parity", workspace)


def test_who_left_every_window_is_without_data_online_as_in_history(city: TinyWorkspace) -> None:
    workspace = city.load()
    before, now = rows(workspace, timedelta(days=2)), rows(workspace, timedelta(hours=1), without=frozenset({5}))
    online(workspace, before)
    online(workspace, pa.concat_tables([before, now]))
    assert verbs.call("parity", workspace)["different"] == 0
    name = workspace.source("sales").features[0].name
    answer = open_store(workspace).get_online_features(
        features=[f"sales:{name}"], entity_rows=[{"uscc": "U5"}, {"uscc": "U6"}]
    )
    assert answer.to_dict()[name] == [None, 6.0]
    # Without the row that says so, the join that training sets are made with goes back to what was known before.
    online(workspace, pa.concat_tables([before, now.filter(pc.not_equal(now["uscc"], "U5"))]))
    with pytest.raises(FeatureStoreError, match=r"online None, offline 5\.0"):
        verbs.call("parity", workspace)


def test_parity_holds_for_rows_past_their_time_to_live(city: TinyWorkspace) -> None:
    city.replace("customProperties:\n", "customProperties:\n  - {property: online, value: {ttl: 2h}}\n")
    workspace = materialized(city, timedelta(hours=3))
    assert verbs.call("parity", workspace)["different"] == 0
    name = workspace.source("sales").features[0].name
    answer = open_store(workspace).get_online_features(features=[f"sales:{name}"], entity_rows=[{"uscc": "U5"}])
    assert answer.to_dict()[name] == [None]


def test_freshness_fails_beyond_the_age_of_the_contract(city: TinyWorkspace) -> None:
    city.replace("slaProperties: [", "slaProperties: [{property: latency, value: 2, unit: d}, ")
    workspace = city.load()
    with pytest.raises(StaleFeatures, match="sales"):
        verbs.call("features.freshness", workspace)
    # The rows are an hour old when the module is loaded.
    age = verbs.call("features.freshness", materialized(city))["views"]["sales"]
    assert 3600 <= age < timedelta(days=2).total_seconds()
    with pytest.raises(StaleFeatures, match="sales"):
        verbs.call("features.freshness", materialized(city, timedelta(days=3)))


def fields(redis: Any, workspace: Workspace, entity: str = "U5") -> set[bytes]:
    return set(redis.hkeys(entity_key(workspace.name, "uscc", entity)))


def test_a_new_version_is_written_beside_the_old_one_which_goes_when_nobody_reads_it(
    city: TinyWorkspace, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialized(city)
    city.replace("version: 1.0.0", "version: 2.0.0")
    workspace = materialized(city, timedelta(minutes=1), times=10.0)
    assert fields(redis, workspace) == {b"sales", b"sales__v2"}
    assert verbs.call("parity", workspace)["different"] == 0
    name = workspace.source("sales").features[0].name
    answer = open_store(workspace).get_online_features(features=[f"sales:{name}"], entity_rows=[{"uscc": "U5"}])
    assert answer.to_dict()[name] == [50.0]
    with monkeypatch.context() as patched:
        patched.setattr(tidying, "in_use", lambda _: {"sales"})
        assert verbs.call("features.tidy", workspace) == {"deleted": 0, "retired": [], "kept": ["sales"]}
    assert verbs.call("features.tidy", workspace) == {"deleted": 30, "retired": ["sales"], "kept": []}
    assert fields(redis, workspace) == {b"sales__v2"}


def test_tidy_takes_rows_past_their_time_to_live(city: TinyWorkspace, redis: Any) -> None:
    city.replace("customProperties:\n", "customProperties:\n  - {property: online, value: {ttl: 2h}}\n")
    workspace = materialized(city, timedelta(hours=3))
    assert verbs.call("features.tidy", workspace)["deleted"] == 30
    assert fields(redis, workspace) == set()


def test_a_dropped_source_takes_every_version_with_it(city: TinyWorkspace, redis: Any) -> None:
    materialized(city)
    city.replace("version: 1.0.0", "version: 2.0.0")
    workspace = materialized(city)
    store = open_store(workspace)
    store.apply([], objects_to_delete=[store.get_feature_view("sales")], partial=False)
    assert fields(redis, workspace) == set()
