"""An event from the request that posts it to the row of the mart: durable, judged, landed once, in the features."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from credit301 import verbs
from credit301.errors import ContractError, SourceError
from credit301.features.windows.definition import window_sets
from credit301.sources import posted
from credit301.sources.batches import Store
from credit301.sources.connectors.base import Page
from credit301.sources.inbox import pull
from credit301.warehouse.landing_views import latest_known
from credit301.workspace import Workspace
from serving.app import Service
from tests.conftest import REPOSITORY
from tests.support.endpoint import GOOD_ONE, ask, client_of, make_bundle, workspace_in
from tests.support.redis_server import redis_server
from tests.support.scoring import GOOD, put
from tests.support.servers import running

SOURCE = "platform_event"
REFERENCE = REPOSITORY / "workspaces" / "wuhan"
DEVICES = [secrets.token_hex(32) for _ in range(2)]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The reference city, served."""
    with redis_server() as server:
        import redis

        with redis.Redis(port=server.port) as client:
            put(client, GOOD_ONE, GOOD)
        yield workspace_in(tmp_path_factory.mktemp("posted"), f"redis://127.0.0.1:{server.port}/0")


@pytest.fixture(scope="module")
def landing(city: Workspace) -> Workspace:
    """The same city's files, as a workspace that has only the posted source, so that a build is short."""
    return only_posted(city.settings.home / "one_source", city)


def only_posted(directory: Path, city: Workspace, pull: str = "{connector: posted}") -> Workspace:
    folder = directory / "sources" / SOURCE
    folder.mkdir(parents=True)
    contract = (REFERENCE / "sources" / SOURCE / "contract.yaml").read_text(encoding="utf-8")
    start = contract.index("    value: {connector: http_exchange")
    end = contract.index("\n", start)
    (folder / "contract.yaml").write_text(f"{contract[:start]}    value: {pull}{contract[end:]}", encoding="utf-8")
    (directory / "workspace.yaml").write_text(
        """\
name: wuhan
title: {zh: 武汉, en: Wuhan}
entity: {name: enterprise, key: uscc, label: {zh: 企业, en: enterprise}, format: uscc}
dimensions: {behaviour: {zh: 行为, en: behaviour}}
""",
        encoding="utf-8",
    )
    return Workspace.load(directory, city.settings)


@pytest.fixture(scope="module")
def api(city: Workspace) -> Iterator[httpx.Client]:
    make_bundle(city.paths.bundles)
    service = Service(city, bundle=city.paths.bundles / "v1")
    with running(service.app()) as address, client_of(city, address) as client:
        yield client


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": f"E{number}",
        "uscc": GOOD_ONE,
        "application_id": "A1",
        "event_kind": "submission",
        "page_step": "confirmation",
        "edit_count": 0,
        "duration_seconds": 3,
        "applicant_key": "a" * 64,
        "device_key": DEVICES[number % 2],
        "ip_key": "c" * 64,
        "event_time": (datetime.now(UTC) - timedelta(seconds=number)).isoformat(),
        **changes,
    }


def landed(workspace: Workspace) -> list[tuple[Any, ...]]:
    files = str(workspace.paths.landing / SOURCE / "*.parquet")
    return duckdb.read_parquet(files).order("event_id").project("event_id, device_key").fetchall()


@pytest.mark.server
def test_from_the_post_to_the_row_of_the_mart(api: httpx.Client, city: Workspace, landing: Workspace) -> None:
    sent = [event(number) for number in range(4)]
    failed = event(4, event_kind="verification")  # a verification without a result, which a rule of the row refuses
    assert api.post(f"/v1/events/{SOURCE}", json={"events": [*sent, failed]}).status_code == 200
    # Durable before the answer: one line each, whatever becomes of the endpoint from here on.
    journal = sorted((city.paths.events / SOURCE).glob("*.jsonl"))
    assert [json.loads(line)["event_id"] for path in journal for line in path.read_text().splitlines()] == [
        *(item["event_id"] for item in sent),
        "E4",
    ]
    # Posted again before and after it landed: each event is there once.
    api.post(f"/v1/events/{SOURCE}", json={"events": sent[:2]})
    counts = ingest(landing)
    assert (counts["landed"], counts["quarantined"]) == (4, 1)
    api.post(f"/v1/events/{SOURCE}", json={"events": sent[2:]})
    assert ingest(landing)["landed"] == 0
    assert landed(landing) == [(f"E{number}", DEVICES[number % 2]) for number in range(4)]
    quarantined = duckdb.read_parquet(str(landing.paths.quarantine / SOURCE / "*.parquet")).df()
    assert "verification_has_result" in str(quarantined.to_dict())

    assert verbs.call("build", landing, docs=False)["rows"][f"feature_{SOURCE}"] == 1
    (row,) = duckdb.read_parquet(str(landing.paths.mart(f"feature_{SOURCE}"))).df().to_dict("records")
    assert (row["uscc"], row["submission_count_6m"], row["device_count_12m"]) == (GOOD_ONE, 4, 2)
    # The windows count what landed as they counted it when it was posted.
    (windows,) = window_sets(city)
    before = subjects(api)
    assert verbs.call("features.rebuild_windows", landing)["subjects"][SOURCE] > 0
    assert subjects(api) == before
    assert before[f"{windows.source}:device_submissions_1h"] == 2


