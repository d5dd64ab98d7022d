"""Makes the windows of the online store what the landed and posted events say: after a loss, or after a delivery."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import duckdb

from credit301.errors import FeatureStoreError
from credit301.features.windows.definition import SECOND, WindowSet, window_sets
from credit301.features.windows.history import ARRIVED, State, arrived, states
from credit301.features.windows.online import Append, appends, ids_key, send, time_to_live

if TYPE_CHECKING:
    from credit301.workspace import Workspace

_TOGETHER = 1_000
_OVERLAP = 60 * SECOND


def rebuild(workspace: Workspace, client: Any, now: int | None = None) -> dict[str, int]:
    """Write the state of every subject with a recent event anew, while events may go on being posted.

    Each subject's state is replaced as of the start; then what came since, and shortly before, is appended: what is in
    the state already is remembered there, and not counted twice.

    Args:
        workspace: whose events.
        client: a synchronous client of the online store.
        now: microseconds since 1970; by default what the clock says.

    Returns:
        Subjects written by source.

    Raises:
        FeatureStoreError: no source declares windows.
    """
    sets = window_sets(workspace)
    if not sets:
        raise FeatureStoreError(
            f"No source of {workspace.name} declares windows.",
            hint="Add the custom property `windows` to the contract of a source of events.",
        )
    now = time.time_ns() // 1000 if now is None else now
    written = {}
    for windows in sets:
        with duckdb.connect(config={"threads": workspace.settings.cpu_threads}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            arrived(connection, workspace, windows)
            written[windows.source] = _write(client, windows, states(connection, windows, now))
            # Posted while the state was computed and written.
            arrived(connection, workspace, windows)
            for calls in _together(_since(connection, windows, now - min(_OVERLAP, windows.lateness))):
                send(client, calls)
    return written


def _write(client: Any, windows: WindowSet, found: Iterator[State]) -> int:
    written, life = 0, time_to_live(windows)
    for some in _together(found):
        with client.pipeline(transaction=False) as pipeline:
            for state in some:
                pipeline.set(state.key, state.entries, px=life)
                pipeline.delete(ids_key(state.key))
                if state.identities:
                    pipeline.zadd(ids_key(state.key), dict(state.identities))
                    pipeline.pexpire(ids_key(state.key), life)
            pipeline.execute()
        written += len(some)
    return written


def _since(connection: duckdb.DuckDBPyConnection, windows: WindowSet, start: int) -> Iterator[Append]:
    time_columns = windows.contract.time
    names = list(windows.columns)
    columns = ", ".join(f'"{name}"' for name in names)
    times = f'epoch_us("{time_columns.event_time}"), epoch_us("{time_columns.available_at}")'
    cursor = connection.execute(
        f'SELECT {times}, {columns} FROM {ARRIVED} WHERE epoch_us("{time_columns.available_at}") >= $1 ORDER BY 2, 1',
        [start],
    )
    while rows := cursor.fetchmany(_TOGETHER):
        for happened, came, *values in rows:
            event: Mapping[str, Any] = dict(zip(names, values, strict=True))
            yield from appends(windows, event, happened, came)


def _together(items: Iterator[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    for item in items:
        some.append(item)
        if len(some) == _TOGETHER:
            yield some
            some = []
    if some:
        yield some
