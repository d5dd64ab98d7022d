"""Sliding windows: what is read online at any moment is what landed events say of that moment, on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit301 import verbs
from credit301.errors import ContractError
from credit301.features.windows.definition import AHEAD, ENTRY, SECOND, WindowSet, window_sets
from credit301.features.windows.history import counts_at, states
from credit301.features.windows.journal import EventJournal
from credit301.features.windows.online import appends, ids_key, send
from credit301.features.windows.rebuild import rebuild
from credit301.settings import Settings
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.server

NOW = 1_772_000_000 * SECOND
MINUTE = 60 * SECOND
DEVICES = [f"{number:064x}" for number in range(3)]
FIRMS = ["91420100MA4K00000A", "91420100MA4K00001B"]
WUHAN = REPOSITORY / "workspaces" / "wuhan"


@pytest.fixture(scope="module")
def redis() -> Iterator[Any]:
    with redis_server() as server:
        import redis as client

        yield client.Redis(port=server.port)


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    (found,) = window_sets(Workspace.load(WUHAN))
    return found


def event(
    number: int,
    happened: int,
    came: int,
    device: str | None = DEVICES[0],
    firm: str = FIRMS[0],
    kind: str = "submission",
) -> dict[str, Any]:
    """An event as the platform has it; times are microseconds since 1970."""
    return {
        "event_id": f"E{number}",
        "event_time": happened,
        "available_at": came,
        "uscc": firm,
        "event_kind": kind,
        "device_key": device,
        "ip_key": DEVICES[0],
        "applicant_key": None,
        "address_key": None,
    }


def post(client: Any, windows: WindowSet, happened: dict[str, Any]) -> list[int]:
    return send(client, appends(windows, happened, happened["event_time"], happened["available_at"]))


def online(client: Any, windows: WindowSet, subjects: dict[str, str], at: int) -> dict[str, int | None]:
    found = windows.nothing()
    for column, value in subjects.items():
        found |= windows.counts(column, client.get(windows.key(column, value)), at)
    return found


def landed(connection: duckdb.DuckDBPyConnection, events: list[dict[str, Any]]) -> None:
    """The relation `events`, typed as landing files are."""
    columns = {name: [item[name] for item in events] for name in event(0, 0, 0)}
    times = {name: pa.array(columns.pop(name), pa.timestamp("us")) for name in ("event_time", "available_at")}
    table = pa.table({**{name: pa.array(values, pa.string()) for name, values in columns.items()}, **times})
    connection.register("events", table)


def offline(
    windows: WindowSet, events: list[dict[str, Any]], subjects: dict[str, str], *at: int
) -> list[dict[str, Any]]:
    with duckdb.connect(config={"threads": 1}) as connection:
        landed(connection, events)
        told = {name: [value] * len(at) for name, value in subjects.items()}
        points = pa.table({"at": pa.array(at, pa.int64()), **told})
        return [dict(row) for row in counts_at(connection, windows, points, "events").to_pylist()]


arrivals = st.lists(
    st.tuples(
        st.integers(0, 30),  # identities repeat
        st.integers(-120, 2) | st.integers(-8 * 24 * 60, 2),  # minutes at which it happened: out of order, ahead
        st.integers(0, 180),  # minutes until it came
        st.sampled_from([*DEVICES, None]),
        st.sampled_from(FIRMS),
        st.sampled_from(["submission", "login", "page_step"]),
        st.integers(0, 59_999_999),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=arrivals, asked=st.lists(st.integers(-120, 60) | st.integers(-60, 8 * 24 * 60), min_size=1, max_size=6))
def test_online_is_offline_whatever_comes_late_twice_or_out_of_order(
    redis: Any, windows: WindowSet, drawn: list[tuple[Any, ...]], asked: list[int]
) -> None:
    redis.flushall()
    events = [
        event(
            number, NOW + happened * MINUTE + rest, max(NOW + (happened + delay) * MINUTE, 0) + rest, device, firm, kind
        )
        for number, happened, delay, device, firm, kind, rest in drawn
    ]
    events.sort(key=lambda item: item["available_at"])
    subjects = {"uscc": FIRMS[0], "device_key": DEVICES[0], "ip_key": DEVICES[0]}
    position, seen = 0, []
    moments = sorted(NOW + minutes * MINUTE for minutes in asked)
    for moment in moments:
        while position < len(events) and events[position]["available_at"] <= moment:
            post(redis, windows, events[position])
            position += 1
        seen.append(online(redis, windows, subjects, moment))
    assert seen == offline(windows, events, subjects, *moments)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=arrivals)
def test_a_store_made_from_history_goes_on_as_the_one_that_was_lost(
    redis: Any, windows: WindowSet, drawn: list[tuple[Any, ...]]
) -> None:
    redis.flushall()
    events = sorted(
        (
            event(number, NOW + happened * MINUTE + rest, NOW + (happened + delay) * MINUTE + rest, device, firm, kind)
            for number, happened, delay, device, firm, kind, rest in drawn
        ),
        key=lambda item: item["available_at"],
    )
    half = events[: len(events) // 2]
    moment = half[-1]["available_at"] if half else NOW
    for happened in half:
        post(redis, windows, happened)
    subjects = {"uscc": FIRMS[0], "device_key": DEVICES[0], "ip_key": DEVICES[0]}
    before = online(redis, windows, subjects, moment)
    redis.flushall()
    with duckdb.connect() as connection:
        landed(connection, half)
        for state in states(connection, windows, moment, "events"):
            redis.set(state.key, state.entries)
            if state.identities:
                redis.zadd(ids_key(state.key), state.identities)
    assert online(redis, windows, subjects, moment) == before
    for happened in events[len(half) :]:
        post(redis, windows, happened)
    last = max([NOW, *(item["available_at"] for item in events)])
    assert online(redis, windows, subjects, last) == offline(windows, events, subjects, last)[0]


def test_a_window_covers_its_span_less_at_most_one_bucket(redis: Any, windows: WindowSet) -> None:
    redis.flushall()
    post(redis, windows, event(1, NOW, NOW))
    name, resolution = "platform_event:device_submissions_1h", MINUTE
    seen = [
        online(redis, windows, {"device_key": DEVICES[0]}, NOW + seconds * SECOND)[name]
        for seconds in (0, 59 * 60 - 1, 60 * 60, 60 * 60 + 1)
    ]
    assert seen == [1, 1, 0, 0]
    assert windows.resolutions[1] == resolution


def test_what_comes_too_late_or_from_the_future_is_in_no_window(redis: Any, windows: WindowSet) -> None:
    redis.flushall()
    assert post(redis, windows, event(1, NOW - 60 * MINUTE - 1, NOW)) == []
    assert post(redis, windows, event(2, NOW + AHEAD + 1, NOW)) == []
    assert post(redis, windows, event(3, NOW - 60 * MINUTE, NOW)) == [1, 1, 1]


def test_a_subject_has_no_more_entries_than_buckets_and_no_more_identities_than_came_lately(
    redis: Any, windows: WindowSet
) -> None:
    redis.flushall()
    for number in range(3_000):
        moment = NOW + number * 10 * MINUTE
        post(redis, windows, event(number, moment, moment))
    key = windows.key("device_key", DEVICES[0])
    entries = len(redis.get(key)) // ENTRY.size
    assert entries <= len(windows.spans) * (windows.buckets + 1)
    assert redis.zcard(ids_key(key)) <= 7
    assert 0 < redis.pttl(key) <= (7 * 24 + 2) * 3_600_000
    assert 0 < redis.pttl(ids_key(key)) <= (7 * 24 + 2) * 3_600_000


def test_many_entries_are_summed_as_few_are(redis: Any, windows: WindowSet) -> None:
    redis.flushall()
    events = [event(number, NOW + number * 97 * SECOND, NOW + number * 97 * SECOND) for number in range(700)]
    for happened in events:
        post(redis, windows, happened)
    subjects = {"device_key": DEVICES[0]}
    last = events[-1]["available_at"]
    assert len(redis.get(windows.key("device_key", DEVICES[0]))) > 64 * ENTRY.size
    assert online(redis, windows, subjects, last) == offline(windows, events, subjects, last)[0]


@pytest.fixture
def city(tmp_path: Path, redis: Any) -> Workspace:
    """The reference city with a home of its own, some landed and some posted events."""
    redis.flushall()
    port = redis.connection_pool.connection_kwargs["port"]
    city = Workspace.load(WUHAN, Settings(home=tmp_path, redis_url=f"redis://127.0.0.1:{port}/0"))
    folder = city.paths.landing / "platform_event"
    folder.mkdir(parents=True)
    recent = time.time_ns() // 1000 - 5 * MINUTE
    events = [event(number, recent + number, recent + number + 10) for number in range(20)]
    table = pa.Table.from_pylist([{**item, "application_id": "A1", "page_step": "sign_in"} for item in events])
    for name in ("event_time", "available_at"):
        table = table.set_column(table.column_names.index(name), name, table.column(name).cast(pa.timestamp("us")))
    pq.write_table(table, folder / "a.parquet")
    journal = EventJournal(city.paths.events / "platform_event")
    posted = [event(number, 0, 0) for number in range(15, 25)]
    text = duckdb.execute("select make_timestamp($1)::varchar", [recent]).fetchall()[0][0]
    journal.append([{**item, "event_time": text, "available_at": text} for item in posted])
    journal.close()
    return city


def test_a_lost_store_is_rebuilt_from_what_landed_and_what_was_posted(
    city: Workspace, redis: Any, windows: WindowSet
) -> None:
    assert verbs.call("features.rebuild_windows", city)["subjects"] == {"platform_event": 3}
    now = time.time_ns() // 1000
    name = "platform_event:device_submissions_1h"
    # Five events are in both: they count once.
    assert online(redis, windows, {"device_key": DEVICES[0]}, now)[name] == 25
    redis.flushall()
    rebuild(city, redis)
    assert online(redis, windows, {"device_key": DEVICES[0]}, now)[name] == 25
    again = event(24, now, now)
    assert post(redis, windows, again) == [0, 0, 0]


def test_a_line_cut_off_by_a_crash_is_no_event(city: Workspace, redis: Any) -> None:
    (file,) = (city.paths.events / "platform_event").glob("*.jsonl")
    with file.open("a") as journal:
        journal.write('{"event_id": "E99", "event_ti')
    assert verbs.call("features.rebuild_windows", city)["subjects"] == {"platform_event": 3}


@pytest.mark.parametrize(
    ("was", "is_now", "said"),
    [
        ("spans: [10m, 1h, 24h, 7d]", "spans: [10m, 1w]", r"contract\.yaml:\d+: .*spans"),
        ("spans: [10m, 1h, 24h, 7d]", "span: [10m]", r"contract\.yaml:\d+: .*unknown key"),
        ("spans: [10m, 1h, 24h, 7d]", "spans: [7s]", r"contract\.yaml:\d+: .*7s is not 60 buckets"),
        (
            "by: device_key, where: {event_kind: submission}",
            "by: device",
            r"contract\.yaml:\d+: .*'device' is not a col",
        ),
        (
            "by: device_key, where: {event_kind",
            "by: device_key, where: {kind",
            r"contract\.yaml:\d+: .*'kind' is not a",
        ),
        (
            "name: device_logins,",
            "name: device_submissions,",
            r"contract\.yaml:\d+: .*'device_submissions' is declared",
        ),
        ("aggregation: recent_count, by: device_key", "aggregation: recent_count", r"contract\.yaml:\d+: .*by"),
        (
            "  - property: windows\n    value:\n      spans: [10m, 1h, 24h, 7d]\n",
            "",
            r"contract\.yaml:\d+: .*needs the property windows",
        ),
        ("name: edit_count_3m_sum", "name: device_logins_1h", r"contract\.yaml:\d+: .*is the name of a feature"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, was: str, is_now: str, said: str
) -> None:
    from credit301.contracts.loader import load_contract

    folder = tmp_path / "platform_event"
    folder.mkdir()
    text = (WUHAN / "sources" / "platform_event" / "contract.yaml").read_text(encoding="utf-8")
    assert was in text
    (folder / "contract.yaml").write_text(text.replace(was, is_now, 1), encoding="utf-8")
    with pytest.raises(ContractError, match=said):
        load_contract(folder)


def test_what_is_counted_stands_among_the_features_and_older_releases_load_as_they_were() -> None:
    from credit301.contracts.loader import load_contract

    folder = WUHAN / "sources" / "platform_event"
    now, released = load_contract(folder), load_contract(folder, folder / "released" / "contract-1.1.0.yaml")
    assert now.windows == released.windows
    assert now.windows is not None
    assert "counts:" in (folder / "released" / "contract-1.1.0.yaml").read_text(encoding="utf-8")
    # A window is no column of the mart.
    assert {count.name for count in now.windows.counts}.isdisjoint(feature.name for feature in now.features)


def test_a_window_has_a_definition_and_a_lineage_as_a_feature_has() -> None:
    from credit301.derive.dictionary import window_definition
    from credit301.governance.lineage.from_contracts import contract_lineage
    from credit301.governance.lineage.graph import Layer, Node

    workspace = Workspace.load(WUHAN)
    contract = workspace.source("platform_event")
    assert contract.windows is not None
    by_device = next(count for count in contract.windows.counts if count.name == "device_submissions")
    said = window_definition(contract, by_device)
    assert (said.zh, said.en) == (
        "同一设备标识的事件数，条件：事件类型 = submission",
        "number of events with the same keyed hash of the device, where kind of event = submission",
    )
    lineage = contract_lineage(workspace)
    window = Node(Layer.FEATURE, "platform_event", "device_submissions_1h")
    names = {node.column for node in lineage.upstream([window])}
    assert {"device_key", "event_kind", "event_time"} <= names
