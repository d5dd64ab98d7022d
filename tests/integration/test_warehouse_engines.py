"""DuckDB, PostgreSQL and Spark make the same marts, row for row, of records that came late and corrected."""

from __future__ import annotations

import random
import shutil
import subprocess
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit301.settings import Settings, Warehouse
from credit301.stack import postgres
from credit301.warehouse.build import build
from credit301.warehouse.compare import compare
from credit301.workspace import Workspace
from tests.golden.test_aggregations import FEATURES
from tests.golden.test_edges import contract as edge_contract
from tests.golden.test_increment import START, deliveries, land, workspace_at
from tests.support.ports import free_ports
from tests.support.servers import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.server]
NAMED = "label: {zh: 名, en: name}"
TRADES = [
    f"{{name: degree_all, {NAMED}, aggregation: degree}}",
    f"{{name: in_degree_large, {NAMED}, aggregation: degree, direction: in, window_months: 6, where: {{amount: {{gte: 50}}}}}}",
    f"{{name: in_sum, {NAMED}, aggregation: sum, column: amount, direction: in}}",
    f"{{name: own_sum_90d, {NAMED}, aggregation: sum, column: amount, window_days: 90}}",
    f"{{name: out_goods_share, {NAMED}, aggregation: share, direction: out, where: {{kind: goods}}}}",
    f"{{name: sold_mean, {NAMED}, aggregation: neighbour_mean, neighbour: {{source: sales, feature: amount_sum}}}}",
    f"{{name: sold_max_in, {NAMED}, aggregation: neighbour_max, direction: in, neighbour: {{source: sales, feature: amount_sum}}}}",
    f"{{name: kind_last, {NAMED}, aggregation: last, column: kind, kind: category}}",
]
PEERS = "portrait: {peers: [{source: trades, feature: kind_last, prefix: 2}], fewest: 4}\n"
EDGE_TYPES = {
    "id": pa.string(),
    "uscc": pa.string(),
    "buyer": pa.string(),
    "amount": pa.int64(),
    "kind": pa.string(),
    "event_time": pa.timestamp("us"),
    "available_at": pa.timestamp("us"),
}


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
    folder = workspace.directory / "sources" / "trades"
    folder.mkdir()
    edges = "  - {property: edges, value: {from: uscc, to: buyer}}\n"
    text = edge_contract("trades", ["uscc", "buyer", "amount", "kind"], TRADES, "no_events", edges)
    (folder / "contract.yaml").write_text(text, encoding="utf-8")
    file = workspace.directory / "workspace.yaml"
    file.write_text(file.read_text(encoding="utf-8") + PEERS, encoding="utf-8")
    workspace = Workspace.load(workspace.directory, workspace.settings)
    for step, rows in enumerate(deliveries(302)):
        land(workspace, f"step{step}", rows)
    trade(workspace)
    build(workspace, docs=False)
    return workspace


def trade(workspace: Workspace) -> None:
    """Land edges between the city's enterprises: corrected ones, some to outside parties, to nobody or to oneself."""
    source = random.Random(303)
    rows = []
    for number in range(60):
        seller, event = f"E{source.randint(0, 15):02d}", START + timedelta(days=source.randint(-300, 60))
        rows += [
            {
                "id": f"t{number}",
                "uscc": seller,
                "buyer": source.choice([*(f"E{buyer:02d}" for buyer in range(16)), "X1", seller, None]),
                "amount": source.randint(1, 100),
                "kind": source.choice(["goods", "work"]),
                "event_time": event,
                "available_at": event + timedelta(days=1 + 9 * version),
            }
            for version in range(source.choice([1, 1, 2]))
        ]
    target = workspace.paths.landing / "trades" / "all.parquet"
    target.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(EDGE_TYPES.items()))), target)


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
    known = "select uscc, month, amount, known_from from known_at.sales(timestamp '2025-02-03') order by 1, 2, 3, 4"
    with duckdb.connect(str(city.paths.warehouse), read_only=True) as connection:
        expected = connection.execute(known).fetchall()
    address = grown.settings.postgres_address(f"warehouse_{grown.name}")
    with psycopg.connect(address) as connection:
        assert connection.execute(known).fetchall() == expected
    assert expected


def test_the_city_has_edges_neighbours_and_peers(city: Workspace) -> None:
    for mart, column in (
        ("feature_trades", "sold_mean"),
        ("feature_trades", "in_degree_large"),
        ("portrait", "tax_index"),
    ):
        query = f"select count(distinct {column}) from read_parquet('{city.paths.mart(mart)}')"
        assert duckdb.execute(query).fetchall()[0][0] > 1, column


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
