"""A challenger decides on its share, a shadow on nobody; all judge the same applications, and the report says so."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

from credit301 import verbs
from credit301.errors import NotFound
from credit301.governance.audit.entry import Event
from credit301.model import stewardship
from credit301.model.stewardship import AcceptLane, Stewardship
from credit301.workspace import Workspace
from serving.app import Service
from tests.support import strategies
from tests.support.endpoint import ask, client_of, make_bundle, workspace_in
from tests.support.redis_server import redis_server
from tests.support.scoring import GOOD, put, valid_uscc
from tests.support.servers import running

pytestmark = pytest.mark.server
ENTITIES = [valid_uscc(f"91420100MA5K{number:04d}") for number in range(40)]
LANE = AcceptLane(share=1.0, monthly_cap=Decimal(10_000_000), limit_per_loan=Decimal(30_000))
ROLES: dict[str, dict[str, Any]] = {
    "credit": {},
    "stricter": {"role": "challenger", "share": 0.5, "cut_off": 0.0001},
    "watcher": {"role": "shadow", "parameters": {"margin": "0.05"}},
}


def write(folder: Path, name: str, **changes: Any) -> None:
    document = copy.deepcopy(strategies.DOCUMENT)
    document["name"] = name
    definition = document["definition"]
    definition["parameters"] |= changes.pop("parameters", {})
    strategies.write(folder, {**document, "definition": definition | changes})


@dataclass
class Decided:
    workspace: Workspace
    answers: list[dict[str, Any]]


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    patch = pytest.MonkeyPatch()
    with redis_server() as store:
        client = redis.Redis(port=store.port)
        for entity in ENTITIES:
            put(client, entity, GOOD)
        made = workspace_in(tmp_path_factory.mktemp("beside"), f"redis://127.0.0.1:{store.port}/0", consenting=ENTITIES)
        for name, changes in ROLES.items():
            write(made.directory / "strategies", name, **changes)
        make_bundle(made.paths.bundles)
        # A lot that everybody draws lends to those whom the challenger declines.
        patch.setattr(stewardship, "load", lambda _: Stewardship(accept_lane=LANE))
        service = Service(made, bundle=made.paths.bundles / "v1")
        with running(service.app()) as address, client_of(made, address) as api:
            answers = [ask(api, entity).json() for entity in (*ENTITIES, ENTITIES[0])]
        patch.undo()
        yield Decided(made, answers)


def _records(workspace: Workspace, event: Event) -> list[dict[str, Any]]:
    lines = [line for path in workspace.paths.audit.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    records = [json.loads(line.rpartition(b"\t")[0]) for line in lines if b'"entry"' in line]
    return [record["entry"] for record in records if record["entry"]["event"] == event]


def test_a_challenger_decides_on_the_same_share_each_time(decided: Decided) -> None:
    by = [answer["versions"]["strategy"] for answer in decided.answers]
    assert set(by) == {"credit test-1", "stricter test-1"}
    assert by[-1] == by[0]
    for answer in decided.answers:
        challenged = answer["versions"]["strategy"] == "stricter test-1"
        assert answer["versions"].get("strategy_role") == ("challenger" if challenged else None)
        assert (answer["accept_lane"] is not None) == challenged


def test_those_that_did_not_decide_judge_the_same_afterwards(decided: Decided) -> None:
    shadowed = _records(decided.workspace, Event.STRATEGY_SHADOWED)
    for answer in decided.answers:
        mine = {one["detail"]["strategy"] for one in shadowed if one["decision"] == answer["decision_id"]}
        assert mine == {f"{name} test-1" for name in ROLES} - {answer["versions"]["strategy"]}


def test_each_is_replayed_by_the_strategy_that_decided(decided: Decided) -> None:
    count = len(decided.answers)
    assert verbs.call("replay", decided.workspace, last=1000) == {"replayed": count, "identical": count}


def test_the_report_counts_both_on_the_same_applications(decided: Decided) -> None:
    count = len(decided.answers)
    by_challenger = sum("strategy_role" in answer["versions"] for answer in decided.answers)
    said = verbs.call("strategy.compare", decided.workspace)
    assert (said["a"]["strategy"], said["b"]["strategy"]) == ("credit test-1", "stricter test-1")
    assert (said["applications"], said["same_outcome"]) == (count, 0.0)
    assert (said["a"]["decided"], said["b"]["decided"]) == (count - by_challenger, by_challenger)
    assert (said["a"]["approved"], said["b"]["approved"]) == (count, 0)
    assert {name: part["applications"] for name, part in said["swap_set"].items()} == {
        "both": 0,
        "only_a": count,
        "only_b": 0,
        "neither": 0,
    }
    dearer = verbs.call("strategy.compare", decided.workspace, a="credit", b="watcher")
    assert dearer["b"]["decided"] == 0
    assert dearer["b"]["mean_rate"] == pytest.approx(dearer["a"]["mean_rate"] + 0.038)
    page = Path(dearer["page"]).read_text(encoding="utf-8")
    assert "互换集" in page
    assert "Swap set" in page
    with pytest.raises(NotFound, match="nothing"):
        verbs.call("strategy.compare", decided.workspace, a="nothing")
