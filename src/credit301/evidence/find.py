"""Finding the evidence of decisions in the audit trail."""

from __future__ import annotations

import heapq
import mmap
from collections.abc import Iterator
from pathlib import Path

import msgspec

from credit301.domain.decision import Decision
from credit301.errors import AuditError, NotFound
from credit301.evidence.record import Evidence, decode
from credit301.governance.audit import attached
from credit301.governance.audit.chain import CHAIN, SEALS
from credit301.governance.audit.entry import Event, Record

_DECIDED = b'"event":"decided"'
_decoder = msgspec.json.Decoder(Record)


def by_number(folder: Path, decision: str) -> Record:
    """The record of the decision with this number, or of the one on the application or request with it.

    Raises:
        NotFound: there is none.
    """
    wanted = msgspec.json.encode(decision)
    for record in _decided(folder, wanted):
        if decision in {record.entry.decision, record.entry.application}:
            return record
    raise NotFound(
        f"There is no decision with the number {decision!r} in the audit trail.",
        hint="Give a decision_id, or the number of the request; `credit301 audit show` lists what there is.",
    )


def decided(folder: Path, decision: str) -> Decision | None:
    """What was decided under the number ``decision``, of the entity by its keyed hash; ``None``: nothing is on record.

    Raises:
        AuditError: the record is not what was written, or was destroyed.
    """
    wanted = msgspec.json.encode(decision)
    for record in _decided(folder, wanted):
        if record.entry.decision == decision:
            return of(folder, record)[0].decision
    return None


def newest(folder: Path, count: int) -> list[Record]:
    """The records of the last ``count`` decisions that have evidence, newest first."""
    return heapq.nlargest(count, _decided(folder, _DECIDED), key=lambda record: (record.at, record.writer))


def every(folder: Path) -> Iterator[Record]:
    """The records of all decisions that have evidence, writer by writer."""
    return _decided(folder, _DECIDED)


def of(folder: Path, record: Record) -> tuple[Evidence, bytes]:
    """The evidence attached to ``record``, and its bytes.

    Raises:
        Destroyed: its time is over.
        AuditError: it is not what was written, or there never was any.
    """
    if record.entry.attached is None:
        raise AuditError(f"The decision {record.entry.decision} has no evidence attached.")
    data = attached.read(folder, record.writer, record.entry.attached)
    return decode(data), data


def _decided(folder: Path, wanted: bytes) -> Iterator[Record]:
    """Records of decisions with evidence whose line has the bytes ``wanted``, without reading any other line."""
    for path in sorted(folder.glob(f"*{CHAIN}")):
        if path.stem == SEALS or path.stat().st_size == 0:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place = data.find(wanted)
            while place >= 0:
                begin, end = data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place)
                if end < 0:
                    break
                record = _record(data[begin:end])
                if record is not None and record.entry.event is Event.DECIDED and record.entry.attached is not None:
                    yield record
                place = data.find(wanted, end)


def _record(line: bytes) -> Record | None:
    try:
        return _decoder.decode(line.rpartition(b"\t")[0])
    except msgspec.DecodeError:
        return None
