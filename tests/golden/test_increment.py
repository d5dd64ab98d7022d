"""What the warehouse has after increments is what a full build makes of the same landing, row for row.

Records come late, corrected, between two versions that are there, and twice at the same moment.
"""

from __future__ import annotations

import random
import shutil
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit301.settings import Settings
from credit301.warehouse.build import build
from credit301.warehouse.compare import compare
from tests.conftest import TinyWorkspace

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.workspace import Workspace

START = datetime(2025, 1, 31)
STEPS = 3
TYPES = {
    "uscc": pa.string(),
    "month": pa.string(),
    "amount": pa.decimal128(18, 2),
    "kind": pa.string(),
    "event_time": pa.timestamp("us"),
    "available_at": pa.timestamp("us"),
}


def deliveries(seed: int) -> list[list[dict[str, Any]]]:
    """Records of each step: new ones, corrections of earlier ones, late ones, and two versions of one moment."""
    source = random.Random(seed)
    steps: list[list[dict[str, Any]]] = []
    seen: list[dict[str, Any]] = []
    for step in range(STEPS):
        now = START + timedelta(days=31 * step)
        rows = []
        for number in range(40):
            event = now - timedelta(days=source.choice([3, 10, 40, 200]))
            known = event + timedelta(days=source.choice([1, 1, 2]))
            rows.append(
                {
                    "uscc": f"E{source.randint(0, 15):02d}",
                    "month": f"s{step}n{number}",
                    "amount": Decimal(source.randint(0, 9_999)) / 100,
                    "kind": source.choice(["goods", "services"]),
                    "event_time": event,
                    "available_at": known,
                }
            )
        for old in source.sample(seen, min(len(seen), 15)):
            # Between two versions, after the last, or at the very moment of one.
            later = old["available_at"] + timedelta(days=source.choice([0, 0, 1, 5, 30]))
            rows.append({**old, "amount": old["amount"] + 1, "available_at": min(later, now)})
        seen += rows
        steps.append(rows)
    return steps


def staging(workspace: Workspace) -> list[tuple[Any, ...]]:
    """Every staged version."""
    with duckdb.connect(str(workspace.paths.warehouse), read_only=True) as connection:
        return connection.execute("select * from staging.stg_sales order by all").fetchall()


def workspace_at(directory: Path) -> Workspace:
    """The tiny workspace without rules on its keys, and with no outcome yet."""
    tiny = TinyWorkspace(directory / "tiny", Settings(home=directory / "home"))
    tiny.replace("logicalTypeOptions: {format: uscc}, ", "")
    tiny.replace('logicalTypeOptions: {pattern: "^[0-9]{4}-[0-9]{2}$"}, ', "")
    tiny.replace("availableAt: available_at}", "availableAt: available_at, slowlyChanging: true}")
    workspace = tiny.load()
    models = workspace.directory / "models" / "marts"
    models.mkdir(parents=True, exist_ok=True)
    moment = START - timedelta(days=15)
    (models / "outcomes.sql").write_text(
        f"select 'E01' as uscc, cast('{moment}' as timestamp) as decision_time, 0 as label", encoding="utf-8"
    )
    return workspace


def land(workspace: Workspace, name: str, rows: list[dict[str, Any]]) -> None:
    """One landed file."""
    folder = workspace.paths.landing / "sales"
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(TYPES.items())))
    pq.write_table(table, folder / f"{name}.parquet")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[list[tuple[Any, ...]]]]:
    """A warehouse built after each delivery, and its staging after each build."""
    workspace = workspace_at(tmp_path_factory.mktemp("increment"))
    found = []
    for step, rows in enumerate(deliveries(301)):
        land(workspace, f"step{step}", rows)
        build(workspace, docs=False)
        found.append(staging(workspace))
    return workspace, found


def test_increments_and_a_full_build_agree_row_for_row(
    grown: tuple[Workspace, list[list[tuple[Any, ...]]]], tmp_path: Path
) -> None:
    workspace, found = grown
    assert len(found[0]) < len(found[1]) < len(found[2])
    shutil.copytree(workspace.paths.marts, tmp_path / "grown")
    build(workspace, docs=False, full=True)
    assert staging(workspace) == found[-1]
    rows, differences = compare(tmp_path / "grown", workspace.paths.marts, tolerance=0)
    assert differences == []
    assert rows > 20


def test_a_landed_file_that_is_erased_leaves_the_warehouse(
    grown: tuple[Workspace, list[list[tuple[Any, ...]]]],
) -> None:
    workspace, found = grown
    (workspace.paths.landing / "sales" / f"step{STEPS - 1}.parquet").unlink()
    build(workspace, docs=False)
    assert staging(workspace) == found[-2]


def test_known_at_is_what_was_known_at_the_moment(grown: tuple[Workspace, list[list[tuple[Any, ...]]]]) -> None:
    workspace, _ = grown
    with duckdb.connect(str(workspace.paths.warehouse), read_only=True) as connection:
        got = connection.execute(
            "select uscc, month, amount, known_from from known_at.sales(timestamp '2025-02-03') order by all"
        ).fetchall()
        names = [row[0] for row in connection.execute("describe staging.stg_sales").fetchall()]
    latest: dict[tuple[str, str], tuple[Any, ...]] = {}
    for row in sorted(staging(workspace), key=lambda item: item[names.index("known_from")]):
        values = dict(zip(names, row, strict=True))
        if values["known_from"] <= datetime(2025, 2, 3):
            key = (values["uscc"], values["month"])
            latest[key] = (*key, values["amount"], values["known_from"])
    assert got == sorted(latest.values())
    assert got
