"""A real cluster of Redis-protocol servers on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import redis

from tests.support.redis_server import redis_server

SLOTS = 16_384
PATIENCE_SECONDS = 60.0


@contextmanager
def running_cluster(nodes: int) -> Iterator[list[int]]:
    """Ports of ``nodes`` primaries that share the slots and know one another."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(redis_server(config={"cluster-enabled": "yes", "cluster-require-full-coverage": "yes"}))
            for _ in range(nodes)
        ]
        clients = [redis.Redis(port=server.port) for server in servers]
        for place, client in enumerate(clients):
            first, last = SLOTS * place // nodes, SLOTS * (place + 1) // nodes - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO") for client in clients):
            if time.monotonic() > deadline:
                raise TimeoutError("the cluster did not form")
            time.sleep(0.05)
        yield [int(server.port) for server in servers]
