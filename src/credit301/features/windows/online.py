"""Windows in the online store: events are appended as they come, each with one small script for each of its subjects.

A subject is one string of entries (:data:`~credit301.features.windows.definition.ENTRY`), no more than there are
buckets in its windows, and a sorted set of the identities that came within ``lateness``. Both go by themselves when no
event has come for the longest span. The script is atomic for a subject: an append that was broken off is sent again
whole, and counts where it had not counted yet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from credit301.features.windows.definition import AHEAD, HEAD, SECOND, WindowSet

APPEND_SCRIPT = """
local known = redis.call('ZSCORE', KEYS[2], ARGV[1])
if known and tonumber(known) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
local wanted, kept, floors = {}, {}, ARGV[6]
for at = 1, #ARGV[5], 6 do wanted[string.sub(ARGV[5], at, at + 5)] = true end
local there = redis.call('GET', KEYS[1]) or ''
for at = 1, #there, 10 do
  local head = string.sub(there, at, at + 5)
  local span, bucket = struct.unpack('>BI4', head, 2)
  if bucket >= struct.unpack('>I4', floors, span * 4 + 1) then
    if wanted[head] then
      kept[#kept + 1] = head .. struct.pack('>I4', struct.unpack('>I4', there, at + 6) + 1)
      wanted[head] = nil
    else
      kept[#kept + 1] = string.sub(there, at, at + 9)
    end
  end
end
for head in pairs(wanted) do kept[#kept + 1] = head .. struct.pack('>I4', 1) end
redis.call('SET', KEYS[1], table.concat(kept), 'PX', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
"""
"""Takes event ARGV[1] of time ARGV[2] into the entries KEYS[1] and the identities KEYS[2], unless it is remembered with
a time of ARGV[3] or later; ARGV[4] is the time to live in milliseconds, ARGV[5] the heads of the entries that grow,
ARGV[6] the first bucket of each span that is still of use. Gives 1 where it was taken in, 0 for a repeat."""


@dataclass(frozen=True)
class Append:
    """One call of :data:`APPEND_SCRIPT`: the two keys (in one slot) and its arguments."""

    keys: tuple[bytes, bytes]
    arguments: tuple[bytes, ...]

    @property
    def command(self) -> tuple[bytes, ...]:
        """As a command."""
        return (b"EVAL", APPEND_SCRIPT.encode(), b"2", *self.keys, *self.arguments)


def ids_key(key: bytes) -> bytes:
    """Key of the identities that came lately, beside the entries' ``key``."""
    return key + b":ids"


def time_to_live(windows: WindowSet) -> int:
    """Milliseconds after which a subject without events is of no use any more."""
    return (windows.longest + windows.lateness + AHEAD) * 1000 // SECOND


def appends(windows: WindowSet, event: Mapping[str, Any], event_time: int, came: int) -> list[Append]:
    """What to send so that ``event`` (values by column) is counted; nothing where it is counted nowhere."""
    if not windows.takes(event_time, came):
        return []
    numbers = [b"%d" % number for number in (event_time, came - windows.lateness, time_to_live(windows))]
    floors = struct.pack(f">{len(windows.spans)}I", *(max(floor, 0) for floor in windows.floors(came)))
    found = []
    for subject in windows.subjects:
        value, places = event.get(subject.column), subject.matching(event)
        if value is None or not places:
            continue
        heads = b"".join(
            HEAD.pack(place, span, event_time // resolution)
            for place in places
            for span, resolution in enumerate(windows.resolutions)
        )
        key = windows.key(subject.column, str(value))
        arguments = (str(event[windows.identity]).encode("utf-8"), *numbers, heads, floors)
        found.append(Append((key, ids_key(key)), arguments))
    return found


def send(client: Any, calls: Iterable[Append]) -> list[int]:
    """Send ``calls`` with a synchronous client, in one pipeline; whether each was taken in (1) or a repeat (0)."""
    with client.pipeline(transaction=False) as pipeline:
        for call in calls:
            pipeline.eval(APPEND_SCRIPT, 2, *call.keys, *call.arguments)
        return [int(reply) for reply in pipeline.execute()]
