"""Registers the definitions and moves the newest features to the online store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb

from credit301 import console
from credit301.derive.features import view_specs
from credit301.errors import FeatureStoreError
from credit301.features.freshness import FreshnessBook
from credit301.features.online_address import OnlineAddress
from credit301.sources.typed import literal, quote
from credit301.workspace import Workspace
from feature_repo.store import open_store, reachable

if TYPE_CHECKING:
    from feast import FeatureStore


def apply(workspace: Workspace, store: FeatureStore) -> None:
    """Register what the contracts say now; views that they no longer have are removed, with their online values."""
    from feature_repo.definitions import definitions

    wanted = definitions(workspace)
    names = {item.name for item in wanted}
    gone = [view for view in store.list_feature_views() if view.name not in names]
    store.apply(wanted, objects_to_delete=gone, partial=False)


def materialize(workspace: Workspace) -> dict[str, Any]:
    """Apply the definitions, then write each entity's features as of the warehouse's newest time, where they differ.

    Who has no features of a view any more has none online.

    Returns:
        ``as_of``, rows by view, and by view the rows ``written`` and those ``dropped``.

    Raises:
        FeatureStoreError: a mart is missing, or the online store cannot be reached.
    """
    newest = {spec.name: _newest(workspace, spec.mart) for spec in view_specs(workspace)}
    start, as_of = _range(newest)
    store = open_store(workspace)
    with reachable():
        apply(workspace, store)
        console.say(f"materializing {len(newest)} views of {workspace.name} as of {as_of:%Y-%m-%d %H:%M:%S}")
        store.materialize(start_date=start, end_date=as_of)
        written, dropped = _settle(workspace, store, as_of)
    _note_freshness(workspace, {name: moment for name, (moment, _) in newest.items()})
    rows = {name: count for name, (moment, count) in newest.items() if moment is not None}
    console.say(f"{sum(written.values()):,} rows differed from those online, {sum(dropped.values()):,} dropped")
    return {"as_of": as_of.isoformat(), "rows": rows, "written": written, "dropped": dropped}


def _settle(workspace: Workspace, store: FeatureStore, as_of: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """Take whoever has no row in a mart any more out of the online store; rows written and dropped by view."""
    from feature_repo.online_store import field_of, layout_of
    from feature_repo.written import Mark

    online = store._get_provider().online_store  # noqa: SLF001 - Feast has no other way to its own store
    key, written, dropped = workspace.entity.key, {}, {}
    for view in store.list_feature_views():
        field = field_of(view, store.config)
        mark = Mark.of(store.config, view, field, layout_of(view).fingerprint)
        if mark is None:
            continue
        moment = as_of.replace(tzinfo=None)
        there = (
            f"SELECT {quote(key)} FROM read_parquet({literal(view.batch_source.path)}) "
            f"WHERE event_timestamp = TIMESTAMP '{moment}' AND {quote(key)} IS NOT NULL"
        )
        dropped[view.name] = mark.drop_gone(there, partial(online.drop_rows, store.config, key, field))
        written[view.name] = mark.written() or 0
    return written, dropped


def _note_freshness(workspace: Workspace, newest: dict[str, datetime | None]) -> None:
    client = OnlineAddress.parse(workspace.settings.redis_address()).client(socket_timeout=5)
    with reachable():
        FreshnessBook.of(workspace).write(client, newest)
    client.close()


def materialized_range(workspace: Workspace) -> tuple[datetime, datetime]:
    """The interval of event times whose rows :func:`materialize` writes.

    Raises:
        FeatureStoreError: a mart is missing, or all are empty.
    """
    return _range({spec.name: _newest(workspace, spec.mart) for spec in view_specs(workspace)})


def _range(newest: dict[str, tuple[datetime | None, int]]) -> tuple[datetime, datetime]:
    moments = [moment for moment, _ in newest.values() if moment is not None]
    if not moments:
        raise FeatureStoreError("The feature marts are empty.", hint="Run `credit301 build` after data has landed.")
    as_of = max(moments).replace(tzinfo=UTC)
    return as_of - timedelta(seconds=1), as_of


def _newest(workspace: Workspace, mart: str) -> tuple[datetime | None, int]:
    path = workspace.paths.mart(mart)
    if not path.exists():
        raise FeatureStoreError(f"The mart {mart} is missing.", hint="Run `credit301 build` first.")
    query = "select event_timestamp, count(*) from read_parquet($1) group by all order by 1 desc limit 1"
    with duckdb.connect() as connection:
        rows = connection.execute(query, [str(path)]).fetchall()
    return (rows[0][0], int(rows[0][1])) if rows else (None, 0)
