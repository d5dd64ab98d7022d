"""What the packed online store sends to its servers: rows in and out, in calls that a server or a cluster accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from redis import Redis, RedisCluster

from credit301.features.packed_wire import WRITE_SCRIPT

ROWS_A_CALL = 512
CALLS_A_PIPELINE = 32
TIDY_SCRIPT = """
local deleted = 0
for _, key in ipairs(KEYS) do
  for at = 1, #ARGV, 2 do
    local row = redis.call('HGET', key, ARGV[at])
    if row and string.byte(row, 1) == 1 and struct.unpack('>i8', row, 14) < tonumber(ARGV[at + 1]) then
      deleted = deleted + redis.call('HDEL', key, ARGV[at])
    end
  end
end
return deleted
"""
"""Deletes the rows in fields ARGV[1], ARGV[3], ... of KEYS whose event time is before ARGV[2], ARGV[4], ..."""


def calls_of(client: Redis | RedisCluster, keys: list[bytes]) -> Iterator[tuple[Redis, list[list[int]]]]:
    """For each server, the places of its keys in calls that it accepts: in a cluster, keys of one slot."""
    if not isinstance(client, RedisCluster):
        yield client, list(batched(list(range(len(keys))), ROWS_A_CALL))
        return
    slots: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        slots.setdefault(client.keyslot(key), []).append(place)
    nodes: dict[str, list[list[int]]] = {}
    for slot, places in slots.items():
        nodes.setdefault(client.nodes_manager.get_node_from_slot(slot).name, []).append(places)
    for name, calls in nodes.items():
        yield client.get_redis_connection(client.get_node(node_name=name)), calls


def write(client: Redis | RedisCluster, field: bytes, expire: int, keys: list[bytes], rows: list[bytes]) -> int:
    """Write ``rows`` to ``field`` of ``keys``; how many were not too old to be written."""
    written = 0
    for node, calls in calls_of(client, keys):
        for several in batched(calls, CALLS_A_PIPELINE):
            with node.pipeline(transaction=False) as pipeline:
                for places in several:
                    these = [keys[place] for place in places]
                    pipeline.eval(WRITE_SCRIPT, len(these), *these, field, expire, *[rows[place] for place in places])
                written += sum(pipeline.execute())
    return written


def drop(client: Redis | RedisCluster, keys: list[bytes], fields: list[str]) -> None:
    """Delete ``fields`` of ``keys``; the last field that goes takes the key with it."""
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.execute_command("HDEL", key, *fields)
        pipeline.execute()


def tidy(client: Redis | RedisCluster, keys: list[bytes], bounds: dict[str, int]) -> int:
    """Delete of ``keys`` the rows by field whose event time is before the field's bound; how many those were."""
    words = [word for field, bound in bounds.items() for word in (field, str(bound))]
    deleted = 0
    for node, calls in calls_of(client, keys):
        with node.pipeline(transaction=False) as pipeline:
            for places in calls:
                pipeline.eval(TIDY_SCRIPT, len(places), *[keys[place] for place in places], *words)
            deleted += sum(pipeline.execute())
    return deleted


def batched(items: list[Any], size: int) -> Iterator[list[Any]]:
    """``items`` in lists of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def escaped(prefix: bytes) -> bytes:
    """``prefix`` as it must stand in a pattern of SCAN."""
    return re.sub(rb"([*?\[\]\\^-])", rb"\\\1", prefix)
