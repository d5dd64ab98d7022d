"""The process that builds the warehouse on Spark: ``python -m ...spark_session JOB`` and dbt's arguments."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit301.derive.dbt import LANDING_SCHEMA, MARTS_SCHEMA

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SPARK_TYPES = {"VARCHAR": "string", "HUGEINT": "decimal(38,0)"}


def main(job_file: str, arguments: list[str]) -> int:
    """Show the landing, run dbt with ``arguments``, export the marts; returns dbt's exit code."""
    job: dict[str, Any] = json.loads(Path(job_file).read_text(encoding="utf-8"))
    session = start(job)
    session.sql(f"create schema if not exists {LANDING_SCHEMA}")
    for name, source in job["sources"].items():
        session.sql(f"create view {LANDING_SCHEMA}.{name} as {_landed(session, source)}")
    code = _dbt(arguments)
    if code == 0 and job["target"]:
        rows = {row.tableName: 0 for row in session.sql(f"show tables in {MARTS_SCHEMA}").collect()}
        for name in rows:
            rows[name] = _export(session.table(f"{MARTS_SCHEMA}.{name}"), Path(job["target"]) / f"{name}.parquet")
        Path(job["rows"]).write_text(json.dumps(rows), encoding="utf-8")
    session.stop()
    return code


def start(job: dict[str, Any]) -> SparkSession:
    """A session whose catalogue lives as long as itself: what a build needs is made anew by it."""
    from pyspark.sql import SparkSession

    home = Path(job["home"])
    shutil.rmtree(home / "tables", ignore_errors=True)
    options = {
        "spark.master": f"local[{job['cores']}]",
        "spark.driver.memory": f"{max(1, int(job['memory_gib']))}g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(home / "tables"),
        "spark.local.dir": str(home / "spill"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(2 * job["cores"]),
        "spark.sql.parquet.mergeSchema": "true",
        "spark.sql.sources.default": "parquet",
    }
    builder = SparkSession.builder.appName("credit301")
    for key, value in options.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def _landed(session: SparkSession, source: dict[str, Any]) -> str:
    """Query of a source's landed files, each column of the contract's type."""
    there: set[str] = set()
    origin = ""
    if source["files"]:
        pattern = str(Path(source["files"][0]).parent / "*.parquet")
        there = set(session.read.parquet(pattern).columns)
        origin = f" from parquet.`{pattern}`"
    columns = ", ".join(
        f"cast({name if name in there else 'null'} as {SPARK_TYPES.get(kind, kind)}) as {name}"
        for name, kind in source["columns"].items()
    )
    return f"select {columns}{origin}" + ("" if origin else " where false")


def _dbt(arguments: list[str]) -> int:
    # By its console script: dbt finds the session that is there, and the core does not depend on dbt.
    (command,) = (entry for entry in entry_points(group="console_scripts") if entry.name == "dbt")
    try:
        command.load()(arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def _export(table: DataFrame, path: Path) -> int:
    """Write ``table`` to one Parquet file, times as wall-clock times; returns its rows."""
    from pyspark.sql import functions

    columns = [
        functions.col(name).cast("timestamp_ntz").alias(name) if kind == "timestamp" else functions.col(name)
        for name, kind in table.dtypes
    ]
    folder = path.with_suffix(".spark")
    table.select(columns).coalesce(1).write.parquet(str(folder))
    (part,) = folder.glob("part-*.parquet")
    part.rename(path)
    shutil.rmtree(folder)
    return int(table.count())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
