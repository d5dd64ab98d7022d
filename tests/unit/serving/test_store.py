"""The connections to the online store, against a real one."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
import redis

from credit301.contracts.model import Text
from credit301.governance.consent.coverage import Asking, ConsentRule
from credit301.governance.definition import ConsentPolicy
from credit301.identity.keyed_hash import KeyedHash
from credit301.model.bundle import Manifest
from serving.features import OnlineStore, Plan, StoreUnreachable
from serving.permission import ConsentGate
from tests.support.redis_server import redis_server
from tests.support.scoring import GOOD, put, trained, valid_uscc

pytestmark = pytest.mark.server


ASKING = Asking("demo")


@pytest.fixture
def gate() -> ConsentGate:
    """No consent is needed; what it decides is tested where it is."""
    policy = ConsentPolicy(mode="not_required", reason=Text(zh="测试", en="a test"))
    return ConsentGate(ConsentRule({}, policy), KeyedHash("key"), "wuhan")


@pytest.fixture
def manifest() -> Manifest:
    return trained().manifest


def test_many_questions_at_once_share_one_connection_and_each_gets_its_own_answer(
    manifest: Manifest, gate: ConsentGate
) -> None:
    entities = [valid_uscc(f"91420100MA4K{number:04d}") for number in range(40)]

    async def read_all(port: int) -> list[object]:
        async with OnlineStore(f"redis://127.0.0.1:{port}/0", gate) as store:
            plan = Plan(manifest)
            return [
                row.values for row in await asyncio.gather(*(store.read(plan, entity, ASKING) for entity in entities))
            ]

    with redis_server() as server:
        client: Any = redis.Redis(port=server.port)
        for number, entity in enumerate(entities):
            put(client, entity, {**GOOD, "business_registration:age_days": float(number)})
        before = int(client.info("stats")["total_connections_received"])
        rows = asyncio.run(read_all(server.port))
        opened = int(client.info("stats")["total_connections_received"]) - before
    place = Plan(manifest).keys.index("business_registration:age_days")
    assert [row[place] for row in rows] == [float(number) for number in range(40)]  # type: ignore[index]
    assert opened == 1


def test_a_server_that_says_nothing_is_hung_up_on_and_asked_again_when_it_is_well(
    manifest: Manifest, gate: ConsentGate
) -> None:
    entity = valid_uscc("91420100MA4K0001")

    async def read(port: int, server: int) -> list[object]:
        async with OnlineStore(f"redis://127.0.0.1:{port}/0", gate, timeout=2.0) as store:
            plan = Plan(manifest)
            before = await store.read(plan, entity, ASKING)
            os.kill(server, signal.SIGSTOP)
            try:
                asked = [store.read(plan, entity, ASKING) for _ in range(3)]
                silent = await asyncio.gather(*asked, return_exceptions=True)
            finally:
                os.kill(server, signal.SIGCONT)
            assert [type(answer) for answer in silent] == [StoreUnreachable] * 3
            after = await store.read(plan, entity, ASKING)
            return [before.values, after.values]

    with redis_server() as server:
        client: Any = redis.Redis(port=server.port)
        put(client, entity, GOOD)
        before, after = asyncio.run(read(server.port, int(client.info("server")["process_id"])))
    assert before == after


def test_a_server_that_was_restarted_is_asked_over_a_new_connection(manifest: Manifest, gate: ConsentGate) -> None:
    entity = valid_uscc("91420100MA4K0001")

    async def read(port: int, client: Any) -> list[object]:
        async with OnlineStore(f"redis://127.0.0.1:{port}/0", gate) as store:
            plan = Plan(manifest)
            before = await store.read(plan, entity, ASKING)
            client.client_kill_filter(_type="normal", skipme=True)
            after = await asyncio.gather(*(store.read(plan, entity, ASKING) for _ in range(5)))
            return [row.values for row in (before, *after)]

    with redis_server() as server:
        client: Any = redis.Redis(port=server.port)
        put(client, entity, GOOD)
        rows = asyncio.run(read(server.port, client))
    assert rows == [rows[0]] * 6


def test_a_request_given_up_in_the_middle_leaves_no_reply_for_the_next_one(
    manifest: Manifest, gate: ConsentGate
) -> None:
    one, other = valid_uscc("91420100MA4K0001"), valid_uscc("91420100MA4K0002")

    async def read(port: int, server: int) -> object:
        async with OnlineStore(f"redis://127.0.0.1:{port}/0", gate, timeout=60.0) as store:
            plan = Plan(manifest)
            await store.read(plan, one, ASKING)
            os.kill(server, signal.SIGSTOP)
            try:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(store.read(plan, one, ASKING), 0.05)
            finally:
                os.kill(server, signal.SIGCONT)
            return (await store.read(plan, other, ASKING)).values[plan.keys.index("business_registration:age_days")]

    with redis_server() as server:
        client: Any = redis.Redis(port=server.port)
        put(client, one, {**GOOD, "business_registration:age_days": 1.0})
        put(client, other, {**GOOD, "business_registration:age_days": 2.0})
        assert asyncio.run(read(server.port, int(client.info("server")["process_id"]))) == 2.0
