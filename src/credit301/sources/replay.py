"""Replay: rows in quarantine judged again after the contract was mended, or with corrected values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from credit301.errors import SourceError
from credit301.sources.batches import SUFFIX, Store, database
from credit301.sources.connectors.files import read_file
from credit301.sources.landing import write_landing
from credit301.sources.quarantine import FLAGGED, MASK, flag, is_masked, write_quarantine
from credit301.sources.refused import as_meant
from credit301.sources.typed import EXTRA, HASH, PULL_ID, REASONS, ROW, batch_query, file_relation, literal, quote
from credit301.workspace import Workspace

CORRECTIONS = "corrections"
_MATCHED = "_matched"


@dataclass(frozen=True)
class Replayed:
    """What a replay did: rows judged, landed, found landed already, still in quarantine; corrections without a row."""

    judged: int
    landed: int
    known: int
    remaining: int
    unmatched: int = 0


def replay(workspace: Workspace, store: Store, corrected: Path | None = None) -> Replayed:
    """Judge the quarantined rows of a source by its contract as it is now; those that pass land and leave.

    Args:
        workspace: whose source it is.
        store: the source's files.
        corrected: a file of corrected rows in a format that a file drop reads, found by ``_pull_id`` and ``_row`` where
            it has them, else by the primary key. Its columns replace those of the quarantined row; the others stay,
            and so does a value that is masked. A corrected row that is still refused stays as corrected, with the
            reasons that it has now; as it was sent it stays in the inbox.

    Batches that have not landed yet are left alone: their quarantine is still being decided.

    Raises:
        SourceError: the corrected file cannot be read, lacks the key, or has two rows for one.
    """
    totals = Replayed(0, 0, 0, 0)
    with store.locked(), database(workspace) as connection:
        columns = _load_corrections(connection, store, corrected) if corrected else []
        for file in sorted(store.quarantine.glob(f"*{SUFFIX}")):
            if store.landing_file(file.stem).exists():
                part = _replay_file(connection, store, file, columns)
                totals = Replayed(
                    totals.judged + part.judged,
                    totals.landed + part.landed,
                    totals.known + part.known,
                    totals.remaining + part.remaining,
                )
        unmatched = _count(connection, f"{CORRECTIONS} WHERE NOT {_MATCHED}") if corrected else 0
    return replace(totals, unmatched=unmatched)


def _replay_file(connection: duckdb.DuckDBPyConnection, store: Store, file: Path, corrections: list[str]) -> Replayed:
    identity = file.stem
    sent = file_relation(store.contract, file)
    relation = sent
    if corrections:
        relation = _corrected(store, sent, identity, corrections)
        match = _match(_key(store, corrections), identity)
        connection.execute(
            f"UPDATE {CORRECTIONS} AS mended SET {_MATCHED} = TRUE WHERE EXISTS (FROM {sent} AS sent WHERE {match})"
        )
    connection.execute(f"CREATE OR REPLACE TABLE judged AS {batch_query(store.contract, relation)}")
    flag(connection, store.contract, "judged")
    connection.execute(
        f"CREATE OR REPLACE VIEW passed AS SELECT * FROM judged WHERE {ROW} NOT IN (SELECT {ROW} FROM {FLAGGED})"
    )
    passed = [digest for (digest,) in connection.execute(f"SELECT {HASH} FROM passed ORDER BY {ROW}").fetchall()]
    judged = _count(connection, "judged")
    landed = 0
    if passed:
        # Named after what it takes, so that a replay that was killed before it emptied the quarantine repeats itself.
        name = hashlib.sha256("".join(passed).encode()).hexdigest()[:8]
        target = store.landing_file(f"{identity}-{name}")
        if not target.exists():
            landed = write_landing(connection, store, "passed", identity, target)
            if landed == 0:
                target.unlink()
    if passed or _differs(connection, relation, sent, file):
        write_quarantine(connection, relation, identity, file)
    return Replayed(judged, landed, len(passed) - landed, judged - len(passed))


def _differs(connection: duckdb.DuckDBPyConnection, relation: str, sent: str, file: Path) -> bool:
    """Whether the rows or the reasons that stay are other than those in the file."""
    reasons = f"SELECT {ROW}, {REASONS} FROM read_parquet({literal(str(file))})"
    if _count(connection, f"(({reasons}) EXCEPT (SELECT {ROW}, {REASONS} FROM {FLAGGED}))"):
        return True
    return relation != sent and _count(connection, f"((SELECT * FROM {relation}) EXCEPT (SELECT * FROM {sent}))") > 0


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])


def _load_corrections(connection: duckdb.DuckDBPyConnection, store: Store, path: Path) -> list[str]:
    known = {column.physical_name: column.name for column in store.contract.columns}
    known |= {column.name: column.name for column in store.contract.columns} | {ROW: ROW, PULL_ID: PULL_ID}
    table = read_file(path, store.source).read_all()
    chosen = [name for name in table.schema.names if name in known]
    table = table.select(chosen).rename_columns([known[name] for name in chosen])
    key = _key(store, table.schema.names)
    if not key:
        needed = ", ".join(store.contract.primary_key)
        raise SourceError(f"{path.name} names no rows.", hint=f"It needs {PULL_ID} and {ROW}, or {needed}.")
    connection.register("corrections_file", table)
    meant = ", ".join(as_meant(name) for name in table.schema.names)
    connection.execute(f"CREATE TABLE {CORRECTIONS} AS SELECT {meant}, FALSE AS {_MATCHED} FROM corrections_file")
    names = ", ".join(quote(name) for name in key)
    double = connection.execute(
        f"SELECT {names} FROM {CORRECTIONS} GROUP BY {names} HAVING count(*) > 1 LIMIT 1"
    ).fetchall()
    if double:
        raise SourceError(
            f"{path.name} has two rows for {dict(zip(key, double[0], strict=True))}.", hint="Leave one of them."
        )
    return list(table.schema.names)


def _key(store: Store, names: list[str]) -> list[str]:
    for key in ([PULL_ID, ROW], list(store.contract.primary_key)):
        if set(key) <= set(names):
            return key
    return []


def _match(key: list[str], identity: str) -> str:
    own = {PULL_ID: literal(identity), ROW: f"CAST(sent.{ROW} AS VARCHAR)"}
    return " AND ".join(f"mended.{quote(name)} = {own.get(name, 'sent.' + quote(name))}" for name in key)


def _corrected(store: Store, sent: str, identity: str, corrections: list[str]) -> str:
    key = _key(store, corrections)
    match = _match(key, identity)
    hit = f"mended.{quote(key[0])} IS NOT NULL"
    items = [f"sent.{ROW}", f"sent.{EXTRA}"]
    for column in store.contract.columns:
        name = quote(column.name)
        kept = f" AND mended.{name} IS DISTINCT FROM {literal(MASK)}" if is_masked(column) else ""
        replaced = f"CASE WHEN {hit}{kept} THEN mended.{name} ELSE sent.{name} END AS {name}"
        items.append(replaced if column.name in corrections and column.name not in key else f"sent.{name}")
    return f"(SELECT {', '.join(items)} FROM {sent} AS sent LEFT JOIN {CORRECTIONS} AS mended ON {match})"