def ingest(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = verbs.call("ingest", workspace, source=SOURCE)[SOURCE]
    return found


def subjects(api: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = ask(api, subjects={"device_key": DEVICES[0]}).json()["windows"]
    return found


class Own:
    """A source of its own behind the posted events; out of order where ``down``."""

    def __init__(self, *, down: bool = False) -> None:
        self.asked: list[str] = []
        self.down = down

    def read(self, cursor: str) -> Iterator[Page]:
        self.asked.append(cursor)
        if self.down:
            raise SourceError("The exchange does not answer.")
        yield Page([{"event_id": "X"}], f"{cursor}x", "2026-01-01T00:00:00")


@pytest.fixture
def store(tmp_path: Path, city: Workspace) -> Store:
    settings = city.settings.model_copy(update={"home": tmp_path / "var"})
    directory = tmp_path / "one"
    return Store(only_posted(directory, Workspace(city.directory, city.definition, city.sources, settings)), SOURCE)


def write(store: Store, name: str, *lines: str) -> Path:
    folder = store.workspace.paths.events / SOURCE
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a", encoding="utf-8") as file:
        file.writelines(lines)
    return folder / name


def line(number: int, **changes: Any) -> str:
    return (
        json.dumps({**event(number), "available_at": "2026-01-01 00:00:00", "event_time": "2026-01-01", **changes})
        + "\n"
    )


def test_the_cursor_names_lines_and_the_source_itself_and_a_half_line_waits(store: Store) -> None:
    own = Own()
    reader = posted.Posted(store, store.workspace.paths.events / SOURCE, own)
    name = f"{datetime.now(UTC):%Y%m%dT%H}-1-a.jsonl"
    write(store, name, line(1), line(2), line(3)[:20])
    (page,) = reader.read("mine")
    assert [record["event_id"] for record in page.records] == ["E1", "E2"]  # type: ignore[union-attr]
    assert own.asked == []
    assert page.has_more
    # Nothing more was posted: the source itself is asked, from where it stood.
    (after,) = reader.read(page.cursor_after)
    assert own.asked == ["mine"]
    write(store, name, line(3)[20:], "no json\n")
    (rest,) = reader.read(after.cursor_after)
    assert [sorted(record) == ["_malformed_row"] or record["event_id"] for record in rest.records] == ["E3", True]  # type: ignore[union-attr]
    list(reader.read(rest.cursor_after))
    assert own.asked == ["mine", "minex"]
    # Without a journal a cursor is the source's own, as it always was.
    (first,) = posted.Posted(store, store.workspace.paths.events / "none", own).read("old")
    assert first.cursor_after == "oldx"


def test_a_file_goes_when_its_hour_is_over_and_its_last_line_has_landed(store: Store) -> None:
    reader = posted.Posted(store, store.workspace.paths.events / SOURCE, Own())
    old, now = (
        write(store, "20250101T00-1-a.jsonl", line(1)),
        write(store, f"{datetime.now(UTC):%Y%m%dT%H}-1-b.jsonl", line(2)),
    )
    pages = list(reader.read("mine"))
    assert (old.exists(), now.exists()) == (True, True)
    # A line came between: the file stays until that has landed, too.
    write(store, old.name, line(3))
    (page,) = reader.read(pages[-1].cursor_after)
    assert old.exists()
    list(reader.read(page.cursor_after))
    assert (old.exists(), now.exists()) == (False, True)


def test_what_was_posted_lands_although_the_source_itself_is_down(store: Store) -> None:
    write(store, "20250101T00-1-a.jsonl", line(1))
    reader = posted.Posted(store, store.workspace.paths.events / SOURCE, Own(down=True))
    batch = pull(store, store.workspace.settings, maximum_rows=10, connector=reader)
    assert batch is not None
    assert batch.rows == 1
    with pytest.raises(SourceError, match="does not answer"):
        list(reader.read(batch.cursor_after))


def test_only_a_source_with_windows_may_come_by_posting_alone(tmp_path: Path, city: Workspace) -> None:
    directory = tmp_path / "bad"
    only_posted(directory, city)
    path = directory / "sources" / SOURCE / "contract.yaml"
    text = path.read_text(encoding="utf-8")
    start, end = text.index("  - property: windows"), text.index("  - property: features")
    path.write_text(text[:start] + text[end:], encoding="utf-8")
    with pytest.raises(ContractError, match=r"contract\.yaml:\d+.*windows"):
        Workspace.load(directory, city.settings)


def test_posted_events_do_not_move_the_time_of_a_simulated_city(city: Workspace, landing: Workspace) -> None:
    found = {SOURCE: datetime(2026, 11, 1), "tax_payment": datetime(2026, 9, 30), "bank_loan": None}
    assert latest_known(city, found) == found["tax_payment"]
    assert latest_known(landing, found) == found[SOURCE]
