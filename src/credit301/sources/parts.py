"""Taking over a Parquet file as it is: one copy at the speed of the disk, and a look at what the copy needs told."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from credit301.contracts.model import Contract
from credit301.errors import SourceError
from credit301.files import replacing
from credit301.sources.batches import SUFFIX, Batch, Part, Store
from credit301.sources.connectors.base import WholeFile
from credit301.sources.native import is_string, readable
from credit301.sources.typed import literal, quote

CHUNK_BYTES = 1 << 22


def schema_of(contract: Contract, file: WholeFile) -> pa.Schema:
    """Names and types of the columns of a Parquet file.

    Raises:
        SourceError: it is no whole Parquet file.
    """
    try:
        return pq.read_schema(file.path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(contract.name, file.path, error) from error


def can_be_taken(schema: pa.Schema) -> bool:
    """Whether DuckDB reads each column of the file as Arrow does, by its own name."""
    names = [name.lower() for name in schema.names]
    return len(set(names)) == len(names) and all(readable(kind) for kind in schema.types)


def take(
    store: Store, connection: duckdb.DuckDBPyConnection, identity: str, file: WholeFile, before: int
) -> tuple[Part, dict[str, int]]:
    """Copy ``file`` beside the inbox file of the batch ``identity``; return the part and its schema drift.

    The copy is named after its content, so that taking it again changes nothing.

    Raises:
        SourceError: the file changed since it was found, or is not readable.
    """
    contract = store.contract
    known = {column.physical_name for column in contract.columns}
    schema = schema_of(contract, file)
    unknown = sorted(name for name in schema.names if name not in known) if file.unknown_columns else []
    texts = [name for name, kind in zip(schema.names, schema.types, strict=True) if name in known and is_string(kind)]
    target = store.part_file(identity, Part(digest=file.digest, before=0, rows=0))
    if not target.exists():
        with replacing(target) as temporary:
            if _copy(file.path, temporary) != file.digest:
                temporary.unlink()
                raise SourceError(
                    f"{store.source}: {file.path.name} changed while it was read.",
                    hint="Pull again when it is written.",
                )
    try:
        rows, filled, clean = _look(connection, target, unknown, texts)
    except duckdb.Error as error:
        raise _unreadable(store.source, file.path, error) from error
    part = Part(
        digest=file.digest,
        before=before,
        rows=rows,
        unknown=[name for name in unknown if filled[name]],
        padded=[name for name in texts if not clean[name]],
        finite=_finite(target),
    )
    return part, filled


def drop_others(store: Store, identity: str, batch: Batch) -> None:
    """Remove files beside the inbox file that an earlier pull of the same batch left."""
    needed = {f"{part.digest}{SUFFIX}" for part in batch.parts}
    folder = store.inbox / identity
    for path in folder.glob("*"):
        if path.name not in needed:
            path.unlink()
    if folder.is_dir() and not needed:
        folder.rmdir()


def _look(
    connection: duckdb.DuckDBPyConnection, file: Path, unknown: list[str], texts: list[str]
) -> tuple[int, dict[str, int], dict[str, bool]]:
    counts = [f"count({quote(name)})" for name in unknown]
    # Of plain ASCII the ends are seen without trimming.
    padded = [
        f"coalesce(bool_and(CASE WHEN strlen({name}) = length({name}) "
        f"THEN {name} >= '!' AND NOT ends_with({name}, ' ') ELSE trim({name}) = {name} END), TRUE)"
        for name in map(quote, texts)
    ]
    found = connection.execute(
        f"SELECT {', '.join(['count(*)', *counts, *padded])} FROM read_parquet({literal(str(file))})"
    ).fetchall()[0]
    filled = dict(zip(unknown, found[1 : 1 + len(unknown)], strict=True))
    return found[0], filled, dict(zip(texts, found[1 + len(unknown) :], strict=True))


def _finite(file: Path) -> list[str]:
    """Columns of days or moments whose statistics show that all values are of the calendar."""
    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return [
        field.name
        for place, field in enumerate(metadata.schema.to_arrow_schema())
        if all(_is_calendar(group.column(place).statistics) for group in groups)
    ]


def _is_calendar(statistics: pq.Statistics | None) -> bool:
    try:
        return (
            statistics is not None
            and statistics.has_min_max
            and isinstance(statistics.min, dt.date)
            and isinstance(statistics.max, dt.date)
        )
    except (ValueError, OverflowError, pa.ArrowException):
        # Beyond what Python's calendar holds, as DuckDB's infinite moments are.
        return False


def _copy(source: Path, target: Path) -> str:
    """Copy ``source``; return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while chunk := read.read(CHUNK_BYTES):
            digest.update(chunk)
            write.write(chunk)
    return digest.hexdigest()


def _unreadable(source: str, path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{source}: {path.name} cannot be read: {str(error).splitlines()[0][:300]}.",
        hint="Is the file complete, and in the format its suffix says? Deliver it whole, then pull again.",
    )
