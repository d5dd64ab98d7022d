"""The way in as a whole: pull, validate, land and replay through the verbs, with real servers and real deaths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from credit301 import verbs
from credit301.errors import SourceError, ValidationFailed
from credit301.sources.batches import Store
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY, TinyWorkspace
from tests.unit.sources.conftest import exchange, store, tiny_workspace
from tests.unit.sources.exchange import TOKEN, Exchange, enterprise, sales
from tests.unit.sources.test_landing import contents

__all__ = ["exchange", "store", "tiny_workspace"]


def landed(workspace: Workspace, columns: str = "uscc") -> list[tuple[object, ...]]:
    files = workspace.paths.landing / "sales" / "*.parquet"
    rows: list[tuple[object, ...]] = duckdb.execute(
        f"SELECT {columns} FROM read_parquet(?) ORDER BY ALL", [str(files)]
    ).fetchall()
    return rows


def test_ingest_takes_all_that_the_exchange_has_in_several_batches(
    tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.faults = ["503", "", "garbage", "", "429:0"]
    exchange.records = sales(40)
    summary = verbs.call("ingest", tiny_workspace, source="sales", maximum_rows=15)["sales"]
    assert (summary["batches"], summary["rows"], summary["landed"], summary["cursor"]) == (3, 40, 40, "40")
    assert landed(tiny_workspace) == sorted((record["uscc"],) for record in exchange.records)


def data(workspace: Workspace) -> dict[str, bytes]:
    """Everything below the workspace's home but the journal of runs, which tells of a run that found nothing, too."""
    return {
        name: content
        for name, content in contents(workspace.paths.root).items()
        if not name.startswith("state/openlineage/")
    }


def test_a_second_ingest_takes_only_what_came_since(tiny_workspace: Workspace, exchange: Exchange) -> None:
    verbs.call("ingest", tiny_workspace, source="sales")
    before = data(tiny_workspace)
    assert verbs.call("ingest", tiny_workspace, source="sales")["sales"]["rows"] == 0
    assert data(tiny_workspace) == before
    exchange.records += sales(2, start=7)
    assert verbs.call("ingest", tiny_workspace, source="sales")["sales"]["landed"] == 2


def test_a_poisoned_batch_fails_the_task_and_lands_nothing(tiny_workspace: Workspace, exchange: Exchange) -> None:
    exchange.records = [*sales(8), *sales(2, start=8, amount="?")]
    with pytest.raises(ValidationFailed, match="amount_castable"):
        verbs.call("ingest", tiny_workspace, source="sales")
    store = Store(tiny_workspace, "sales")
    assert (store.watermark().cursor, list(store.landing.glob("*")), list(store.quarantine.glob("*"))) == ("", [], [])
    assert len(list(store.inbox.glob("*.parquet"))) == 1


