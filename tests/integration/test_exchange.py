"""The exchange on a real server: tokens, paging, durable cursors, the clock, and every fault that it injects."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from stdnum.cn import uscc as standard

from credit301.errors import NotFound
from simulator.city import write_city
from simulator.config import CityConfig
from simulator.exchange import Tokens, create_app
from simulator.faults import MOST_IN_A_ROW, Faults
from simulator.schema import OWNERS, PRIMARY_KEYS, SEQUENCE

pytestmark = pytest.mark.server

CONFIG = CityConfig(enterprises=120, months=24)
TOKENS = Tokens("government-token", "bank-token", "admin-token")
TAX = "/government/v1/tax_declaration/records"
STORMY = Faults(0.2, 0.15, 0.1, 0.15, 0.02, 0.02, seed=5, hold_seconds=0.02)
Record = dict[str, Any]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exchange") / "city"
    write_city(CONFIG, directory)
    return directory


@contextmanager
def running(city: Path, faults: Faults | None = None, as_of: datetime | None = None) -> Iterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(create_app(city, TOKENS, faults, as_of), host="127.0.0.1", port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the exchange did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def calm(city: Path) -> Iterator[httpx.Client]:
    with running(city) as url, client_of(url) as client:
        yield client


@pytest.fixture(scope="module")
def stormy(city: Path) -> Iterator[httpx.Client]:
    with running(city, STORMY) as url, client_of(url) as client:
        yield client


def client_of(url: str, token: str = TOKENS.government) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=10)


def page_of(client: httpx.Client, path: str, cursor: str, limit: int) -> dict[str, Any]:
    """One page, asked for again while it fails for a moment."""
    for _ in range(MOST_IN_A_ROW + 1):
        response = client.get(path, params={"cursor": cursor, "limit": limit} if cursor else {"limit": limit})
        if response.status_code == 200:
            try:
                page: dict[str, Any] = response.json()
            except ValueError:
                continue
            return page
        assert response.status_code in {429, 500, 504}, response.text
    raise AssertionError("a transient fault did not pass")


def pull(client: httpx.Client, path: str, limit: int = 5000, cursor: str = "") -> tuple[list[Record], str]:
    records: list[Record] = []
    while True:
        page = page_of(client, path, cursor, limit)
        assert len(page["records"]) <= limit
        records += page["records"]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            return records, cursor


def rows_of(city: Path, source: str, until: datetime) -> pa.Table:
    table = pq.read_table(city / f"{source}.parquet").drop([SEQUENCE])
    return table.filter([at <= until for at in table["available_at"].to_pylist()])


def as_json(row: Record) -> Record:
    def value(item: Any) -> Any:
        if item is None or isinstance(item, bool | int | str):
            return item
        return item.isoformat() if hasattr(item, "isoformat") else str(item)

    return {name: value(item) for name, item in row.items()}


END = datetime.combine(CONFIG.end, datetime.min.time())


@pytest.mark.parametrize(("owner", "source"), [(owner, source) for owner, names in OWNERS.items() for source in names])
def test_every_record_is_served_once_in_order_with_exact_values(
    city: Path, calm: httpx.Client, owner: str, source: str
) -> None:
    with client_of(str(calm.base_url), TOKENS.government if owner == "government" else TOKENS.bank) as client:
        records, _ = pull(client, f"/{owner}/v1/{source}/records", 777)
    assert records == [as_json(row) for row in rows_of(city, source, END).to_pylist()]


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", f"Bearer {TOKENS.bank}", TOKENS.government])
def test_without_the_right_token_nothing_is_served(calm: httpx.Client, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    response = httpx.get(f"{calm.base_url}{TAX}", headers=headers, trust_env=False)
    assert response.status_code == 401
    error = response.json()["error"]
    assert error["code"] == "unauthorized"
    assert set(error["message"]) == {"zh", "en"}


def test_a_token_with_other_characters_is_refused_not_an_error(calm: httpx.Client) -> None:
    headers = {b"Authorization": "Bearer 令牌".encode()}
    assert httpx.get(f"{calm.base_url}{TAX}", headers=headers, trust_env=False).status_code == 401


def test_a_side_serves_its_own_sources_only(calm: httpx.Client) -> None:
    assert calm.get("/government/v1/bank_loan/records").status_code == 404
    assert calm.get("/government/v1/platform_event/records").status_code == 404
    assert calm.get("/government/v1/truth/records").status_code == 404
    assert calm.get("/platform/v1/platform_event/records").status_code == 401
    assert calm.get("/nowhere/v1/tax_declaration/records").status_code in {401, 404}


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "many", "1.5", "", "٣"])
def test_a_limit_out_of_range_is_refused_in_both_languages(calm: httpx.Client, limit: str) -> None:
    response = calm.get(TAX, params={"limit": limit})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_limit"
    assert "limit" in response.json()["error"]["message"]["zh"]


@given(st.text(min_size=1, max_size=60))
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cursor_that_was_never_given_out_is_refused(calm: httpx.Client, cursor: str) -> None:
    response = calm.get(TAX, params={"cursor": cursor})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_cursor"


def test_a_cursor_of_another_source_or_city_is_refused(city: Path, calm: httpx.Client, tmp_path: Path) -> None:
    _, cursor = pull(calm, TAX)
    assert calm.get("/government/v1/social_insurance/records", params={"cursor": cursor}).status_code == 400
    write_city(CityConfig(enterprises=20, months=24, seed=2), tmp_path / "other")
    with running(tmp_path / "other") as url, client_of(url) as other:
        assert other.get(TAX, params={"cursor": cursor}).status_code == 400


@pytest.fixture(scope="module")
def whole_stream(stormy: httpx.Client) -> list[Record]:
    return pull(stormy, TAX, 10_000)[0]


@given(limit=st.integers(97, 4000))
@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_page_size_gives_the_same_stream(stormy: httpx.Client, whole_stream: list[Record], limit: int) -> None:
    assert pull(stormy, TAX, limit)[0] == whole_stream


def test_single_records_give_the_same_stream_also_where_rows_are_doubled(
    stormy: httpx.Client, whole_stream: list[Record]
) -> None:
    records, cursor = [], ""
    for _ in range(300):
        page = page_of(stormy, TAX, cursor, 1)
        records += page["records"]
        cursor = page["next_cursor"]
    assert records == whole_stream[:300]


def test_the_stream_never_steps_back_in_time(whole_stream: list[Record]) -> None:
    times = [record["available_at"] for record in whole_stream]
    assert times == sorted(times)


def test_a_kept_cursor_brings_only_what_became_available_later(city: Path) -> None:
    held = END - timedelta(days=100)
    with running(city, as_of=held) as url, client_of(url) as client:
        first, cursor = pull(client, TAX)
        assert pull(client, TAX, cursor=cursor) == ([], cursor)
        answer = httpx.post(
            f"{url}/admin/clock",
            json={"as_of": (held + timedelta(days=40)).isoformat()},
            headers={"Authorization": f"Bearer {TOKENS.admin}"},
            trust_env=False,
        )
        assert answer.status_code == 200
        second, cursor = pull(client, TAX, 501, cursor)
    with running(city, as_of=END) as url, client_of(url) as client:
        third, _ = pull(client, TAX, cursor=cursor)
        everything, _ = pull(client, TAX)
    assert first
    assert second
    assert third
    assert first + second + third == everything
    assert max(record["available_at"] for record in first) <= held.isoformat()
    assert min(record["available_at"] for record in second) > held.isoformat()


def test_the_clock_goes_beyond_the_history_only_as_far_as_records_were_made(city: Path) -> None:
    with running(city, as_of=END + timedelta(days=30)) as url, client_of(url) as client:
        records, _ = pull(client, TAX)
    assert END.isoformat() < max(record["available_at"] for record in records) <= (END + timedelta(days=30)).isoformat()


def test_only_the_admin_token_moves_the_clock(calm: httpx.Client) -> None:
    assert calm.post("/admin/clock", json={"as_of": "2024-01-01T00:00:00"}).status_code == 401
    assert calm.get("/healthz").json()["served_through"] == END.isoformat()


@pytest.mark.parametrize("body", [b"", b"{}", b'{"as_of": "soon"}', b"[1]", b"\xff"])
def test_a_clock_that_is_no_time_is_refused(calm: httpx.Client, body: bytes) -> None:
    response = calm.post("/admin/clock", content=body, headers={"Authorization": f"Bearer {TOKENS.admin}"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_clock"


def test_a_page_says_until_when_it_is_complete(calm: httpx.Client) -> None:
    assert page_of(calm, TAX, "", 1)["served_through"] == END.isoformat()


@pytest.mark.parametrize(
    ("faults", "status", "code"),
    [
        (Faults(rate_429=1), 429, "too_many_requests"),
        (Faults(rate_500=1), 500, "internal"),
        (Faults(rate_timeout=1, hold_seconds=0.01), 504, "timeout"),
    ],
)
def test_a_transient_fault_passes_after_two_times(city: Path, faults: Faults, status: int, code: str) -> None:
    with running(city, faults) as url, client_of(url) as client:
        answers = [client.get(TAX, params={"limit": 5}) for _ in range(MOST_IN_A_ROW + 1)]
    assert [answer.status_code for answer in answers] == [status] * MOST_IN_A_ROW + [200]
    assert answers[0].json()["error"]["code"] == code
    assert (answers[0].headers.get("retry-after") == "1") == (status == 429)


def test_garbage_is_called_json_and_is_none(city: Path) -> None:
    with running(city, Faults(rate_garbage=1)) as url, client_of(url) as client:
        answers = [client.get(TAX, params={"limit": 5}) for _ in range(MOST_IN_A_ROW + 1)]
    for answer in answers[:MOST_IN_A_ROW]:
        assert answer.status_code == 200
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            answer.json()
    assert len(answers[-1].json()["records"]) == 5


def test_a_time_out_keeps_the_client_waiting(city: Path) -> None:
    with running(city, Faults(rate_timeout=1, hold_seconds=60)) as url, client_of(url) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get(TAX, timeout=0.2)
        with pytest.raises(httpx.ReadTimeout):
            client.get(TAX, timeout=0.2)
        assert client.get(TAX).status_code == 200


def test_the_same_seed_fails_in_the_same_places(city: Path) -> None:
    def statuses(seed: int) -> list[int]:
        faults = Faults(rate_429=0.3, rate_500=0.3, seed=seed)
        with running(city, faults) as url, client_of(url) as client:
            return [client.get(TAX, params={"limit": limit}).status_code for limit in range(1, 40)]

    assert statuses(1) == statuses(1)
    assert statuses(1) != statuses(2)
    assert set(statuses(1)) == {200, 429, 500}


def key_of(record: Record, source: str) -> tuple[Any, ...]:
    return tuple(record[name] for name in PRIMARY_KEYS[source])


def test_duplicates_are_the_same_row_served_twice(city: Path) -> None:
    with running(city, Faults(duplicate_rows=0.05)) as url, client_of(url) as client:
        records, _ = pull(client, TAX, 100)
    table = rows_of(city, "tax_declaration", END)
    repeated = [index for index in range(1, len(records)) if records[index] == records[index - 1]]
    assert len(records) - len(repeated) == table.num_rows
    assert 0.03 < len(repeated) / table.num_rows < 0.07
    assert [record for index, record in enumerate(records) if index not in set(repeated)] == [
        as_json(row) for row in table.to_pylist()
    ]


@pytest.fixture(scope="module")
def spoiled(city: Path) -> dict[str, list[Record]]:
    with running(city, Faults(malformed_rows=0.05)) as url, client_of(url) as client:
        return {source: pull(client, f"/government/v1/{source}/records")[0] for source in OWNERS["government"]}


def test_malformed_rows_are_of_every_kind(spoiled: dict[str, list[Record]]) -> None:
    everything = [record for records in spoiled.values() for record in records]
    assert any(record["uscc"] is None for record in everything)
    assert any(record["uscc"] and not standard.is_valid(record["uscc"]) for record in everything)
    assert any(record.get("insured_headcount", 0) == -3 for record in spoiled["social_insurance"])
    assert any(str(record.get("filed_on")).endswith("-02-30") for record in spoiled["tax_declaration"])
    assert any(record["declared_sales"] == "见附件" for record in spoiled["tax_declaration"])
    assert any("-13-45" in record["event_time"] for record in spoiled["judicial_penalty"])


@pytest.mark.parametrize("source", OWNERS["government"])
def test_most_malformed_rows_come_again_whole_and_a_little_later(
    city: Path, spoiled: dict[str, list[Record]], source: str
) -> None:
    originals = [as_json(row) for row in rows_of(city, source, END).to_pylist()]

    def without_time(record: Record) -> tuple[tuple[str, Any], ...]:
        return tuple(sorted((name, value) for name, value in record.items() if name != "available_at"))

    served_at: dict[tuple[tuple[str, Any], ...], list[str]] = {}
    for record in spoiled[source]:
        served_at.setdefault(without_time(record), []).append(record["available_at"])
    malformed = [row for row in originals if row["available_at"] not in served_at.get(without_time(row), [])]
    again = [row for row in malformed if without_time(row) in served_at]
    assert 0.02 < len(malformed) / len(originals) < 0.09
    assert len(again) >= 0.6 * len(malformed)
    assert all(served_at[without_time(row)][0] > row["available_at"] for row in again)


def test_an_exchange_without_a_city_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="simulate"):
        create_app(tmp_path, TOKENS)
