"""Events that were posted land like records of any other delivery: read from their journal, judged, typed, once each.

A pull of a source that takes posts first reads what its journal (:mod:`credit301.features.windows.journal`) has more
than at the last one, as a batch of its own; then comes the source itself. The cursor names both. A file of the journal
goes once its hour is over and the batch with its last line has landed: from then on its events are among the landed
records, where retention and erasure find them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from credit301 import console
from credit301.sources.batches import SUFFIX, Store
from credit301.sources.connectors import Connector, Page, connector_for
from credit301.sources.connectors.files import MALFORMED
from credit301.sources.typed import literal, quote

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.workspace import Workspace

POSTED = "posted"
"""The connector of a source that comes by posting alone."""

LINES_AT_ONCE = 20_000
OVER = timedelta(hours=2)
"""After its hour a file of the journal is written to no more: this long is more than any write takes."""

_HOUR = "%Y%m%dT%H"
_MARK = "posted:"


def beside(workspace: Workspace, store: Store) -> Connector | None:
    """The connector of a source with its posted events before it; ``None`` where nothing is posted to the source."""
    if store.contract.windows is None:
        return None
    alone = store.contract.pull.connector == POSTED
    own = None if alone else connector_for(store.contract, workspace.settings)
    return Posted(store, workspace.paths.events / store.source, own)


@dataclass(frozen=True)
class _Place:
    """Where a pull stands: the source's own cursor, and how many bytes of each file of the journal were read."""

    own: str
    read: dict[str, int]

    @classmethod
    def of(cls, cursor: str) -> _Place:
        if not cursor.startswith(_MARK):
            return cls(cursor, {})
        said = json.loads(cursor.removeprefix(_MARK))
        return cls(said["own"], said["read"])

    @property
    def cursor(self) -> str:
        if not self.read:
            return self.own
        return _MARK + json.dumps({"own": self.own, "read": self.read}, separators=(",", ":"), sort_keys=True)


class Posted:
    """Reads what was posted, then the source itself.

    Args:
        store: the source's files.
        journal: folder of its journal.
        own: the source's own connector; ``None`` where it comes by posting alone.
    """

    def __init__(self, store: Store, journal: Path, own: Connector | None) -> None:
        self._store, self._journal, self._own = store, journal, own

    def read(self, cursor: str) -> Iterator[Page]:
        """As :meth:`Connector.read`; where something was posted, it is all that this pull brings.

        Raises:
            SourceError: the source itself did not deliver. What was posted has landed before it is asked.
        """
        place = self._settled(_Place.of(cursor))
        served = self._store.watermark().served_through
        there = False
        for name, records, end in self._lines(place):
            place = _Place(place.own, {**place.read, name: end})
            if new := self._new(records):
                there = True
                yield Page(new, place.cursor, served, self._own is not None, name, singly=True)
        if there or self._own is None:
            return
        for page in self._own.read(place.own):
            yield replace(page, cursor_after=_Place(page.cursor_after, place.read).cursor)

    def _settled(self, place: _Place) -> _Place:
        """``place`` without files that have landed to the end, which are removed.

        Only the cursor of the last landed batch is ever asked from, so that what it names has landed.
        """
        over = f"{datetime.now(UTC) - OVER:{_HOUR}}"
        kept = dict(place.read)
        for name, end in place.read.items():
            path = self._journal / name
            if not path.exists():
                del kept[name]
            elif name < over and path.stat().st_size == end:
                path.unlink()
                del kept[name]
        return _Place(place.own, kept)

    def _lines(self, place: _Place) -> Iterator[tuple[str, list[dict[str, Any]], int]]:
        """Name of the file, records, and bytes read to their end, in the order in which the files were begun.

        A last line without its end was never acknowledged, or is being written.
        """
        for path in sorted(self._journal.glob("*.jsonl")):
            end = place.read.get(path.name, 0)
            with path.open("rb") as file:
                file.seek(end)
                records: list[dict[str, Any]] = []
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    records.append(_record(line))
                    end += len(line)
                    if len(records) == LINES_AT_ONCE:
                        yield path.name, records, end
                        records = []
                if records:
                    yield path.name, records, end

    def _new(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``records`` without events that were posted before: the same in everything but when they came."""
        contract = self._store.contract
        names = [column.name for column in contract.columns if column.name != contract.time.available_at]
        types = {column.name: column.sql_type for column in contract.columns}
        texts = {name: pa.array([_text(record.get(name)) for record in records], pa.string()) for name in names}
        sent = pa.table({"_place": pa.array(range(len(records)), pa.int64()), **texts})
        values = ", ".join(f"TRY_CAST({quote(name)} AS {types[name]}) AS {quote(name)}" for name in names)
        by = ", ".join(map(quote, names))
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("sent", sent)
            connection.execute(
                f"CREATE TABLE posted AS SELECT *, row_number() OVER (PARTITION BY {by} ORDER BY _place) AS copy "
                f"FROM (SELECT _place, {values} FROM sent)"
            )
            landed = self._landed(names, types)
            again = f"OR EXISTS (SELECT 1 FROM {landed} l WHERE {_same(names)})" if landed else ""
            found = connection.execute(f"SELECT _place FROM posted p WHERE copy > 1 {again}").fetchall()
        repeated = {place for (place,) in found}
        if repeated:
            console.say(f"{self._store.source}: {len(repeated):,} events were posted again and left out 重复事件已忽略")
        return [record for place, record in enumerate(records) if place not in repeated]

    def _landed(self, names: Iterable[str], types: dict[str, str]) -> str:
        if not any(self._store.landing.glob(f"*{SUFFIX}")):
            return ""
        values = ", ".join(f"TRY_CAST({quote(name)} AS {types[name]}) AS {quote(name)}" for name in names)
        files = literal(str(self._store.landing / f"*{SUFFIX}"))
        (identity,) = map(quote, self._store.contract.primary_key)
        return (
            f"(SELECT {values} FROM read_parquet({files}, union_by_name = true) "
            f"WHERE {identity} IN (SELECT {identity} FROM posted))"
        )


def _same(names: Iterable[str]) -> str:
    return " AND ".join(f"l.{name} IS NOT DISTINCT FROM p.{name}" for name in map(quote, names))


def _record(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {MALFORMED: line.decode("utf-8", "replace").strip()}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
