"""Builds the warehouse: dbt in a process of its own, then the marts as Parquet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from credit301 import console
from credit301.errors import WarehouseError
from credit301.warehouse.landing_views import create_views, latest_known
from credit301.warehouse.project import assemble
from credit301.workspace import Workspace

MARTS_SCHEMA = "marts"


def build(workspace: Workspace, as_of: datetime | None = None, *, docs: bool = True) -> dict[str, Any]:
    """Run and test every model as of ``as_of`` (default: the newest landed record), export the marts.

    Returns:
        ``as_of``, counts of dbt results by status, and rows by mart.

    Raises:
        WarehouseError: a model or a test failed; the failing nodes are named. The exported marts stay as they were.
    """
    project = assemble(workspace)
    workspace.paths.warehouse.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(workspace.paths.warehouse)) as connection:
        create_views(connection, workspace)
        moment = as_of or latest_known(connection, workspace)
    console.say(f"building the warehouse of {workspace.name} as of {moment:%Y-%m-%d %H:%M:%S}")
    variables = json.dumps({"as_of": moment.isoformat(sep=" ")})
    code = _dbt(workspace, project, ["build", "--vars", variables])
    counts = _results(project, failed=code != 0)
    rows = _export(workspace)
    if docs:
        _docs(workspace, project, variables)
    return {"as_of": moment.isoformat(), "results": dict(counts), "rows": rows}


def _dbt(workspace: Workspace, project: Path, arguments: list[str]) -> int:
    environment = {
        **os.environ,
        "CREDIT301_WAREHOUSE": str(workspace.paths.warehouse),
        "CREDIT301_CPU_THREADS": str(workspace.settings.cpu_threads),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    command = [
        str(Path(sys.executable).with_name("dbt")),
        *arguments,
        "--project-dir",
        str(project),
        "--profiles-dir",
        str(project),
    ]
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    with process:
        for line in process.stdout or ():
            console.say(f"  {line.rstrip()}")
    return process.returncode


def _results(project: Path, *, failed: bool) -> Counter[str]:
    path = project / "target" / "run_results.json"
    if failed and not path.exists():
        raise WarehouseError("dbt could not start the build.", hint="Its message stands above.")
    results = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []
    bad = [result for result in results if result["status"] in {"error", "fail", "runtime error"}]
    if failed or bad:
        named = ", ".join(result["unique_id"].split(".", 2)[-1] for result in bad[:5]) or "see above"
        reason = next((str(result["message"]).splitlines()[0] for result in bad if result.get("message")), "")
        raise WarehouseError(
            f"{len(bad)} dbt nodes failed: {named}. {reason}".strip(), hint=f"Compiled SQL is in {project / 'target'}."
        )
    return Counter(result["status"] for result in results)


def _export(workspace: Workspace) -> dict[str, int]:
    """Each mart as ``marts/<name>.parquet``, replaced in one step; marts that are no more disappear."""
    target = workspace.paths.marts
    fresh = target.with_name("marts.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    rows: dict[str, int] = {}
    with duckdb.connect(str(workspace.paths.warehouse), read_only=True) as connection:
        query = "select table_name from information_schema.tables where table_schema = ? order by table_name"
        for (name,) in connection.execute(query, [MARTS_SCHEMA]).fetchall():
            path = str(fresh / f"{name}.parquet").replace("'", "''")
            done = connection.execute(f"copy (from {MARTS_SCHEMA}.\"{name}\") to '{path}' (format parquet)").fetchone()
            rows[name] = int(done[0]) if done else 0
    old = target.with_name("marts.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return rows


def _docs(workspace: Workspace, project: Path, variables: str) -> None:
    if _dbt(workspace, project, ["docs", "generate", "--static", "--vars", variables]) != 0:
        raise WarehouseError("dbt could not write its docs.", hint="Its message stands above.")
    page = workspace.paths.site / "dbt_docs" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(project / "target" / "static_index.html", page)
