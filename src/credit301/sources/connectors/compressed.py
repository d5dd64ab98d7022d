"""Compressed files as streams of what they unpack to, within bounds.

A file that unpacks to far more than its size is how a small delivery fills a disk or a memory; it is refused while it
is unpacked, whatever its header says.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa

from credit301.errors import SourceError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
# Registers repeat themselves: real tables unpack to 10 to 100 times their size. Below the first megabytes the ratio
# says nothing.
MAXIMUM_RATIO = 1_000
RATIO_FROM_BYTES = 64_000_000


class UnpacksToTooMuch(ValueError):
    """What a file unpacks to is beyond the bound."""


def inner_name(path: Path) -> str:
    """The name of what ``path`` unpacks to; its own where it is not compressed.

    Raises:
        SourceError: a zip has not exactly one member.
    """
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        return path.name
    if suffix == ".zip":
        with _archive(path) as archive:
            return Path(_only_member(path, archive).filename).name
    return path.name[: -len(suffix)]


def stem(path: Path) -> str:
    """The name of ``path`` without the suffixes of its compression and its format."""
    name = path.name[: -len(path.suffix)] if path.suffix.lower() in PACKED else path.name
    return Path(name).stem if Path(name).suffix else name


def unpacked(path: Path, maximum_bytes: int) -> IO[bytes]:
    """The content of ``path``, unpacked in passing; reading raises once it is more than ``maximum_bytes``.

    Reading also raises ``EOFError`` or an ``OSError`` where the file ends too soon or is damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        return path.open("rb")
    openers: dict[str, Callable[[Path], IO[bytes]]] = {
        ".gz": gzip.open,  # type: ignore[dict-item] # its modes are overloads
        ".bz2": bz2.open,
        ".xz": lzma.open,
        ".zst": _zstandard,
        ".zip": _member,
    }
    bounded = _Bounded(openers[suffix](path), path, maximum_bytes)
    return io.BufferedReader(bounded, 1 << 20)


def check_workbook(path: Path, maximum_bytes: int) -> None:
    """Refuse a workbook (a zip by itself) whose parts unpack to too much.

    Raises:
        UnpacksToTooMuch: it does.
        zipfile.BadZipFile: it is no zip at all.
    """
    with zipfile.ZipFile(path) as archive:
        # A part never unpacks to more than the archive says of it: zipfile stops there.
        _check(path, sum(part.file_size for part in archive.infolist()), maximum_bytes)


class _Bounded(io.RawIOBase):
    """Counts what it hands over, and stops where it is too much."""

    def __init__(self, file: IO[bytes], path: Path, maximum_bytes: int) -> None:
        super().__init__()
        self._file = file
        self._path = path
        self._maximum = maximum_bytes
        self._count = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill ``buffer`` with what comes next."""
        view = memoryview(buffer)  # type: ignore[arg-type] # any writable buffer
        try:
            chunk = self._file.read(len(view))
        except (zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
            raise OSError(f"damaged: {error}") from error
        self._count += len(chunk)
        _check(self._path, self._count, self._maximum)
        view[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()


def _check(path: Path, count: int, maximum_bytes: int) -> None:
    if count > maximum_bytes:
        raise UnpacksToTooMuch(
            f"it unpacks to more than {maximum_bytes:,} bytes; where it is meant to, raise maximum_unpacked_mb"
        )
    size = path.stat().st_size
    if count > RATIO_FROM_BYTES and count > size * MAXIMUM_RATIO:
        raise UnpacksToTooMuch(f"its {size:,} bytes unpack to more than {MAXIMUM_RATIO} times as many: no table does")


def _zstandard(path: Path) -> IO[bytes]:
    return pa.input_stream(str(path), compression="zstd")  # type: ignore[no-any-return] # file-like


def _member(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    try:
        return archive.open(_only_member(path, archive))
    except RuntimeError as error:
        archive.close()
        raise OSError("it is encrypted") from error


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise OSError(f"it is no whole zip: {error}") from error


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    # What macOS puts beside the files is no delivery.
    members = [item for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise SourceError(
            f"{path.name} holds {len(members)} files; a delivery in a zip is exactly one.",
            hint="Deliver one zip for each file, or the files as they are.",
        )
    return members[0]
