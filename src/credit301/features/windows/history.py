"""Windows from landed events: the same rule as online, at any moment of the past, and the state to start again with.

Events are read from what landed and from the journal of what was posted; an event that is in both is known from the
earlier of its two times of coming.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from credit301.features.windows.definition import AHEAD, ENTRY, Subject, WindowSet
from credit301.sources.typed import literal, quote

if TYPE_CHECKING:
    from credit301.contracts.model import WindowCount
    from credit301.workspace import Workspace

ARRIVED = "arrived_events"
_BATCH = 10_000


@dataclass(frozen=True)
class State:
    """What the online store has of one subject: its entries, and the identities that came lately with their times."""

    key: bytes
    entries: bytes
    identities: dict[str, int]


def arrived(connection: duckdb.DuckDBPyConnection, workspace: Workspace, windows: WindowSet) -> None:
    """Make the view :data:`ARRIVED`: every event that landed or was posted, the columns that ``windows`` needs."""
    columns = windows.columns
    empty = ", ".join(f"CAST(NULL AS {_type(windows, name)}) AS {quote(name)}" for name in columns)
    parts = [f"SELECT {empty} WHERE false"]
    landed = sorted((workspace.paths.landing / windows.source).glob("*.parquet"))
    posted = sorted((workspace.paths.events / windows.source).glob("*.jsonl"))
    casts = ", ".join(f"CAST({quote(name)} AS {_type(windows, name)}) AS {quote(name)}" for name in columns)
    if landed:
        parts.append(f"SELECT {casts} FROM read_parquet({_files(landed)}, union_by_name = true)")
    if posted:
        # A last line that was cut off by a crash was never acknowledged.
        schema = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns) + "}"
        read = f"read_json({_files(posted)}, format = 'newline_delimited', columns = {schema}, ignore_errors = true)"
        parts.append(f"SELECT {casts} FROM {read} WHERE {quote(windows.identity)} IS NOT NULL")
    connection.execute(f"CREATE OR REPLACE VIEW {ARRIVED} AS {' UNION ALL '.join(parts)}")


def counts_at(
    connection: duckdb.DuckDBPyConnection, windows: WindowSet, points: pa.Table, events: str = ARRIVED
) -> pa.Table:
    """The windows at each of ``points``, as the endpoint would have read them then.

    Args:
        connection: where ``events`` is.
        windows: what is counted.
        points: ``at`` (microseconds since 1970) and a column of values for each subject; a subject without a column,
            and a row without a value, has no windows.
        events: relation of events with the columns that ``windows`` names.

    Returns:
        One row a point, in order, with the columns of ``windows.names`` (null: the subject is not known).
    """
    numbered = points.append_column("_point", pa.array(range(points.num_rows), pa.int64()))
    result: dict[str, pa.Array] = {}
    for subject in windows.subjects:
        names = [f"{windows.source}:{count.name}_{span}" for count in subject.counts for span in windows.spans]
        if subject.column not in points.column_names:
            result |= {name: pa.nulls(points.num_rows, pa.int64()) for name in names}
            continue
        _take_in(connection, windows, subject, events)
        connection.register("_points", numbered)
        sums = ", ".join(
            f"count(*) FILTER (WHERE e.c{place} AND e.t // {resolution} BETWEEN p.at // {resolution} - "
            f"{windows.buckets - 1} AND p.at // {resolution})"
            for place in range(len(subject.counts))
            for resolution in windows.resolutions
        )
        rows = connection.sql(
            f"""
            SELECT {sums}, any_value(p.{quote(subject.column)}) IS NOT NULL
            FROM _points p LEFT JOIN _taken e
              ON e.value = p.{quote(subject.column)} AND e.came <= p.at AND e.t > p.at - {windows.longest}
            GROUP BY p._point ORDER BY p._point
            """
        ).to_arrow_table()
        connection.unregister("_points")
        known = rows.column(rows.num_columns - 1)
        for place, name in enumerate(names):
            result[name] = pc.if_else(known, rows.column(place).cast(pa.int64()), pa.scalar(None, pa.int64()))
    return pa.table({name: result[name] for name in windows.names})


def states(
    connection: duckdb.DuckDBPyConnection, windows: WindowSet, now: int, events: str = ARRIVED
) -> Iterator[State]:
    """The state of every subject that the store would have at ``now`` if it had never lost anything."""
    floors = windows.floors(now)
    for subject in windows.subjects:
        # Older ones are out of every window, but a repeat of one of them may be taken for a new event without it.
        oldest = now - windows.longest - windows.lateness - AHEAD
        recent = f"SELECT * FROM {events} WHERE {_time(windows.contract.time.event_time)} > {oldest}"
        _take_in(connection, windows, subject, f"({recent})", until=now)
        entries = " UNION ALL ".join(
            f"SELECT value, {place} AS count, {span} AS span, t // {resolution} AS bucket, count(*) AS events, "
            f"NULL AS id FROM _taken WHERE c{place} AND t // {resolution} >= {floors[span]} GROUP BY ALL"
            for place in range(len(subject.counts))
            for span, resolution in enumerate(windows.resolutions)
        )
        ids = (
            f"SELECT value, NULL AS count, NULL AS span, max(t) AS bucket, NULL AS events, id FROM _taken "
            f"WHERE t >= {now - windows.lateness} GROUP BY value, id"
        )
        cursor = connection.execute(f"SELECT * FROM ({entries} UNION ALL {ids}) ORDER BY value, count, span, bucket")
        yield from _grouped(windows, subject, cursor)


def _grouped(windows: WindowSet, subject: Subject, cursor: duckdb.DuckDBPyConnection) -> Iterator[State]:
    current: str | None = None
    packed, identities = bytearray(), dict[str, int]()
    while rows := cursor.fetchmany(_BATCH):
        for value, count, span, bucket, events, identity in rows:
            if value != current:
                if current is not None:
                    yield State(windows.key(subject.column, current), bytes(packed), identities)
                current, packed, identities = value, bytearray(), dict[str, int]()
            if identity is None:
                packed += ENTRY.pack(count, span, bucket, events)
            else:
                identities[identity] = bucket
    if current is not None:
        yield State(windows.key(subject.column, current), bytes(packed), identities)


def _take_in(
    connection: duckdb.DuckDBPyConnection,
    windows: WindowSet,
    subject: Subject,
    events: str,
    until: int | None = None,
) -> None:
    """Make the table ``_taken``: the events that count for ``subject``, each once (value, id, t, came, c0, c1, ...)."""
    time = windows.contract.time
    event_time, came = _time(time.event_time), _time(time.available_at)
    flags = ", ".join(f"{_condition(count)} AS c{place}" for place, count in enumerate(subject.counts))
    any_flag = " OR ".join(f"c{place}" for place in range(len(subject.counts)))
    known = f"AND came <= {until}" if until is not None else ""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE _candidates AS
        SELECT *, row_number() OVER () AS place, count(*) OVER (PARTITION BY value, id) AS copies
        FROM (
          SELECT CAST({quote(subject.column)} AS VARCHAR) AS value, CAST({quote(windows.identity)} AS VARCHAR) AS id,
                 {event_time} AS t, {came} AS came, {flags}
          FROM {events}
        )
        WHERE value IS NOT NULL AND ({any_flag}) AND came - t <= {windows.lateness} AND t - came <= {AHEAD} {known}
        """
    )
    copies = connection.execute(
        "SELECT place, value, id, t, came FROM _candidates WHERE copies > 1 ORDER BY value, id, came, place"
    ).fetchall()
    repeats = pa.table({"place": pa.array(_repeats(copies, windows.lateness), pa.int64())})
    connection.register("_repeats", repeats)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE _taken AS "
        "SELECT * EXCLUDE (place, copies) FROM _candidates WHERE place NOT IN (SELECT place FROM _repeats)"
    )
    connection.unregister("_repeats")


def _repeats(copies: Sequence[tuple[int, str, str, int, int]], lateness: int) -> list[int]:
    """Places of the events that came while the one taken in before them was remembered."""
    found: list[int] = []
    remembered: dict[tuple[str, str], int] = {}
    for place, value, identity, event_time, came in copies:
        before = remembered.get((value, identity))
        if before is not None and before >= came - lateness:
            found.append(place)
        else:
            remembered[value, identity] = event_time
    return found


def _condition(count: WindowCount) -> str:
    terms = []
    for column, wanted in count.where.items():
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        terms.append(f"coalesce({quote(column)} IN ({', '.join(map(literal, values))}), false)")
    return f"({' AND '.join(terms)})" if terms else "true"


def _time(column: str | None) -> str:
    return f"epoch_us({quote(column or '')})"


def _type(windows: WindowSet, name: str) -> str:
    return windows.contract.column(name).sql_type


def _files(paths: list[Path]) -> str:
    return "[" + ", ".join(literal(str(path)) for path in paths) + "]"
