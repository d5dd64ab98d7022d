"""Pages of a source's stream as JSON: which records, in which form, and the cursor to the next one."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from credit301.errors import SourceError
from simulator.schema import SEQUENCE

if TYPE_CHECKING:
    from simulator.faults import Faults
    from simulator.store import Stream

_CHECK_BYTES = 6
_AGAIN_DAYS = 2
_TEXTS = (pa.types.is_string, pa.types.is_decimal, pa.types.is_temporal)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client stands: the next record of the stream, and how many of what is served there it has already."""

    position: int
    served: int


START = Place(0, 0)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: `records` are JSON objects as text, `place` follows the last of them."""

    records: list[str]
    place: Place
    has_more: bool


def cursor_text(place: Place, source: str, city: str) -> str:
    """An opaque cursor; it holds for this source of this city only."""
    body = f"{place.position}.{place.served}"
    return base64.urlsafe_b64encode(f"{body}.{_check(body, source, city)}".encode()).decode().rstrip("=")


def read_cursor(text: str, source: str, city: str) -> Place:
    """The place that a cursor stands for. Raises SourceError for one that was not given out for this source."""
    try:
        position, served, check = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(".")
        if check == _check(f"{position}.{served}", source, city):
            return Place(int(position), int(served))
    except ValueError:
        pass
    raise SourceError(
        f"The cursor does not belong to {source} of this city.", hint="Pull that source from its beginning."
    )


def _check(body: str, source: str, city: str) -> str:
    return hashlib.blake2b(f"{city}/{source}/{body}".encode(), digest_size=_CHECK_BYTES).hexdigest()


def serve(source: str, stream: Stream, faults: Faults, days: int, place: Place, limit: int, clock: int) -> Page:
    """At most `limit` records from `place` on that are available at `clock` (seconds).

    A record at a position is served once, or malformed, or twice. A malformed one comes again, whole, with the
    record that follows some two days of records later, and becomes available together with it. All of this is a
    function of positions alone: any page size gives the same stream. `days` is the length of the history.
    """
    visible = stream.visible(clock)
    last = min(place.position + limit, visible)
    gap = max(1, _AGAIN_DAYS * len(stream) // max(days, 1))
    table = stream.rows(place.position, last)
    lines = render(table)
    special = _special(source, stream, faults, table, lines, place.position, gap)
    served: list[str] = []
    position, offset = place.position, place.served
    while position < last and len(served) < limit:
        here = special.get(position)
        if here is None:
            if not offset:
                served.append(lines[position - place.position])
            position, offset = position + 1, 0
            continue
        room = limit - len(served)
        served += here[offset : offset + room]
        offset += room
        if offset >= len(here):
            position, offset = position + 1, 0
    return Page(served, Place(position, offset), position < visible)


def _special(
    source: str, stream: Stream, faults: Faults, table: pa.Table, lines: list[str], start: int, gap: int
) -> dict[int, list[str]]:
    """All that is served at those positions of `table` (from `start` on) where it is not just the record itself."""
    positions = np.arange(start, start + len(lines))
    malformed, duplicated = faults.malformed(source, positions), faults.duplicated(source, positions)
    again = (positions >= gap) & faults.sent_again(source, positions - gap)
    special: dict[int, list[str]] = {}
    for index in np.flatnonzero(malformed | duplicated | again).tolist():
        line = lines[index]
        if malformed[index]:
            line = msgspec.json.encode(faults.spoil(source, start + index, msgspec.json.decode(line))).decode()
        special[start + index] = [line, line] if duplicated[index] else [line]
    late = np.flatnonzero(again)
    if len(late):
        first = max(start - gap, 0)
        earlier = stream.rows(first, start - gap + len(lines)).take(pa.array(positions[late] - gap - first))
        column = earlier.schema.get_field_index("available_at")
        earlier = earlier.set_column(column, "available_at", table["available_at"].take(pa.array(late)))
        for index, line in zip(late.tolist(), render(earlier), strict=True):
            special[start + index].append(line)
    return special


def render(table: pa.Table) -> list[str]:
    """Records (n) as JSON objects: money, dates and times as texts, without the sequence number.

    Arrow's kernels put the texts together column by column; a Python object is made per record, not per value.
    """
    if not table.num_rows:
        return []
    parts: list[pa.Array | str] = []
    for name in table.schema.names:
        if name == SEQUENCE:
            continue
        values = table[name].combine_chunks()
        separator = f'{"," if parts else "{"}"{name}":'
        if any(matches(values.type) for matches in _TEXTS):
            text = _text(values)
            if values.null_count:
                quoted = pc.binary_join_element_wise('"', text, '"', "")
                parts += [separator, quoted.fill_null("null")]
            else:
                parts += [f'{separator}"', text, '"']
        else:
            parts += [separator, values.cast(pa.string()).fill_null("null")]
    records: list[str] = pc.binary_join_element_wise(*parts, "}", "").to_pylist()
    return records


def _text(values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        seconds = values.cast(pa.timestamp("s")).cast(pa.string())
        return pc.binary_replace_slice(seconds, 10, 11, "T").cast(pa.string())
    if pa.types.is_string(values.type):
        return pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
    return values.cast(pa.string())
