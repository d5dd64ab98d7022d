"""Spark: one process starts a session, shows it the landing, runs dbt in it (session mode), exports the marts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from credit301.errors import ConfigError
from credit301.warehouse.engines.base import Engine
from credit301.warehouse.increment import Increment


class Spark(Engine):
    """Tables of Parquet files below ``spark/``; a local Spark, or the cluster that ``SPARK_CONF_DIR`` describes."""

    name = "spark"
    types: ClassVar[dict[str, str]] = {"text_type": "string", "float_type": "double"}

    def tables(self) -> set[str]:
        """None: Parquet tables cannot replace rows, so every build is whole.

        Raises:
            ConfigError: pyspark or dbt-spark is not installed.
        """
        if find_spec("pyspark") is None or find_spec("dbt.adapters.spark") is None:
            raise ConfigError(
                "pyspark or dbt-spark is not installed.", hint="uv pip install -r locks/spark.txt (Java 17 is needed)."
            )
        return set()

    def show(self, increment: Increment) -> None:
        """Nothing: the session shows the landing to itself."""

    def build(self, project: Path, arguments: Sequence[str], target: Path | None) -> tuple[int, dict[str, int]]:
        """Run all of it in one process, whose session ends with it."""
        home = self.workspace.paths.root / "spark"
        home.mkdir(parents=True, exist_ok=True)
        sources = {
            contract.name: {
                "files": [
                    str(path) for path in sorted((self.workspace.paths.landing / contract.name).glob("*.parquet"))
                ],
                "columns": {column.name: column.sql_type for column in contract.columns},
            }
            for contract in self.workspace.sources.values()
        }
        rows = home / "rows.json"
        rows.unlink(missing_ok=True)
        job = home / "job.json"
        settings = self.workspace.settings
        job.write_text(
            json.dumps(
                {
                    "sources": sources,
                    "home": str(home),
                    "target": str(target) if target else None,
                    "rows": str(rows),
                    "cores": settings.cpu_threads,
                    "memory_gib": settings.warehouse_memory,
                }
            ),
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "credit301.warehouse.engines.spark_session", str(job), *arguments]
        code = self.run(command, project, {"PYARROW_IGNORE_TIMEZONE": "1", "TZ": "UTC"})
        found = json.loads(rows.read_text(encoding="utf-8")) if code == 0 and rows.exists() else {}
        return code, {name: int(count) for name, count in found.items()}
