"""Files dropped under the data directory, each delivered once, known by its content.

The cursor is the list of the SHA-256 digests delivered so far. One pull delivers one file, so that a batch is a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import Field

from credit301.contracts.model import Contract
from credit301.errors import SourceError
from credit301.settings import PREFIX, Settings
from credit301.sources.connectors.base import Page, parse_options
from credit301.sources.connectors.files import MALFORMED, FileOptions, read_file

FILE_COLUMN = "_file"


class FileDropOptions(FileOptions):
    """Which files, relative to the data directory: a name or glob, or several.

    A contract column with the physical name ``_file`` takes the name of the file, without its suffix. With columns
    ``by_position`` the first column of the file is the first of the contract, whatever the header says.
    """

    path: str | Annotated[list[str], Field(min_length=1)]
    columns: Literal["by_name", "by_position"] = "by_name"
    unknown_columns: Literal["keep", "ignore"] = "keep"


class FileDrop:
    """Reads the files of one source."""

    def __init__(self, contract: Contract, settings: Settings) -> None:
        self.options = parse_options(FileDropOptions, contract)
        self.name = contract.name
        self.directory = settings.data_dir
        self.order = [column.physical_name for column in contract.columns]
        self.wanted = set(self.order)

    def read(self, cursor: str) -> Iterator[Page]:
        """One page for each file whose content was not delivered yet, in order of name.

        Raises:
            SourceError: a file is absent, unreadable, half written, or in no known encoding or format.
        """
        delivered: list[str] = json.loads(cursor) if cursor else []
        pending: dict[str, Path] = {}
        for path in self._paths():
            digest = _digest(path)
            if digest not in delivered:
                pending.setdefault(digest, path)
        for position, (digest, path) in enumerate(pending.items(), 1):
            delivered = [*delivered, digest]
            after = json.dumps(delivered, separators=(",", ":"))
            yield Page(self._stream(path, digest), after, has_more=position < len(pending), origin=path.name)

    def _paths(self) -> list[Path]:
        found: list[Path] = []
        for pattern in [self.options.path] if isinstance(self.options.path, str) else self.options.path:
            matches = (
                sorted(path for path in self.directory.glob(pattern) if path.is_file())
                if self.directory.is_dir()
                else []
            )
            if not matches:
                raise SourceError(
                    f"{self.name}: there is no file {pattern!r} under {self.directory}.",
                    hint=f"Set {PREFIX}DATA_DIR to the directory that holds the data.",
                )
            found.extend(path for path in matches if path not in found)
        return found

    def _stream(self, path: Path, digest: str) -> pa.RecordBatchReader:
        rows = read_file(path, self.name, self.options, self.order if self.options.columns == "by_position" else None)
        known = {*self.wanted, MALFORMED}
        names = [name for name in rows.schema.names if self.options.unknown_columns == "keep" or name in known]
        schema = pa.schema([rows.schema.field(name) for name in names])
        if FILE_COLUMN in self.wanted:
            schema = schema.append(pa.field(FILE_COLUMN, pa.string()))
        return pa.RecordBatchReader.from_batches(schema, self._chosen(rows, names, path, digest))

    def _chosen(
        self, rows: pa.RecordBatchReader, names: list[str], path: Path, digest: str
    ) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            chosen = batch.select(names)
            if FILE_COLUMN in self.wanted:
                chosen = chosen.append_column(FILE_COLUMN, pa.array([path.stem] * chosen.num_rows, pa.string()))
            yield chosen
        if _digest(path) != digest:
            raise SourceError(
                f"{self.name}: {path.name} changed while it was read.", hint="Pull again when it is written."
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
