"""The file of a DuckDB warehouse while another process holds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from credit301.errors import WarehouseError
from credit301.warehouse.engines import duckdb as engine
from credit301.warehouse.engines.duckdb import DuckDB
from tests.conftest import TinyWorkspace

HOLD = """
import sys, duckdb
warehouse = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


def holding(path: Path) -> subprocess.Popen[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_build_waits_for_who_holds_the_warehouse(tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = tiny.load()
    with holding(workspace.paths.warehouse) as holder:
        waited: list[float] = []

        def let_go(seconds: float) -> None:
            waited.append(seconds)
            holder.communicate("\n")

        monkeypatch.setattr(engine._patiently, "sleep", let_go)
        assert DuckDB(workspace).tables() == set()
    assert waited


def test_who_holds_it_for_too_long_is_named(tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = tiny.load()
    monkeypatch.setattr(engine, "_patiently", engine._patiently.copy(stop=lambda _state: True))
    with holding(workspace.paths.warehouse) as holder:
        with pytest.raises(WarehouseError, match=f"PID {holder.pid}"):
            DuckDB(workspace).tables()
        holder.communicate("\n")
