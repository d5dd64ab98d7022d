"""A delivered file, wherever it came from: whether it is whole, and its rows as the contract wants them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from credit301.contracts.model import Contract
from credit301.errors import SourceError
from credit301.sources.connectors.base import WholeFile
from credit301.sources.connectors.compressed import stem
from credit301.sources.connectors.files import MALFORMED, read_file
from credit301.sources.connectors.options import FileDropOptions

FILE_COLUMN = "_file"
# What programs call a file while they write it.
PARTIAL_SUFFIXES = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".writing", ".swp")


def deliverable(names: Iterable[str], options: FileDropOptions) -> list[str]:
    """Those of ``names`` that are whole files by their names, in order: none being written, each marked as ready."""
    there = set(names)
    ready = options.ready_suffix
    return sorted(
        name
        for name in there
        if not Path(name).name.startswith((".", "~$"))
        and not name.lower().endswith(PARTIAL_SUFFIXES)
        and (not ready or (not name.endswith(ready) and name + ready in there))
    )


def digest_of(path: Path) -> str:
    """SHA-256 of the file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_digest(path: Path) -> str:
    """:func:`digest_of`, computed once in a process for each state of the file: name, size, time of change, inode."""
    state = path.stat()
    return _digest_in_state(path, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=100_000)
def _digest_in_state(path: Path, size: int, changed: int, inode: int) -> str:  # noqa: ARG001 - they tell states apart
    return digest_of(path)


class Delivery:
    """How the files of one source are read."""

    def __init__(self, contract: Contract, options: FileDropOptions) -> None:
        self.name = contract.name
        self.options = options
        self.order = [column.physical_name for column in contract.columns]
        self.wanted = set(self.order)

    def whole(self, path: Path, digest: str) -> WholeFile | None:
        """The file itself, where the inbox may take it over as it is."""
        if path.suffix.lower() != ".parquet" or FILE_COLUMN in self.wanted:
            return None
        return WholeFile(path, digest, self.options.unknown_columns == "keep")

    def stream(self, path: Path, digest: str) -> pa.RecordBatchReader:
        """The rows of the file at ``path``, whose content has ``digest``.

        Raises:
            SourceError: also from the stream: the file is not readable, or changed while it was read.
        """
        names = self.order if self.options.columns == "by_position" else None
        rows = read_file(path, self.name, self.options, names, typed=True)
        known = {*self.wanted, MALFORMED}
        chosen = [name for name in rows.schema.names if self.options.unknown_columns == "keep" or name in known]
        schema = pa.schema([rows.schema.field(name) for name in chosen])
        if FILE_COLUMN in self.wanted:
            schema = schema.append(pa.field(FILE_COLUMN, pa.string()))
        return pa.RecordBatchReader.from_batches(schema, self._chosen(rows, chosen, path, digest))

    def _chosen(
        self, rows: pa.RecordBatchReader, names: list[str], path: Path, digest: str
    ) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            chosen = batch.select(names)
            if FILE_COLUMN in self.wanted:
                chosen = chosen.append_column(FILE_COLUMN, pa.array([stem(path)] * chosen.num_rows, pa.string()))
            yield chosen
        if digest_of(path) != digest:
            raise SourceError(
                f"{self.name}: {path.name} changed while it was read.", hint="Pull again when it is written."
            )
