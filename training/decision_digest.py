"""The endpoint's decisions as Parquet, taken from the audit trail once: each update reads on from where the last ended.

Below ``monitoring/decisions``: parts by kind and month, and ``position.json``, which names the parts that count and how
far each writer's chain was read. What is not named there was left by an update that was killed, and is removed.
"""

from __future__ import annotations

import fcntl
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from credit301.domain.decision import BATCH
from credit301.errors import AuditError
from credit301.files import replacing
from credit301.governance.audit.chain import CHAIN, SEALS
from credit301.governance.audit.entry import Event, Record

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.workspace import Workspace

FOLDER = "decisions"
POSITION = "position.json"
BLOCK_BYTES = 16 << 20
PART_ROWS = 50_000
"""Rows that wait in memory for their parts."""

_COMMON = [("decision", pa.string()), ("at", pa.timestamp("us"))]
_SAID = [("registered", pa.string()), ("probability", pa.float64()), ("outcome", pa.string())]
_TERMS = [("strategy", pa.string()), ("limit", pa.float64()), ("annual_rate", pa.float64())]
_LOT = [("lot_probability", pa.float64()), ("lot_drawn", pa.int8()), ("lot_granted", pa.int8())]
SCHEMAS = {
    Event.DECIDED: pa.schema([*_COMMON, ("entity", pa.string()), ("alias", pa.string()), *_SAID, *_LOT, *_TERMS]),
    Event.SHADOWED: pa.schema([*_COMMON, *_SAID]),
    Event.STRATEGY_SHADOWED: pa.schema([*_COMMON, ("outcome", pa.string()), *_TERMS]),
}
_MARKS = tuple(f'"event":"{event}"'.encode() for event in SCHEMAS)
_HASH_BYTES = 65


class Reached(msgspec.Struct, frozen=True):
    """How far a chain was read: bytes, and the hash of the record that ends there."""

    offset: int = 0
    hash: str = ""


class Position(msgspec.Struct):
    """What ``position.json`` says."""

    writers: dict[str, Reached] = {}
    parts: list[str] = []


def update(workspace: Workspace) -> Position:
    """Take what was recorded since the last update, with bounded memory, and say which parts there are.

    Raises:
        AuditError: a chain is not what it was when it was read last, or has a line that is no record.
    """
    folder = workspace.paths.monitoring / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder):
        position = _read(folder)
        for left_over in {path.name for path in folder.glob("*.parquet")} - set(position.parts):
            (folder / left_over).unlink()
        taken = _Taken(folder, position)
        for path in sorted(workspace.paths.audit.glob(f"*{CHAIN}")):
            if path.stem != SEALS:
                taken.chain(path)
        taken.end()
        return position


def position(workspace: Workspace) -> Position:
    """Which parts there are since the last update."""
    return _read(workspace.paths.monitoring / FOLDER)


def months(position: Position) -> list[str]:
    """The months (2026-05) in which there were decisions, in order."""
    return sorted({_month_of(name) for name in position.parts if name.startswith(Event.DECIDED)})


def parts(workspace: Workspace, position: Position, event: Event, wanted: tuple[str, ...]) -> list[Path]:
    """Files of the records of ``event`` in the months ``wanted``."""
    folder = workspace.paths.monitoring / FOLDER
    return [folder / name for name in position.parts if name.startswith(event) and _month_of(name) in wanted]


class _Taken:
    """What an update has taken; :meth:`end` makes it count."""

    def __init__(self, folder: Path, position: Position) -> None:
        self._folder = folder
        self._position = position
        self._rows: dict[tuple[Event, str], list[dict[str, Any]]] = defaultdict(list)
        self._waiting = 0
        self._reached = dict(position.writers)

    def chain(self, path: Path) -> None:
        """Take the whole records that ``path`` has more than at the last update."""
        reached = self._reached.get(path.stem, Reached())
        if path.stat().st_size == reached.offset:
            return
        for body, digest, end in _lines(path, reached):
            self._reached[path.stem] = Reached(end, digest)
            if any(mark in body for mark in _MARKS):
                self._take(path, body)

    def _take(self, path: Path, body: bytes) -> None:
        try:
            record = msgspec.json.decode(body, type=Record)
        except msgspec.MsgspecError as error:
            raise AuditError(f"{path.name} has a line that is no record.", hint="credit301 audit verify") from error
        entry = record.entry
        # Without a score, a fallback decided, which says nothing of a model; in a file, nobody has applied.
        if entry.event not in SCHEMAS or "probability" not in entry.detail or entry.detail.get("alias") == BATCH:
            return
        at = datetime.fromisoformat(record.at).replace(tzinfo=None)
        self._rows[entry.event, f"{at:%Y-%m}"].append(
            {"decision": entry.decision, "at": at, "entity": entry.entity, **entry.detail}
        )
        self._waiting += 1
        if self._waiting >= PART_ROWS:
            self.end()

    def end(self) -> None:
        """Write what waits as parts, then the position that names them: both count, or neither."""
        for (event, month), rows in self._rows.items():
            name = f"{event}-{month}-{len(self._position.parts):06d}.parquet"
            with replacing(self._folder / name) as temporary:
                pq.write_table(pa.Table.from_pylist(rows, SCHEMAS[event]), temporary, compression="zstd")
            self._position.parts.append(name)
        self._rows.clear()
        self._waiting = 0
        if self._reached != self._position.writers:
            self._position.writers = dict(self._reached)
            with replacing(self._folder / POSITION) as temporary:
                temporary.write_bytes(msgspec.json.encode(self._position))


def _lines(path: Path, reached: Reached) -> Iterator[tuple[bytes, str, int]]:
    """Body, hash and end of each whole record after ``reached``."""
    with path.open("rb") as file:
        file.seek(max(0, reached.offset - _HASH_BYTES))
        if reached.offset and file.read(_HASH_BYTES) != f"{reached.hash}\n".encode():
            raise AuditError(
                f"The audit trail {path.name} is not what it was when it was read last.", hint="credit301 audit verify"
            )
        end, rest = reached.offset, b""
        while block := file.read(BLOCK_BYTES):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                end += len(line) + 1
                body, _, digest = line.rpartition(b"\t")
                yield body, digest.decode("ascii", "replace"), end


def _month_of(name: str) -> str:
    return name.partition("-")[2][: len("2026-05")]


def _read(folder: Path) -> Position:
    path = folder / POSITION
    if not path.exists():
        return Position({}, [])
    try:
        return msgspec.json.decode(path.read_bytes(), type=Position)
    except msgspec.MsgspecError:
        # Everything in it is taken from the trail again.
        return Position({}, [])


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
