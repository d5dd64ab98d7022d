"""Coverage: what was read of each source, what became of it, and whom it tells about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import pyarrow.parquet as pq

from credit301.contracts.model import Contract, Text
from credit301.sources.arrived import sent_rows
from credit301.sources.batches import SUFFIX, Batch, Store, database
from credit301.sources.quarantine import Reason, reasons, waiting
from credit301.sources.repairs import RepairCount, count_repairs
from credit301.sources.typed import literal, quote
from credit301.workspace import Workspace


@dataclass(frozen=True)
class SourceCoverage:
    """One source.

    Attributes:
        origins: names of the files that the rows came from; empty for an exchange.
        read: rows pulled; each of them is refused, repeated, landed or waiting.
        refused: rows that wait in quarantine; a row with several reasons counts under each of ``reasons``.
        repeated: rows that did not land since the same record was there already, or was erased since.
        waiting: rows of a batch that has not landed, since it was not validated or was refused as a whole.
        repaired: rows, and texts by column and repair, that a declared repair changed.
        entities: different entities in what landed; ``None`` where the source does not name any.
        share: of all entities of the workspace, from 0 to 1.
        alone: entities that no other source knows.
        first: event time of the earliest landed record; ``None`` where records have no time. ``last``: of the latest.
        overlap: for every other source with entities, how many are in both.
    """

    name: str
    title: Text
    dimension: str
    origins: tuple[str, ...]
    read: int
    refused: int
    reasons: tuple[Reason, ...]
    repeated: int
    waiting: int
    landed: int
    repaired: RepairCount
    entities: int | None = None
    share: float | None = None
    alone: int | None = None
    first: datetime | None = None
    last: datetime | None = None
    overlap: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Coverage:
    """A whole workspace; ``known_to`` says how many entities are in exactly that many sources."""

    workspace: str
    entities: int
    known_to: dict[int, int]
    sources: tuple[SourceCoverage, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as mappings, lists and texts."""
        return {
            "workspace": self.workspace,
            "entities": self.entities,
            "known_to": {str(number): entities for number, entities in self.known_to.items()},
            "sources": [_as_json(source) for source in self.sources],
        }


def coverage_of(workspace: Workspace) -> Coverage:
    """The coverage of every source of ``workspace``, from its inbox, quarantine and landing as they are now."""
    stores = [Store(workspace, name) for name in workspace.sources]
    refused = reasons(workspace, stores)
    with database(workspace) as connection:
        met = _meetings(connection, workspace, stores)
        sources = [_source(connection, store, refused, met) for store in stores]
    known_to: dict[int, int] = {}
    for together, entities in met.items():
        known_to[len(together)] = known_to.get(len(together), 0) + entities
    return Coverage(workspace.name, sum(met.values()), dict(sorted(known_to.items())), tuple(sources))


Meetings = dict[tuple[str, ...], int]
"""How many entities are in exactly these sources, by their names."""


def _meetings(connection: duckdb.DuckDBPyConnection, workspace: Workspace, stores: list[Store]) -> Meetings:
    key = quote(workspace.entity.key)
    known = [
        f"SELECT DISTINCT {key} AS entity, {literal(store.source)} AS source FROM {landed} WHERE {key} IS NOT NULL"
        for store in stores
        if _names_entities(workspace, store.contract) and (landed := _landed(store))
    ]
    if not known:
        return {}
    rows = connection.execute(
        f"SELECT together, count(*) FROM (SELECT list(source ORDER BY source) AS together FROM "
        f"({' UNION ALL '.join(known)}) GROUP BY entity) GROUP BY together ORDER BY together"
    ).fetchall()
    return {tuple(together): int(entities) for together, entities in rows}


def _source(
    connection: duckdb.DuckDBPyConnection, store: Store, refused_for: list[Reason], met: Meetings
) -> SourceCoverage:
    batches = [store.batch(file.stem) for file in sorted(store.inbox.glob(f"*{SUFFIX}"))]
    read = sum(batch.rows for batch in batches)
    unlanded = sum(batch.rows for batch in batches if not store.landing_file(batch.pull_id).exists())
    refused = waiting(store).rows
    landed = sum(pq.read_metadata(file).num_rows for file in store.landing.glob(f"*{SUFFIX}"))
    first, last = _period(connection, store)
    mine = {together: entities for together, entities in met.items() if store.source in together}
    overlap: dict[str, int] = {}
    for together, entities in mine.items():
        for other in together:
            overlap[other] = overlap.get(other, 0) + entities
    names = _names_entities(store.workspace, store.contract)
    names, everybody = _names_entities(store.workspace, store.contract), sum(met.values())
    return SourceCoverage(
        name=store.source,
        title=store.contract.title,
        dimension=store.contract.dimension,
        origins=tuple(origin for batch in batches for origin in batch.origins),
        read=read,
        refused=refused,
        reasons=tuple(reason for reason in refused_for if reason.source == store.source),
        repeated=max(read - unlanded - refused - landed, 0),
        waiting=unlanded,
        landed=landed,
        repaired=_repaired(connection, store, batches),
        entities=sum(mine.values()) if names else None,
        share=sum(mine.values()) / everybody if names and everybody else None,
        alone=mine.get((store.source,), 0) if names else None,
        first=first,
        last=last,
        overlap={name: entities for name, entities in sorted(overlap.items()) if name != store.source},
    )


def _repaired(connection: duckdb.DuckDBPyConnection, store: Store, batches: list[Batch]) -> RepairCount:
    if not any(column.repair for column in store.contract.columns):
        return RepairCount()
    total = RepairCount()
    for batch in batches:
        total += count_repairs(connection, store.contract, sent_rows(store, batch))
    return total


def _period(connection: duckdb.DuckDBPyConnection, store: Store) -> tuple[datetime | None, datetime | None]:
    column, landed = store.contract.time.event_time, _landed(store)
    if column is None or not landed:
        return None, None
    item = f"CAST({quote(column)} AS TIMESTAMP)"
    first, last = connection.execute(f"SELECT min({item}), max({item}) FROM {landed}").fetchall()[0]
    return first, last


def _landed(store: Store) -> str:
    """SQL table function over everything that landed; empty where nothing did."""
    if not any(store.landing.glob(f"*{SUFFIX}")):
        return ""
    return f"read_parquet({literal(str(store.landing / ('*' + SUFFIX)))}, union_by_name = true)"


def _names_entities(workspace: Workspace, contract: Contract) -> bool:
    return any(column.name == workspace.entity.key for column in contract.columns)


def _as_json(source: SourceCoverage) -> dict[str, Any]:
    return {
        "name": source.name,
        "title": source.title.model_dump(),
        "dimension": source.dimension,
        "origins": list(source.origins),
        "read": source.read,
        "refused": source.refused,
        "refused_by_reason": {reason.check: reason.rows for reason in source.reasons},
        "repeated": source.repeated,
        "waiting": source.waiting,
        "landed": source.landed,
        "repaired_rows": source.repaired.rows,
        "repaired_values": {
            column: {kind.value: changed for kind, changed in found.items()}
            for column, found in source.repaired.values.items()
        },
        "entities": source.entities,
        "share": None if source.share is None else round(source.share, 6),
        "alone": source.alone,
        "first": source.first.isoformat() if source.first else None,
        "last": source.last.isoformat() if source.last else None,
        "overlap": source.overlap,
    }
