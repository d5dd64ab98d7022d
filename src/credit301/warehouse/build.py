"""Builds the warehouse: dbt on the engine that the settings name, then the marts as Parquet."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from credit301 import console
from credit301.derive.dbt import MARTS_SCHEMA
from credit301.errors import WarehouseError
from credit301.governance.lineage import page
from credit301.governance.lineage.events import emit_models, recorded
from credit301.warehouse.engines import Engine, engine_of
from credit301.warehouse.increment import Increment
from credit301.warehouse.landing_views import latest_known, newest_records
from credit301.warehouse.project import assemble, fingerprint, macros_fingerprint
from credit301.workspace import Workspace

__all__ = ["MARTS_SCHEMA", "build"]

DESCRIBED = "described.txt"
"""File in dbt's target: the engine and the models that its docs are of. Until those change, the docs say the same."""


def build(
    workspace: Workspace, as_of: datetime | None = None, *, docs: bool = True, full: bool = False
) -> dict[str, Any]:
    """Run and test every model as of ``as_of`` (default: the newest landed record), export the marts.

    Staging takes what has landed since the last build that succeeded; ``full`` stages everything anew.

    Returns:
        ``as_of``, ``engine``, counts of dbt results by status, and rows by mart.

    Raises:
        WarehouseError: a model or a test failed; the failing nodes are named. The exported marts stay as they were.
    """
    engine = engine_of(workspace)
    project = assemble(workspace)
    made_of = fingerprint(project)
    increment = Increment.plan(
        workspace,
        engine.name,
        engine.tables(),
        macros=macros_fingerprint(),
        project=made_of,
        full=full,
    )
    with duckdb.connect() as reader:
        newest = newest_records(reader, workspace, increment.intakes)
    moment = as_of or latest_known(workspace, newest)
    increment = increment.at(moment)
    increment.begin()
    engine.show(increment)
    engine.told = _told(increment, moment)
    console.say(f"building the warehouse of {workspace.name} on {engine.name} as of {moment:%Y-%m-%d %H:%M:%S}")
    (project / "target" / "run_results.json").unlink(missing_ok=True)
    with recorded(workspace, "build", ()) as run, _replacing_marts(workspace.paths.marts) as target:
        # Unit tests judge the models, not the data.
        less = ["--exclude-resource-type", "unit_test"] if increment.before and increment.same_project else []
        code, rows = engine.build(project, ["build", "--vars", json.dumps(engine.types), *less], target)
        counts = _results(project, failed=code != 0)
        lineage = emit_models(workspace, run)
    increment.remember(moment, newest)
    if docs:
        _document(workspace, engine, project, made_of)
        page.write(workspace, lineage)
    return {"as_of": moment.isoformat(), "engine": engine.name, "results": dict(counts), "rows": rows}


def _told(increment: Increment, moment: datetime) -> dict[str, str]:
    """What dbt's models are told, see ``dbt_project/macros/carrying_on.sql``."""
    return {
        "CREDIT301_WAREHOUSE_AS_OF": moment.isoformat(sep=" "),
        "CREDIT301_WAREHOUSE_BEFORE": increment.before.isoformat(sep=" ") if increment.before else "",
        "CREDIT301_WAREHOUSE_ANEW": ",".join(increment.anew),
    }


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


@contextmanager
def _replacing_marts(target: Path) -> Iterator[Path]:
    """A new directory that takes the place of ``target`` if the block succeeds; marts that are no more disappear."""
    fresh, old = target.with_name("marts.new"), target.with_name("marts.old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _document(workspace: Workspace, engine: Engine, project: Path, made_of: str) -> None:
    """Write dbt's docs of what was just built, unless those that are there say the same of ``made_of``."""
    index = workspace.paths.site / "dbt_docs" / "index.html"
    described, what = project / "target" / DESCRIBED, f"{engine.name} {made_of}"
    if index.exists() and described.exists() and described.read_text(encoding="utf-8") == what:
        return
    described.unlink(missing_ok=True)
    # The build has compiled what they show.
    arguments = ["docs", "generate", "--static", "--no-compile", "--vars", json.dumps(engine.types)]
    code, _ = engine.build(project, arguments, None)
    if code != 0:
        raise WarehouseError("dbt could not write its docs.", hint="Its message stands above.")
    index.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(project / "target" / "static_index.html", index)
    described.write_text(what, encoding="utf-8")
