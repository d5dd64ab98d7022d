"""Files as streams of Arrow batches of strings: CSV (UTF-8 or GB18030), Parquet, Excel, JSON lines.

CSV and JSON lines may be compressed; what a file unpacks to is bounded, and so is what is held of it in memory.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from credit301.errors import SourceError
from credit301.sources.connectors.base import as_text
from credit301.sources.connectors.compressed import PACKED, check_workbook, inner_name, unpacked
from credit301.sources.connectors.options import FileOptions
from credit301.sources.native import readable

CHUNK_BYTES = 1 << 20
BATCH_ROWS = 65_536
MALFORMED = "_malformed_row"
ENCODINGS = ("utf-8", "gb18030")
MAXIMUM_MALFORMED = 10_000
MAXIMUM_LINE = 64 << 20
TEXT_FORMATS = (".csv", ".txt", ".jsonl", ".ndjson")
MEGABYTE = 1_000_000


def read_file(
    path: Path, source: str, options: FileOptions | None = None, names: list[str] | None = None, *, typed: bool = False
) -> pa.RecordBatchReader:
    """The rows of ``path``, every value as text; with ``typed`` the flat columns of a Parquet file keep their types.

    Rows of a CSV with a wrong number of fields stand whole in the column ``_malformed_row``.

    ``names``, where given, take the place of the first column names of a CSV or an Excel sheet.

    Raises:
        SourceError: the file is unreadable, half written, or in no known encoding or format; also from the stream.
    """
    reader = _Reader(source, options or FileOptions(), names or [], typed=typed)
    if path.suffix.lower() == ".parquet":
        return pa.RecordBatchReader.from_batches(reader.parquet_schema(path), reader.batches(path))
    batches = reader.batches(path)
    first = next(batches, None)
    if first is None:
        return pa.RecordBatchReader.from_batches(pa.schema([]), [])
    return pa.RecordBatchReader.from_batches(first.schema, _chain(first, batches))


class _Reader:
    def __init__(self, source: str, options: FileOptions, names: list[str], *, typed: bool = False) -> None:
        self.source = source
        self.options = options
        self.names = names
        self.typed = typed

    def _header(self, cells: list[str]) -> list[str]:
        return [*self.names[: len(cells)], *cells[len(self.names) :]]

    def batches(self, path: Path) -> Iterator[pa.RecordBatch]:
        formats: dict[str, Callable[[Path], Iterator[pa.RecordBatch]]] = {
            ".csv": self._csv,
            ".txt": self._csv,
            ".parquet": self._parquet,
            ".xlsx": self._excel,
            ".jsonl": self._json_lines,
            ".ndjson": self._json_lines,
        }
        with self._told(path):
            name = inner_name(path)
            kind = Path(name).suffix.lower()
            if kind not in formats or (name != path.name and kind not in TEXT_FORMATS):
                raise SourceError(
                    f"{self.source}: {path.name} has no known format.",
                    hint=f"Known: {', '.join(formats)}; {', '.join(TEXT_FORMATS)} also as {', '.join(PACKED)}.",
                )
            yield from formats[kind](path)

    @contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, EOFError, UnicodeDecodeError, csv.Error, OSError, LookupError, ValueError) as error:
            raise SourceError(
                f"{self.source}: {path.name} cannot be read: {str(error).splitlines()[0][:300]}.",
                hint="Is the file complete, and in the format its suffix says? Deliver it whole, then pull again.",
            ) from error

    def _open(self, path: Path) -> IO[bytes]:
        return unpacked(path, self.options.maximum_unpacked_mb * MEGABYTE)

    def _csv(self, path: Path) -> Iterator[pa.RecordBatch]:
        encoding = self._encoding(path)
        own = "utf-8-sig" if encoding == "utf-8" else encoding
        with self._open(path) as binary, io.TextIOWrapper(binary, encoding=own, newline="") as file:
            lines = list(islice(csv.reader(file, delimiter=self.options.delimiter), self.options.header_rows))
        if len(lines) < self.options.header_rows:
            return
        header = self._header(lines[-1])
        with self._open(path) as binary:
            yield from self._rows_of_csv(binary, encoding, header)

    def _rows_of_csv(self, binary: IO[bytes], encoding: str, header: list[str]) -> Iterator[pa.RecordBatch]:
        malformed: list[str] = []

        def keep(row: Any) -> str:
            malformed.append(str(row.text))
            return "error" if len(malformed) > MAXIMUM_MALFORMED else "skip"

        reader = pacsv.open_csv(
            binary,
            read_options=pacsv.ReadOptions(
                encoding=encoding,
                block_size=4 * CHUNK_BYTES,
                use_threads=False,
                column_names=header,
                skip_rows=self.options.header_rows,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self.options.delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
                check_utf8=True,
            ),
        )
        schema = reader.schema.append(pa.field(MALFORMED, pa.string()))
        for batch in reader:
            yield pa.RecordBatch.from_arrays([*batch.columns, pa.nulls(batch.num_rows, pa.string())], schema=schema)
        if malformed:
            # A row with too many or too few fields is no reason to lose it: it goes to quarantine as it is.
            nulls = [pa.nulls(len(malformed), pa.string()) for _ in reader.schema]
            yield pa.RecordBatch.from_arrays([*nulls, pa.array(malformed, pa.string())], schema=schema)

    def _encoding(self, path: Path) -> str:
        candidates = ENCODINGS if self.options.encoding == "detect" else (self.options.encoding,)
        for encoding in candidates:
            with self._open(path) as file:
                if _decodes(file, encoding):
                    return encoding
        raise SourceError(
            f"{self.source}: {path.name} is not text in {' or '.join(candidates)}.",
            hint="Convert the file to UTF-8 and pull again.",
        )

    def parquet_schema(self, path: Path) -> pa.Schema:
        """Names and types of the columns that are read from a Parquet file."""
        with self._told(path):
            schema = pq.read_schema(path)
        return pa.schema([(field.name, self._parquet_type(field.type)) for field in schema])

    def _parquet_type(self, kind: pa.DataType) -> pa.DataType:
        return kind if self.typed and readable(kind) else pa.string()

    def _parquet(self, path: Path) -> Iterator[pa.RecordBatch]:
        schema = self.parquet_schema(path)
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                columns = [
                    column if column.type == kind else _column_as_text(column)
                    for column, kind in zip(batch.columns, schema.types, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _excel(self, path: Path) -> Iterator[pa.RecordBatch]:
        from zipfile import BadZipFile

        from openpyxl import load_workbook

        try:
            check_workbook(path, self.options.maximum_unpacked_mb * MEGABYTE)
            workbook = load_workbook(path, read_only=True, data_only=True)
        except BadZipFile as error:
            raise ValueError("it is no Excel workbook") from error
        sheet = (
            workbook[self.options.sheet]
            if isinstance(self.options.sheet, str)
            else workbook.worksheets[self.options.sheet]
        )
        rows = sheet.iter_rows(values_only=True)
        lines = list(islice(rows, self.options.header_rows))
        header = self._header(["" if cell is None else str(cell) for cell in lines[-1]] if lines else [])
        while header and not header[-1]:
            header.pop()
        yield from _batches(
            (dict(zip(header, row, strict=False)) for row in rows if any(cell is not None for cell in row)), header
        )
        workbook.close()

    def _json_lines(self, path: Path) -> Iterator[pa.RecordBatch]:
        # Keys may differ from line to line; a first pass finds them all, so that the stream has one schema.
        names: dict[str, None] = {}
        with self._open(path) as file:
            for record in _lines(file):
                names.update(dict.fromkeys(record))
        with self._open(path) as file:
            yield from _batches(_lines(file), list(names))


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _decodes(file: IO[bytes], encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := file.read(CHUNK_BYTES):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _column_as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_nested(column.type):
        return pa.array([as_text(value) for value in column.to_pylist()], pa.string())
    return pc.cast(column, pa.string())


def _lines(binary: IO[bytes]) -> Iterator[dict[str, Any]]:
    file = io.TextIOWrapper(binary, encoding="utf-8-sig")
    number = 0
    while line := file.readline(MAXIMUM_LINE):
        number += 1
        if len(line) == MAXIMUM_LINE:
            raise ValueError(f"line {number} is longer than {MAXIMUM_LINE:,} characters")
        if not line.strip():
            continue
        record = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no JSON object")  # noqa: TRY004 - of the file, not of an argument
        yield record


def _batches(records: Iterator[dict[str, Any]], names: list[str]) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([(name, pa.string()) for name in names])
    rows: list[dict[str, Any]] = []

    def made() -> pa.RecordBatch:
        columns = [pa.array([as_text(row.get(name)) for row in rows], pa.string()) for name in names]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    for record in records:
        rows.append(record)
        if len(rows) == BATCH_ROWS:
            yield made()
            rows.clear()
    if rows:
        yield made()
