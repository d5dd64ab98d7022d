"""Erasing: rows and values leave every kind of file, nothing else changes, and who was erased stays out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit301.errors import WarehouseError
from credit301.governance.erasure import duckdb_file, files, parquet, retention
from credit301.governance.erasure.suppression import Doorkeeper, suppress
from credit301.governance.erasure.target import Target
from credit301.identity.keyed_hash import KeyedHash
from credit301.sources.batches import Store
from tests.conftest import TinyWorkspace
from tests.support.scoring import valid_uscc

GONE, OTHER = valid_uscc("91420100MA4K0001"), valid_uscc("91420100MA4K0002")
TARGET = Target.of(GONE, KeyedHash("key"), frozenset({"uscc", "entity"}))


def table() -> pa.Table:
    rows = [
        {"uscc": GONE, "name": "a", "partners": [OTHER], "amount": 1.0},
        {"uscc": f" {GONE.lower()} ", "name": "b", "partners": [], "amount": 2.0},
        {"uscc": OTHER, "name": f"pays {GONE.lower()}", "partners": [GONE, "x"], "amount": None},
        {"uscc": OTHER, "name": None, "partners": None, "amount": 4.0},
    ]
    schema = pa.schema(
        [("uscc", pa.string()), ("name", pa.string()), ("partners", pa.list_(pa.string())), ("amount", pa.float64())],
        metadata={b"credit301": b"kept"},
    )
    return pa.Table.from_pylist(rows, schema=schema)


def test_its_rows_leave_a_parquet_file_and_other_rows_forget_it(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pq.ParquetWriter(path, table().schema) as writer:
        writer.write_table(table())
        writer.add_key_value_metadata({"batch": "what a pull says of it"})
    before = pq.read_schema(path)
    found = parquet.erase(path, TARGET)
    assert (found.rows, found.values, found.files) == (2, 2, 1)
    left = pq.read_table(path)
    assert left.schema.equals(before, check_metadata=True)
    assert pq.read_metadata(path).metadata[b"batch"] == b"what a pull says of it"
    assert left.to_pylist() == [
        {"uscc": OTHER, "name": f"pays {TARGET.stand_in}", "partners": [TARGET.stand_in, "x"], "amount": None},
        {"uscc": OTHER, "name": None, "partners": None, "amount": 4.0},
    ]
    assert parquet.erase(path, TARGET).files == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(owners=st.lists(st.sampled_from([GONE, GONE.lower(), f"{GONE}\t", OTHER, "", None]), max_size=30))
def test_exactly_its_rows_are_taken_out_in_order(tmp_path: Path, owners: list[str | None]) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"uscc": pa.array(owners, pa.string()), "n": list(range(len(owners)))}), path)
    parquet.erase(path, TARGET)
    expected = [n for n, owner in enumerate(owners) if (owner or "").strip().upper() != GONE]
    assert pq.read_table(path)["n"].to_pylist() == expected


def test_a_file_that_does_not_mention_it_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(table().slice(3), path)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert parquet.erase(path, TARGET).files == 0
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_it_leaves_a_duckdb_file_with_its_bytes_and_views_stay(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts")
        connection.register("arrow", table())
        connection.execute("create table marts.t as from arrow")
        connection.execute("create view marts.v as select count(*) as n from marts.t")
        connection.execute(f"create table untouched as select range as n, '{GONE}' || range as text from range(3)")
    found = duckdb_file.erase(path, TARGET)
    assert (found.rows, found.files) == (2, 1)
    assert not files.mentions(path, TARGET)
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select n from marts.v").fetchall() == [(2,)]
        assert connection.execute("select count(*) from untouched").fetchall() == [(3,)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.duckdb"]
    assert duckdb_file.erase(path, TARGET).files == 0


def test_a_warehouse_that_is_being_built_is_left_alone_and_said_so(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "x.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table t as select '{GONE}' as uscc")
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(WarehouseError, match="another process"):
            duckdb_file.erase(path, TARGET)
        other.communicate()
    assert duckdb_file.erase(path, TARGET).rows == 1


def test_pages_and_results_forget_it_and_keep_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"unexpected": [GONE.lower(), OTHER], "zh": "武汉"}), encoding="utf-8")
    assert files.erase(path, TARGET).values == 1
    assert json.loads(path.read_text(encoding="utf-8")) == {"unexpected": [TARGET.stand_in, OTHER], "zh": "武汉"}


def test_a_value_across_two_reads_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", 32)
    path = tmp_path / "big"
    for before in range(20, 40):
        path.write_bytes(b"\xff" * before + GONE.encode() + b"\xff" * 40)
        assert files.mentions(path, TARGET)
        path.write_bytes(b"\xff" * before + GONE.encode()[:-1] + b"\xff" * 40)
        assert not files.mentions(path, TARGET)


def test_who_was_erased_is_known_by_a_hash_only_however_the_key_is_written(tiny: TinyWorkspace) -> None:
    city = tiny.load()
    assert Doorkeeper(city).idle
    suppress(city, KeyedHash.from_settings(city.settings)(GONE))
    keys = [GONE, GONE.lower(), f" {GONE}", OTHER, None, "nonsense"]
    assert Doorkeeper(city).unwanted(keys) == [GONE, GONE.lower(), f" {GONE}"]
    assert GONE not in (city.paths.state / "suppressed").read_text(encoding="ascii")


class TestRetention:
    """A contract says for how long; ``tiny`` says five years."""

    def landed(self, tiny: TinyWorkspace, rows: list[tuple[str, Any]]) -> tuple[Any, Path]:
        city = tiny.load()
        path = Store(city, "sales").landing_file("0" * 16)
        path.parent.mkdir(parents=True)
        kind = pa.timestamp("us") if rows and isinstance(rows[0][1], datetime) else pa.string()
        columns = {"uscc": [key for key, _ in rows], "event_time": pa.array([time for _, time in rows], kind)}
        pq.write_table(pa.table(columns), path)
        return city, path

    def test_records_that_are_too_old_leave_and_the_file_stays(self, tiny: TinyWorkspace) -> None:
        city, path = self.landed(tiny, [(GONE, datetime(2015, 1, 1)), (OTHER, datetime(2025, 1, 1))])
        now = datetime(2026, 1, 1, tzinfo=UTC)
        assert retention.apply(city, "sales", now).rows == 1
        assert pq.read_table(path)["uscc"].to_pylist() == [OTHER]
        assert retention.apply(city, "sales", now).rows == 0
        assert retention.apply(city, "sales", datetime(2036, 1, 1, tzinfo=UTC)).rows == 1
        assert path.exists()

    def test_texts_are_read_as_the_contract_reads_them(self, tiny: TinyWorkspace) -> None:
        city, path = self.landed(tiny, [(GONE, "2015-01-01 00:00:00"), (OTHER, "2025-01-01"), ("x", "yesterday")])
        retention.apply(city, "sales", datetime(2026, 1, 1, tzinfo=UTC))
        assert pq.read_table(path)["uscc"].to_pylist() == [OTHER, "x"]

    def test_a_contract_that_says_nothing_deletes_nothing(self, tiny: TinyWorkspace) -> None:
        tiny.replace("status: active", "status: draft")
        tiny.replace("slaProperties: [{property: retention, value: 5, unit: y}]\n", "")
        city, _ = self.landed(tiny, [(GONE, datetime(1990, 1, 1))])
        assert retention.apply(city, "sales").rows == 0
