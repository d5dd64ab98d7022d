from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from credit301.errors import SourceError
from credit301.settings import Settings
from credit301.sources.batches import Store
from credit301.sources.connectors import compressed
from credit301.sources.connectors.delivery import deliverable
from credit301.sources.connectors.files import read_file
from credit301.sources.connectors.options import FileDropOptions, FileOptions
from credit301.sources.inbox import pull
from tests.conftest import TinyWorkspace
from tests.unit.sources.conftest import pull_all
from tests.unit.sources.exchange import sales
from tests.unit.sources.test_file_drop import csv_text, drop, rows, workspace_for

__all__ = ["drop"]


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def zstandard(content: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard,
}


def pack(path: Path, content: bytes) -> Path:
    """``content`` at ``path``, compressed as its suffix says."""
    if path.suffix == ".zip":
        return zipped(path, {"folder/": b"", f"folder/{path.stem}": content, "__MACOSX/x": b"?"})
    path.write_bytes(PACKERS[path.suffix](content))
    return path


@pytest.mark.parametrize("suffix", compressed.PACKED)
def test_a_compressed_csv_in_gb18030_is_read_like_the_file_itself(tiny: TinyWorkspace, drop: Path, suffix: str) -> None:
    pack(drop / f"sales.csv{suffix}", csv_text(3).replace("goods", "货物").encode("gb18030"))
    workspace = workspace_for(tiny, f"{{path: 'sales.csv{suffix}'}}")
    store = Store(workspace, "sales")
    batch = pull_all(store, workspace)
    assert (rows(store, batch.pull_id), batch.drift) == (["货物"] * 3, {})


@pytest.mark.parametrize("suffix", compressed.PACKED)
def test_compressed_json_lines_are_read(tmp_path: Path, suffix: str) -> None:
    text = "\n".join(json.dumps(record) for record in sales(3))
    path = pack(tmp_path / f"sales.jsonl{suffix}", text.encode())
    assert read_file(path, "sales").read_all().to_pylist() == sales(3)


@pytest.mark.parametrize("suffix", compressed.PACKED)
def test_a_half_written_compressed_file_is_refused(
    tiny: TinyWorkspace, drop: Path, settings: Settings, suffix: str
) -> None:
    path = pack(drop / f"sales.csv{suffix}", csv_text(3_000).encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    store = Store(workspace_for(tiny, f"{{path: 'sales.csv{suffix}'}}"), "sales")
    with pytest.raises(SourceError, match=r"sales\.csv.* cannot be read"):
        pull(store, settings, maximum_rows=10)
    assert list(store.inbox.glob("*")) == []


@pytest.mark.parametrize("suffix", compressed.PACKED)
def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "RATIO_FROM_BYTES", 1_000_000)
    monkeypatch.setattr(compressed, "MAXIMUM_RATIO", 100)
    path = pack(tmp_path / f"sales.csv{suffix}", b"a,b\n" + b"0,0\n" * 2_000_000)
    with pytest.raises(SourceError, match="unpack to more than 100 times"):
        read_file(path, "sales").read_all()


@pytest.mark.parametrize("suffix", compressed.PACKED)
def test_no_more_is_unpacked_than_the_contract_allows(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"sales.csv{suffix}", b"a,b\n" + b"0,0\n" * 500_000)
    with pytest.raises(SourceError, match="maximum_unpacked_mb"):
        read_file(path, "sales", FileOptions(maximum_unpacked_mb=1)).read_all()


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "sales.xlsx", {"xl/sharedStrings.xml": b" " * 3_000_000})
    with pytest.raises(SourceError, match="maximum_unpacked_mb"):
        read_file(path, "sales", FileOptions(maximum_unpacked_mb=1)).read_all()


@pytest.mark.parametrize("members", [{}, {"a.csv": b"a\n1\n", "b.csv": b"a\n2\n"}])
def test_a_zip_with_another_number_of_files_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = zipped(tmp_path / "sales.zip", members)
    with pytest.raises(SourceError, match=f"holds {len(members)} files"):
        read_file(path, "sales")


@pytest.mark.parametrize("name", ["sales.parquet.gz", "sales.gz", "sales.dat.xz"])
def test_what_is_no_text_format_inside_is_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / name, b"a,b\n1,2\n")
    with pytest.raises(SourceError, match="no known format"):
        read_file(path, "sales")


def test_the_name_of_a_file_is_without_the_suffixes_of_format_and_compression() -> None:
    assert [compressed.stem(Path(name)) for name in ("march.csv.gz", "march.csv", "2024.03.csv.zst", "march")] == [
        "march",
        "march",
        "2024.03",
        "march",
    ]


def test_a_file_that_is_being_written_by_its_name_is_left_alone() -> None:
    names = ["a.csv", ".a.csv", "b.csv.part", "c.csv.TMP", "~$d.xlsx", "e.csv.filepart"]
    assert deliverable(names, FileDropOptions(path="*")) == ["a.csv"]


def test_with_a_ready_suffix_a_file_waits_for_its_mark(tiny: TinyWorkspace, drop: Path) -> None:
    (drop / "sales_1.csv").write_text(csv_text(1), encoding="utf-8")
    (drop / "sales_2.csv").write_text(csv_text(2), encoding="utf-8")
    (drop / "sales_2.csv.ok").touch()
    workspace = workspace_for(tiny, "{path: 'sales_*', ready_suffix: .ok}")
    batch = pull_all(Store(workspace, "sales"), workspace)
    assert (batch.origins, batch.has_more) == (["sales_2.csv"], False)
