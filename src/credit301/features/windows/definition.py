"""What a contract's ``windows`` mean: names, buckets, keys and sums. Online and offline both go by what is here.

The rule, for one value of one column (a *subject*, say one device):

- An event that satisfies at least one count of the column is taken in if it came at most ``lateness`` after its event
  time and is at most :data:`AHEAD` ahead of it, and is no repeat: its identity was not taken in before for this subject
  with an event time less than ``lateness`` before it came.
- A window of span ``s`` has ``buckets`` buckets of ``r = s / buckets``. Asked at ``T``, it counts the events known
  (come) by then whose bucket ``floor(t / r)`` is one of the ``buckets`` up to and with ``floor(T / r)``. It covers the
  last ``s - r`` entirely and nothing before the last ``s``.

Times are microseconds since 1970 (UTC).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from credit301.contracts.model import Contract, Text, WindowCount, Windows, seconds_of

if TYPE_CHECKING:
    from credit301.workspace import Workspace

SECOND = 1_000_000
AHEAD = 300 * SECOND
"""How far ahead of its coming an event's time may be: clocks differ."""

ENTRY = struct.Struct(">BBII")
"""One bucket of a subject: place of the count, place of the span, number of the bucket, events in it."""
HEAD = struct.Struct(">BBI")
_ENTRIES = np.dtype([("count", "u1"), ("span", "u1"), ("bucket", ">u4"), ("events", ">u4")])
_MANY = 64 * ENTRY.size
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Counts = dict[str, int | None]


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of a moment; one without a zone is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Subject:
    """A column by whose values events are counted, with the counts that are by it."""

    column: str
    counts: tuple[WindowCount, ...]

    def matching(self, event: Mapping[str, Any]) -> list[int]:
        """Places of the counts that ``event`` (values by column) satisfies."""
        return [place for place, count in enumerate(self.counts) if _satisfies(count, event)]


@dataclass(frozen=True)
class WindowSet:
    """The windows of one source, made once from its contract.

    Attributes:
        project: name of the workspace.
        contract: the source.
    """

    project: str
    contract: Contract

    @property
    def source(self) -> str:
        """Name of the source, and first part of the windows' names."""
        return self.contract.name

    @cached_property
    def spans(self) -> tuple[str, ...]:
        """The spans as declared."""
        return self._windows.spans

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Length of a bucket of each span."""
        return tuple(seconds_of(span) * SECOND // self.buckets for span in self.spans)

    @cached_property
    def buckets(self) -> int:
        """Buckets of a window."""
        return self._windows.buckets

    @cached_property
    def lateness(self) -> int:
        """How long after its event time an event may come."""
        return seconds_of(self._windows.lateness) * SECOND

    @cached_property
    def longest(self) -> int:
        """The longest span."""
        return max(seconds_of(span) for span in self.spans) * SECOND

    @cached_property
    def identity(self) -> str:
        """The column that identifies an event."""
        return self.contract.primary_key[0]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every column that windows need, identity and times first."""
        time = self.contract.time
        wanted = [self.identity, time.event_time or "", time.available_at or ""]
        for count in self._windows.counts:
            wanted += [count.by, *count.where]
        return tuple(dict.fromkeys(wanted))

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """The columns counted by, in the order of their first count."""
        by = dict.fromkeys(count.by for count in self._windows.counts)
        return tuple(
            Subject(column, tuple(count for count in self._windows.counts if count.by == column)) for column in by
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all windows as features, ``<source>:<count>_<span>``, in the order of subjects, counts, spans."""
        return tuple(name for subject in self.subjects for name in self._names[subject.column])

    @cached_property
    def labels(self) -> dict[str, Text]:
        """What each window is called, by name."""
        return {
            f"{self.source}:{count.name}_{span}": Text(
                zh=f"近{_chinese(span)}{count.label.zh}", en=f"{count.label.en} in {span}"
            )
            for count in self._windows.counts
            for span in self.spans
        }

    def key(self, column: str, value: str) -> bytes:
        """Redis key of the buckets of ``value``; that of its identities has ``:ids`` more, in the same slot."""
        return f"credit301:{self.project}:window:{self._fingerprint:08x}:{{{column}:{value}}}".encode()

    def floors(self, now: int) -> list[int]:
        """The first bucket of each span's window at ``now``."""
        return [now // resolution - self.buckets + 1 for resolution in self.resolutions]

    def takes(self, event_time: int, came: int) -> bool:
        """Whether an event came in time to be counted."""
        return came - event_time <= self.lateness and event_time - came <= AHEAD

    def nothing(self) -> Counts:
        """All windows, none of them known."""
        return dict.fromkeys(self.names)

    def counts(self, column: str, data: bytes | None, now: int) -> Counts:
        """The windows of a subject at ``now`` from what the store has on it (``None``: no event)."""
        sums = [0] * (len(self._names[column]))
        if data:
            self._add(sums, data, now)
        return dict(zip(self._names[column], sums, strict=True))

    def _add(self, sums: list[int], data: bytes, now: int) -> None:
        width, floors = len(self.spans), self.floors(now)
        ceilings = [floor + self.buckets for floor in floors]
        if len(data) < _MANY:
            for count, span, bucket, events in ENTRY.iter_unpack(data):
                if floors[span] <= bucket < ceilings[span]:
                    sums[count * width + span] += events
            return
        entries = np.frombuffer(data, _ENTRIES)
        spans, buckets = entries["span"], entries["bucket"].astype(np.int64)
        inside = (buckets >= np.array(floors)[spans]) & (buckets < np.array(ceilings)[spans])
        places = (entries["count"].astype(np.int64) * width + spans)[inside]
        added = np.bincount(places, weights=entries["events"][inside], minlength=len(sums))
        sums[:] = [int(number) for number in added]

    @property
    def _windows(self) -> Windows:
        assert self.contract.windows is not None  # noqa: S101 - `window_sets` takes no other contract
        return self.contract.windows

    @cached_property
    def _names(self) -> dict[str, tuple[str, ...]]:
        return {
            subject.column: tuple(
                f"{self.source}:{count.name}_{span}" for count in subject.counts for span in self.spans
            )
            for subject in self.subjects
        }

    @cached_property
    def _fingerprint(self) -> int:
        """Changes with whatever decides what a bucket holds: a changed declaration starts anew, beside the old one."""
        return zlib.crc32(self._windows.model_dump_json(exclude={"counts": {"__all__": {"label"}}}).encode("utf-8"))


def window_sets(workspace: Workspace) -> tuple[WindowSet, ...]:
    """The windows of every source of ``workspace`` that declares some, in order of name."""
    return tuple(
        WindowSet(workspace.name, contract) for contract in workspace.sources.values() if contract.windows is not None
    )


def window_names(workspace: Workspace) -> tuple[str, ...]:
    """Names of all windows of ``workspace``, which rules may read like features."""
    return tuple(name for windows in window_sets(workspace) for name in windows.names)


def _satisfies(count: WindowCount, event: Mapping[str, Any]) -> bool:
    return all(
        event.get(column) is not None
        and event[column] in (wanted if isinstance(wanted, Sequence) and not isinstance(wanted, str) else (wanted,))
        for column, wanted in count.where.items()
    )


_UNITS = {"s": "秒", "m": "分钟", "h": "小时", "d": "天"}


def _chinese(span: str) -> str:
    return f"{span[:-1]}{_UNITS[span[-1]]}"
