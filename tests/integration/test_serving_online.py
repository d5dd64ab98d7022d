"""The endpoint's online side: one server or a cluster, time to live, versions side by side, windows over events."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from redis import RedisCluster

from credit301.features.freshness import FreshnessBook
from credit301.features.online_address import OnlineAddress
from credit301.features.packed_wire import entity_key
from credit301.features.vector import Plan
from credit301.features.windows.definition import window_sets
from credit301.governance.consent.coverage import Asking
from credit301.governance.erasure import online
from credit301.governance.erasure.target import Target
from credit301.identity.keyed_hash import KeyedHash
from credit301.model import bundle
from credit301.workspace import Workspace
from serving.app import Service
from serving.features import OnlineStore, StoreUnreachable
from serving.permission import ConsentGate
from serving.wire import slot_of
from tests.support.cluster import running_cluster
from tests.support.consenting import consent
from tests.support.endpoint import GOOD_ONE, TAX_ONLY, ask, client_of, metrics_of, refused, workspace_in
from tests.support.redis_server import redis_server
from tests.support.scoring import AS_OF, GOOD, KEY, PROJECT, put, trained, valid_uscc
from tests.support.servers import running

pytestmark = pytest.mark.server

DEVICE, OTHER_DEVICE = "d" * 64, "e" * 64


@pytest.fixture(scope="module", params=["one server", "cluster of three"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with ExitStack() as stack:
        if request.param == "one server":
            yield f"redis://127.0.0.1:{stack.enter_context(redis_server()).port}/0"
        else:
            ports = stack.enter_context(running_cluster(3))
            yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports[:2])


def write_bundle(folder: Path, version: str = "v1", **views: dict[str, Any]) -> Path:
    """A small bundle; ``views`` changes the views of these names."""
    model = trained(version)
    changed = tuple(msgspec.structs.replace(view, **views.get(view.name, {})) for view in model.manifest.views)
    manifest = msgspec.structs.replace(model.manifest, views=changed, windows=("platform_event:device_submissions_1h",))
    bundle.write(folder / version, manifest, model.files)
    return folder / version


@pytest.fixture(scope="module")
def workspace(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    client = OnlineAddress.parse(store_url).client()
    put(client, GOOD_ONE, GOOD)  # type: ignore[arg-type]
    put(client, TAX_ONLY, GOOD, only="tax_declaration")  # type: ignore[arg-type]
    return workspace_in(tmp_path_factory.mktemp("online"), store_url)


@pytest.fixture(scope="module")
def api(workspace: Workspace) -> Iterator[httpx.Client]:
    service = Service(workspace, bundle=write_bundle(workspace.paths.bundles))
    with running(service.app()) as address, client_of(workspace, address) as client:
        yield client


def event(**changes: Any) -> dict[str, Any]:
    return {
        "event_id": secrets.token_hex(8),
        "uscc": GOOD_ONE,
        "application_id": "A1",
        "event_kind": "submission",
        "page_step": "confirmation",
        "edit_count": 0,
        "duration_seconds": 3,
        "applicant_key": "a" * 64,
        "device_key": DEVICE,
        "ip_key": "c" * 64,
        "event_time": datetime.now(UTC).isoformat(),
        **changes,
    }


def post(api: httpx.Client, *events: dict[str, Any]) -> httpx.Response:
    return api.post("/v1/events/platform_event", json={"events": list(events)})


def windows_of(api: httpx.Client, device: str) -> dict[str, int | None]:
    found: dict[str, int | None] = ask(api, subjects={"device_key": device}).json()["windows"]
    return found


class TestWindows:
    def test_what_was_posted_is_in_the_next_decision_and_rules_read_it(self, api: httpx.Client) -> None:
        device = secrets.token_hex(32)
        assert ask(api, subjects={"device_key": device}).json()["outcome"] == "approve"
        sent = [event(device_key=device) for _ in range(6)]
        assert post(api, *sent).json() == {"outcomes": ["counted"] * 6}
        decision = ask(api, subjects={"device_key": device}).json()
        assert decision["windows"]["platform_event:device_submissions_10m"] == 6
        assert decision["windows"]["platform_event:device_logins_7d"] == 0
        assert decision["windows"]["platform_event:ip_submissions_10m"] is None
        assert decision["windows"]["platform_event:enterprise_submissions_1h"] >= 3
        assert decision["outcome"] == "refer"
        (hit,) = [rule for rule in decision["rules"] if rule["hit"]]
        assert (hit["id"], hit["read"]) == ("device_velocity", {"windows.platform_event.device_submissions_1h": 6})

    def test_an_event_sent_again_is_counted_once(self, api: httpx.Client) -> None:
        device = secrets.token_hex(32)
        sent = event(device_key=device)
        assert post(api, sent, sent).json() == {"outcomes": ["counted", "repeated"]}
        assert post(api, sent).json() == {"outcomes": ["repeated"]}
        assert windows_of(api, device)["platform_event:device_submissions_1h"] == 1

    def test_late_events_and_those_that_no_window_counts_are_kept_on_disk_only(
        self, api: httpx.Client, workspace: Workspace
    ) -> None:
        device = secrets.token_hex(32)
        old = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
        sent = [event(device_key=device, event_time=old), event(device_key=device, event_kind="page_step")]
        assert post(api, *sent).json() == {"outcomes": ["late", "kept"]}
        assert windows_of(api, device)["platform_event:device_submissions_24h"] == 0
        journal = b"".join(path.read_bytes() for path in (workspace.paths.events / "platform_event").glob("*.jsonl"))
        assert all(item["event_id"].encode() in journal for item in sent)

    @pytest.mark.parametrize(
        "changes",
        [
            {"event_kind": "theft"},
            {"device_key": "not a hash"},
            {"event_time": "2026-01-01T00:00:00"},
            {"available_at": "2026-01-01T00:00:00Z"},
            {"edit_count": -1},
            {"somebody": "else"},
        ],
    )
    def test_what_the_contract_does_not_allow_is_refused_whole(
        self, api: httpx.Client, changes: dict[str, Any]
    ) -> None:
        device = secrets.token_hex(32)
        answer = post(api, event(device_key=device), event(**changes))
        assert answer.status_code == 422
        assert windows_of(api, device)["platform_event:device_submissions_1h"] == 0

    def test_an_enterprise_that_is_none_is_refused(self, api: httpx.Client) -> None:
        refused(post(api, event(uscc="91420100MA4K00000X")), 422, "invalid_uscc", "uscc")

    def test_windows_of_a_source_without_consent_are_not_told(self, workspace: Workspace) -> None:
        entity = valid_uscc("91420100MA4K0021")
        put(OnlineAddress.parse(workspace.settings.redis_address()).client(), entity, GOOD)  # type: ignore[arg-type]
        others = sorted(set(workspace.sources) - {"platform_event"})
        consent(workspace, entity, sources=others)
        row = read(workspace, Plan(trained().manifest), entity)
        assert row.found
        assert set(row.windows.values()) == {None}
        assert "platform_event" not in row.coverage.sources

    def test_posting_needs_a_key(self, api: httpx.Client) -> None:
        with httpx.Client(base_url=api.base_url, trust_env=False) as stranger:
            refused(post(stranger, event()), 401, "unauthorised")

    def test_events_are_counted_by_what_became_of_them(self, api: httpx.Client) -> None:
        name = 'credit301_events_total{outcome="counted",source="platform_event"}'
        before = metrics_of(api).get(name, 0.0)
        post(api, event())
        assert metrics_of(api)[name] == before + 1


class TestFreshness:
    def test_the_age_of_each_view_is_a_metric(self, api: httpx.Client, workspace: Workspace) -> None:
        book = FreshnessBook.of(workspace)
        newest = datetime.now(UTC) - timedelta(days=40)
        book.write(OnlineAddress.parse(workspace.settings.redis_address()).client(), {"tax_declaration": newest})
        seen = metrics_of(api)
        assert seen['credit301_view_newest_row_age_seconds{view="tax_declaration"}'] == pytest.approx(
            40 * 86400, abs=60
        )
        assert seen['credit301_view_materialized_age_seconds{view="tax_declaration"}'] < 60
        maximum = workspace.source("tax_declaration").freshness.maximum_age_days
        assert maximum is not None
        assert seen['credit301_view_maximum_age_seconds{view="tax_declaration"}'] == maximum * 86400
        stale = {
            view.view for view in book.read({b"tax_declaration": f"0 {newest.timestamp()}".encode()}) if view.stale
        }
        assert ("tax_declaration" in stale) == (maximum < 40)


def read(workspace: Workspace, plan: Plan, entity: str) -> Any:
    async def run() -> Any:
        gate = ConsentGate.of(workspace)
        async with OnlineStore(workspace.settings.redis_address(), gate, windows=window_sets(workspace)) as store:
            return await store.read(plan, entity, Asking("demo"))

    return asyncio.run(run())


class TestRows:
    def test_a_row_past_its_time_to_live_is_no_data(self, workspace: Workspace) -> None:
        young = int((datetime.now(UTC) - AS_OF).total_seconds()) + 3600
        for seconds, expired in ((young, False), (young - 7200, True)):
            directory = write_bundle(
                workspace.paths.root / "ttl", f"t{seconds}", tax_declaration={"ttl_seconds": seconds}
            )
            row = read(workspace, Plan(bundle.read(directory).manifest), GOOD_ONE)
            assert ("tax_declaration" in row.expired) is expired
            assert (row.as_of["tax_declaration"] is None) is expired
            assert row.as_of["judicial_penalty"] == AS_OF

    def test_an_enterprise_whose_rows_are_all_expired_is_unknown(self, workspace: Workspace) -> None:
        directory = write_bundle(workspace.paths.root / "ttl", "old", tax_declaration={"ttl_seconds": 60})
        assert not read(workspace, Plan(bundle.read(directory).manifest), TAX_ONLY).found

    def test_two_versions_of_a_view_are_read_side_by_side(self, workspace: Workspace) -> None:
        entity = valid_uscc("91420100MA4K0001")
        client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client()
        put(client, entity, GOOD)
        key, name = entity_key(PROJECT, KEY, entity), "tax_declaration:declared_sales_12m_sum"
        first = client.hget(key, "tax_declaration")
        put(client, entity, {**GOOD, name: 7.0})
        client.hset(key, "tax_declaration__v2", client.hget(key, "tax_declaration"))
        client.hset(key, "tax_declaration", first)
        found = []
        changes: dict[str, dict[str, Any]] = {}
        for version, views in (("old", changes), ("new", {"tax_declaration": {"field": "tax_declaration__v2"}})):
            directory = write_bundle(workspace.paths.root / "versions", version, **views)
            plan = Plan(bundle.read(directory).manifest)
            workspace_in(workspace.settings.home, workspace.settings.redis_url, consenting=[entity])
            found.append(read(workspace, plan, entity).values[plan.keys.index(name)])
        assert found == [GOOD[name], 7.0]


def test_erasing_an_enterprise_takes_its_rows_and_windows(api: httpx.Client, workspace: Workspace) -> None:
    entity = valid_uscc("91420100MA4K0002")
    client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client()
    put(client, entity, GOOD)
    assert post(api, event(uscc=entity)).json() == {"outcomes": ["counted"]}
    assert len(list(client.scan_iter(f"*{entity}*"))) == 3
    target = Target.of(entity, KeyedHash.from_settings(workspace.settings), frozenset({KEY}))
    assert online.erase(workspace, target) == 3
    assert list(client.scan_iter(f"*{entity}*")) == []


def test_slots_are_those_of_the_cluster() -> None:
    import redis.crc

    for key in (b"abc", b"credit301:wuhan:window:{device_key:1}:ids", b"a{}b", b"a{b", bytes(range(256))):
        assert slot_of(key) == redis.crc.key_slot(key)


def test_slots_that_move_are_found_where_they_are(tmp_path: Path) -> None:
    with running_cluster(3) as ports:
        url = f"redis+cluster://127.0.0.1:{ports[0]}"
        client: Any = RedisCluster(host="127.0.0.1", port=ports[0])
        workspace = workspace_in(tmp_path, url)
        put(client, GOOD_ONE, GOOD)
        plan = Plan(trained().manifest)

        async def run() -> list[Any]:
            async with OnlineStore(url, ConsentGate.of(workspace), windows=window_sets(workspace)) as store:
                before = await store.read(plan, GOOD_ONE, Asking("demo"))
                # Once while the slot is on its way, once when it is where it goes.
                moving = [await store.read(plan, GOOD_ONE, Asking("demo")) for _ in move(client, plan.key(GOOD_ONE))]
                return [before, *moving]

        assert [row.values for row in asyncio.run(run())] == [[GOOD[key] for key in plan.keys]] * 3


def move(client: Any, key: bytes) -> Iterator[str]:
    """Give the slot of ``key``, with what is in it, to another server, in two steps."""
    import redis

    slot = client.keyslot(key)
    source = client.nodes_manager.get_node_from_slot(slot)
    target = next(node for node in client.get_primaries() if node.name != source.name)
    here, there = (redis.Redis(host=node.host, port=node.port) for node in (source, target))
    ids = {node.name: c.execute_command("CLUSTER", "MYID") for node, c in ((source, here), (target, there))}
    there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.name])
    here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.name])
    for name in here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
        here.execute_command("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
    yield "asked"
    for one in (there, here):
        one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target.name])
    yield "moved"


def test_a_cluster_that_is_not_there_is_unreachable(workspace: Workspace) -> None:
    nowhere = replace(
        workspace, settings=workspace.settings.model_copy(update={"redis_url": "redis+cluster://127.0.0.1:1"})
    )
    started = time.monotonic()
    with pytest.raises(StoreUnreachable):
        read(nowhere, Plan(trained().manifest), GOOD_ONE)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("url", ["http://h:1", "redis://", "redis://a:1,b:2/0", "redis+cluster://a:1/3", "redis://h/x"])
def test_an_address_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    from credit301.errors import FeatureStoreError

    with pytest.raises(FeatureStoreError, match=r"is no address of an online store.*CREDIT301_REDIS_URL") as refusal:
        OnlineAddress.parse(url.replace("//", "//:secret@"))
    assert "secret" not in str(refusal.value)
