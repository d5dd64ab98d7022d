"""Taking rows and values out of a Parquet file: a new file without them takes its place at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from credit301.files import replacing
from credit301.governance.erasure.target import Counts, Target

ROWS = 65_536
_ARROW = b"ARROW:schema"  # the writer makes it anew


def erase(path: Path, target: Target) -> Counts:
    """Rewrite ``path`` without the rows about ``target``, its value replaced where it stands in others.

    A file in which it does not stand is left as it is; schema, metadata and the order of rows stay.
    """
    found = Counts()

    def cleaned(batch: pa.RecordBatch) -> pa.RecordBatch:
        mine = pa.array([False] * batch.num_rows)
        for name in target.keys & set(batch.schema.names):
            column = batch.column(name)
            if _is_text(column.type):
                same = pc.equal(pc.utf8_upper(pc.utf8_trim_whitespace(_plain(column))), target.value.upper())
                mine = pc.or_(mine, pc.fill_null(same, False))
        left = batch.filter(pc.invert(mine))
        found.rows += batch.num_rows - left.num_rows
        columns = [_without(column, target, found) for column in left.columns]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    if any(_mentions(batch, target) for batch in pq.ParquetFile(path).iter_batches(ROWS)):
        rewrite(path, cleaned)
        found.files = 1
    return found


def rewrite(path: Path, change: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
    """Put what ``change`` makes of each batch of rows of ``path`` in its place, durably and at once."""
    schema = pq.read_schema(path)
    said = pq.read_metadata(path).metadata or {}
    with replacing(path) as temporary:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in pq.ParquetFile(path).iter_batches(ROWS):
                writer.write_batch(change(batch))
            # What a file says about itself, such as what a batch is, is not part of its schema.
            writer.add_key_value_metadata({name: value for name, value in said.items() if name != _ARROW})
        temporary.chmod(path.stat().st_mode)


def _mentions(batch: pa.RecordBatch, target: Target) -> bool:
    return any(_hits(column, target) for column in batch.columns)


def _hits(column: pa.Array, target: Target) -> int:
    if _is_text(column.type):
        return int(pc.sum(pc.match_substring(_plain(column), target.value, ignore_case=True)).as_py() or 0)
    if pa.types.is_nested(column.type):
        return sum(target.pattern.search(str(value)) is not None for value in column.to_pylist())
    return 0


def _without(column: pa.Array, target: Target, found: Counts) -> pa.Array:
    hits = _hits(column, target)
    if not hits:
        return column
    found.values += hits
    if pa.types.is_nested(column.type):
        return pa.array([target.clean(value) for value in column.to_pylist()], column.type)
    pattern = f"(?i){target.pattern.pattern}"
    return pc.replace_substring_regex(_plain(column), pattern, target.stand_in).cast(column.type)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