def test_a_poisoned_batch_lands_once_the_source_was_mended_and_is_pulled_again(
    tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = sales(10, amount="?")
    with pytest.raises(ValidationFailed):
        verbs.call("ingest", tiny_workspace, source="sales")
    exchange.records = sales(10)
    verbs.call("pull", tiny_workspace, source="sales", again=True)
    assert verbs.call("ingest", tiny_workspace, source="sales")["sales"]["landed"] == 10


def test_a_poisoned_batch_lands_once_the_contract_was_mended(
    tiny: TinyWorkspace, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = sales(10, kind="both")
    with pytest.raises(ValidationFailed):
        verbs.call("ingest", tiny_workspace, source="sales")
    mended = tiny.replace("{value: services}", "{value: services}, {value: both}").load()
    asked = len(exchange.requests)
    assert verbs.call("ingest", mended, source="sales")["sales"]["landed"] == 10
    assert len(exchange.requests) == asked


def test_a_type_that_changed_at_the_source_is_refused(tiny_workspace: Workspace, exchange: Exchange) -> None:
    exchange.records = [{**record, "amount": {"value": record["amount"], "currency": "CNY"}} for record in sales(10)]
    with pytest.raises(ValidationFailed, match="amount_castable"):
        verbs.call("ingest", tiny_workspace, source="sales")


def test_one_refused_source_does_not_keep_validate_from_judging_the_others(
    tiny: TinyWorkspace, exchange: Exchange
) -> None:
    tiny.load()
    other = tiny.directory / "sources" / "refunds"
    other.mkdir()
    (other / "contract.yaml").write_text(tiny.contract.replace("sales", "refunds"), encoding="utf-8")
    workspace = tiny.load()
    exchange.records = sales(10)
    verbs.call("pull", workspace, source="refunds")
    exchange.records = sales(10, kind="both")
    verbs.call("pull", workspace, source="sales")
    with pytest.raises(ValidationFailed, match="sales batch"):
        verbs.call("validate", workspace)
    assert verbs.call("land", workspace, source="refunds")["refunds"]["rows"] == 10


def test_quarantined_rows_land_by_replay_after_the_contract_was_mended(
    tiny: TinyWorkspace, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = [*sales(1, kind="both"), *sales(39, start=1)]
    assert verbs.call("ingest", tiny_workspace, source="sales")["sales"]["quarantined"] == 1
    assert verbs.call("quarantine", tiny_workspace) == {"sales": {"kind_in_set": 1}}
    mended = tiny.replace("{value: services}", "{value: services}, {value: both}").load()
    assert verbs.call("replay_refused", mended, source="sales")["sales"]["landed"] == 1
    assert verbs.call("quarantine", mended) == {"sales": {}}
    assert (enterprise(0), "both") in landed(mended, "uscc, kind")


def test_the_data_docs_are_built(tiny_workspace: Workspace, exchange: Exchange) -> None:
    verbs.call("ingest", tiny_workspace, source="sales")
    directory = Path(verbs.call("data_docs", tiny_workspace)["directory"])
    assert (directory / "index.html").is_file()
    assert "sales" in (directory / "index.html").read_text(encoding="utf-8")


# -- a process that is killed

CHILD = """
import sys
from pathlib import Path
from credit301 import verbs
from credit301.workspace import Workspace
verbs.call(sys.argv[2], Workspace.load(Path(sys.argv[1])), source="sales")
"""


def start(tiny: TinyWorkspace, exchange: Exchange, verb: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "CREDIT301_HOME": str(tiny.settings.home),
        "CREDIT301_EXCHANGE_URL": exchange.url,
        "CREDIT301_GOVERNMENT_TOKEN": TOKEN,
    }
    # A file, not `-c`: pyspark, where it is installed, takes a main module without a file for a run of its doctests
    # and ends the process with success.
    script = tiny.directory / "child.py"
    script.write_text(CHILD, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(script), str(tiny.directory), verb],
        env=environment,
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
    )


def wait_until(child: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 400
    while child.poll() is None and time.monotonic() < deadline:
        if happened():
            return
        time.sleep(0.005)
    raise AssertionError("the process ended, or nothing happened in seven minutes")


@pytest.mark.parametrize("pages", [1, 4, 9])
def test_a_pull_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    tiny: TinyWorkspace, tiny_workspace: Workspace, exchange: Exchange, pages: int
) -> None:
    exchange.records = sales(40)
    exchange.answers = pages
    child = start(tiny, exchange, "pull")
    try:
        wait_until(child, lambda: len(exchange.requests) > pages)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    exchange.answers = sys.maxsize
    assert [path.name for path in Store(tiny_workspace, "sales").inbox.glob("*.parquet")] == []
    verbs.call("ingest", tiny_workspace, source="sales")
    assert landed(tiny_workspace) == sorted((record["uscc"],) for record in exchange.records)


def test_a_landing_killed_at_any_moment_loses_nothing_and_doubles_nothing(
    tiny: TinyWorkspace, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = sales(2_000)
    tiny.replace("page_size: 3", "page_size: 1000")
    workspace = tiny.load()
    verbs.call("pull", workspace, source="sales")
    verbs.call("validate", workspace, source="sales")
    store = Store(workspace, "sales")
    child = start(tiny, exchange, "land")
    try:
        wait_until(child, store.landing.exists)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    verbs.call("ingest", workspace, source="sales")
    assert landed(workspace) == sorted((record["uscc"],) for record in exchange.records)
    assert store.watermark().cursor == "2000"


def test_an_exchange_that_stays_away_fails_the_task_and_keeps_what_was_there(
    tiny_workspace: Workspace, exchange: Exchange
) -> None:
    verbs.call("ingest", tiny_workspace, source="sales")
    exchange.faults = ["500"] * 9
    with pytest.raises(SourceError, match="HTTP 500"):
        verbs.call("ingest", tiny_workspace, source="sales")
    assert len(landed(tiny_workspace)) == 7
