"""DuckDB, PostgreSQL and Spark make the same marts, row for row, of records that came late and corrected."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from typing import TYPE_CHECKING

import psycopg
import pytest

from credit301.settings import Settings, Warehouse
from credit301.stack import postgres
from credit301.warehouse.build import build
from credit301.warehouse.compare import compare
from credit301.workspace import Workspace
from tests.golden.test_aggregations import FEATURES
from tests.golden.test_increment import deliveries, land, workspace_at
from tests.support.ports import free_ports
from tests.support.servers import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.server]


def on(workspace: Workspace, home: Path, **changes: object) -> Workspace:
    """The same city and landing in a home of its own, with other settings."""
    settings = workspace.settings.model_copy(update={"home": home, **changes})
    found = Workspace.load(workspace.directory, settings)
    shutil.copytree(workspace.paths.landing, found.paths.landing)
    return found


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A city with every aggregation, its landing, and what DuckDB makes of it in one build."""
    workspace = workspace_at(tmp_path_factory.mktemp("engines"))
    contract = workspace.directory / "sources" / "sales" / "contract.yaml"
    # No column of the tiny city holds a day to count an age from.
    features = [line[4:] for line in FEATURES.strip("\n").splitlines() if "age_days" not in line]
    contract.write_text(contract.read_text(encoding="utf-8") + "\n".join(features) + "\n", encoding="utf-8")
    workspace = Workspace.load(workspace.directory, workspace.settings)
    for step, rows in enumerate(deliveries(302)):
        land(workspace, f"step{step}", rows)
    build(workspace, docs=False)
    return workspace


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a real PostgreSQL."""
    settings = Settings(home=tmp_path / "server", postgres_port=free_ports()["postgres_port"])
    postgres.prepare(settings)
    process = subprocess.Popen(postgres.command(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = settings.postgres_address("postgres")

    def answers() -> bool:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        until(answers, "PostgreSQL to answer")
        yield address.removesuffix("/postgres")
    finally:
        process.terminate()
        process.wait()


def test_postgresql_in_increments_equals_duckdb_in_one_build(city: Workspace, server: str, tmp_path: Path) -> None:
    grown = on(city, tmp_path / "postgres", warehouse=Warehouse.POSTGRES, postgres_url=server)
    later = grown.paths.landing / "sales" / "step2.parquet"
    aside = tmp_path / later.name
    later.rename(aside)
    build(grown, docs=False)
    assert compare(city.paths.marts, grown.paths.marts)[1]
    aside.rename(later)
    build(grown, docs=False)
    rows, differences = compare(city.paths.marts, grown.paths.marts)
    assert differences == []
    assert rows > 20


@pytest.mark.skipif(
    find_spec("pyspark") is None or shutil.which("java") is None,
    reason="Spark is compared where pyspark and Java are: uv pip install -r locks/spark.txt",
)
def test_spark_equals_duckdb(city: Workspace, tmp_path: Path) -> None:
    spark = on(city, tmp_path / "spark", warehouse=Warehouse.SPARK, warehouse_memory_gib=1.0)
    build(spark, docs=False)
    rows, differences = compare(city.paths.marts, spark.paths.marts)
    assert differences == []
    assert rows > 20
