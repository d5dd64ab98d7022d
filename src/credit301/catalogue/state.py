"""How a source stands now: what has landed, how old it is, what its checks said, what waits in quarantine."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb

from credit301.sources.batches import SUFFIX, Store, Verdict
from credit301.sources.quarantine import quarantined_rows
from credit301.workspace import Workspace

KEPT_VERDICTS = 30


@dataclass(frozen=True)
class SourceState:
    """Facts of one source.

    Attributes:
        rows: records landed.
        oldest: time of the oldest record, where records have a time.
        newest: time of the newest one.
        age_days: days from the newest record to the source's clock.
        late: whether that is more than the contract allows; ``None`` where nothing is said or nothing landed.
        waiting: rows in quarantine.
        verdicts: what validation said, oldest first.
    """

    rows: int
    oldest: dt.datetime | None
    newest: dt.datetime | None
    age_days: int | None
    late: bool | None
    waiting: int
    verdicts: tuple[Verdict, ...]

    @property
    def passed_share(self) -> float | None:
        """Of all rows that the kept verdicts judged, the share that passed or came twice."""
        judged = sum(verdict.rows for verdict in self.verdicts)
        good = sum(verdict.passed + verdict.duplicates for verdict in self.verdicts if verdict.accepted)
        return good / judged if judged else None

    @property
    def refused_batches(self) -> int:
        """How many of the kept verdicts refused their batch."""
        return sum(not verdict.accepted for verdict in self.verdicts)


def state_of(workspace: Workspace, source: str, connection: duckdb.DuckDBPyConnection) -> SourceState:
    """The state of ``source``, read from its files."""
    store = Store(workspace, source)
    rows, oldest, newest = _landed(store, connection)
    age = None if newest is None else max(0, (_clock(store) - newest).days)
    limit = store.contract.freshness.maximum_age_days
    return SourceState(
        rows=rows,
        oldest=oldest,
        newest=newest,
        age_days=age,
        late=None if limit is None or age is None else age > limit,
        waiting=quarantined_rows(store),
        verdicts=tuple(store.verdicts()[-KEPT_VERDICTS:]),
    )


def _landed(store: Store, connection: duckdb.DuckDBPyConnection) -> tuple[int, dt.datetime | None, dt.datetime | None]:
    files = sorted(map(str, store.landing.glob(f"*{SUFFIX}")))
    if not files:
        return 0, None, None
    time = store.contract.time
    column = time.available_at or time.event_time
    moment = f'CAST("{column}" AS TIMESTAMP)' if column else "CAST(NULL AS TIMESTAMP)"
    found = connection.execute(
        f"SELECT count(*), min({moment}), max({moment}) FROM read_parquet($files, union_by_name = true)",
        {"files": files},
    ).fetchall()
    rows, oldest, newest = found[0]
    return int(rows), oldest, newest


def _clock(store: Store) -> dt.datetime:
    """The source's own clock where it tells one, else this machine's, both without zone."""
    served = store.watermark().served_through
    return dt.datetime.fromisoformat(served).replace(tzinfo=None) if served else dt.datetime.now()  # noqa: DTZ005
