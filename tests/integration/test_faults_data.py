"""Faults on the way in, each injected for real; what was lost and what was doubled is counted, and is none.

Faults that other tests inject already are not repeated here; docs/faults.md says which test is which fault's.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import psutil
import pytest

from credit301 import verbs
from credit301.errors import SourceError, ValidationFailed
from credit301.sources.batches import Store
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY, TinyWorkspace
from tests.integration.test_ingest import landed, start, wait_until
from tests.unit.sources.conftest import exchange, store, tiny_workspace
from tests.unit.sources.exchange import Exchange, enterprise, sales
from tests.unit.sources.test_file_drop import csv_text, drop, workspace_for
from tests.unit.sources.test_landing import contents

__all__ = ["drop", "exchange", "store", "tiny_workspace"]


def expected(count: int) -> list[tuple[object, ...]]:
    return sorted((enterprise(number),) for number in range(count))


def script(tiny: TinyWorkspace, text: str, *arguments: object) -> list[str]:
    """The command that runs ``text`` on the workspace in a process of its own."""
    path = tiny.directory / "script.py"
    path.write_text(text, encoding="utf-8")
    return [sys.executable, str(path), str(tiny.directory), *map(str, arguments)]


def quarantined(workspace: Workspace) -> int:
    return sum(verbs.call("quarantine", workspace)["sales"].values())


def shuffled(count: int) -> list[dict[str, object]]:
    """Records that do not compress to nothing."""
    amounts = random.Random(1)
    return [{**record, "amount": f"{amounts.randrange(10**12)}.{amounts.randrange(100):02}"} for record in sales(count)]


# -- deliveries


def test_a_pull_repeated_from_the_start_lands_nothing_twice(tiny_workspace: Workspace, exchange: Exchange) -> None:
    verbs.call("ingest", tiny_workspace, source="sales")
    # As after a restore of the state from an older backup.
    (tiny_workspace.paths.state / "watermarks" / "sales.json").unlink()
    exchange.records += sales(2, start=7)
    summary = verbs.call("ingest", tiny_workspace, source="sales")["sales"]
    assert (landed(tiny_workspace), summary["cursor"]) == (expected(9), "9")


def test_a_file_delivered_twice_under_two_names_lands_once(tiny: TinyWorkspace, drop: Path) -> None:
    (drop / "sales_1.csv").write_text(csv_text(4), encoding="utf-8")
    workspace = workspace_for(tiny, "{path: 'sales_*.csv'}")
    verbs.call("ingest", workspace, source="sales")
    (drop / "sales_2.csv").write_text(csv_text(4), encoding="utf-8")
    (drop / "sales_3.csv").write_bytes(csv_text(4).encode("utf-8-sig"))
    assert verbs.call("ingest", workspace, source="sales")["sales"]["landed"] == 0
    assert landed(workspace) == expected(4)


def test_files_delivered_out_of_order_land_whole(tiny: TinyWorkspace, drop: Path) -> None:
    lines = csv_text(9).splitlines()
    workspace = workspace_for(tiny, "{path: 'sales_*.csv'}")
    for name, part in (("sales_3.csv", lines[7:]), ("sales_1.csv", lines[1:5]), ("sales_2.csv", lines[4:7])):
        (drop / name).write_text("\n".join([lines[0], *part]) + "\n", encoding="utf-8")
        verbs.call("ingest", workspace, source="sales")
    assert landed(workspace) == expected(9)


def test_a_file_half_written_lands_its_whole_lines_once_and_the_rest_when_it_is_whole(
    tiny: TinyWorkspace, drop: Path
) -> None:
    tiny.definition += "ingest: {tolerance: 0.5}\n"
    whole = csv_text(6)
    (drop / "sales.csv").write_text(whole[: -len(whole.splitlines()[-1]) + 10], encoding="utf-8")
    workspace = workspace_for(tiny, "{path: sales.csv}")
    verbs.call("ingest", workspace, source="sales")
    assert landed(workspace) == expected(5)
    assert quarantined(workspace) > 0
    (drop / "sales.csv").write_text(whole, encoding="utf-8")
    verbs.call("ingest", workspace, source="sales")
    assert landed(workspace) == expected(6)


@pytest.mark.parametrize("encoding", ["utf-16", "big5"])
def test_a_file_of_an_encoding_that_nobody_expects_lands_nothing_until_it_is_mended(
    tiny: TinyWorkspace, drop: Path, encoding: str
) -> None:
    # Big5 is valid GB18030 by bytes and other words by meaning: the contract's values tell.
    text = csv_text(4).replace("goods", "貨物")
    tiny.replace("{value: goods}", "{value: 貨物}")
    (drop / "sales.csv").write_bytes(text.encode(encoding))
    workspace = workspace_for(tiny, "{path: sales.csv}")
    with pytest.raises((SourceError, ValidationFailed)):
        verbs.call("ingest", workspace, source="sales")
    assert not list(workspace.paths.landing.rglob("*.parquet"))
    (drop / "sales.csv").write_text(text, encoding="utf-8")
    verbs.call("pull", workspace, source="sales", again=True)
    verbs.call("ingest", workspace, source="sales")
    assert landed(workspace) == expected(4)


def test_an_unknown_column_is_told_kept_and_costs_no_row(tiny: TinyWorkspace, drop: Path) -> None:
    lines = [f"{line},{'new' if number == 0 else number}" for number, line in enumerate(csv_text(4).splitlines())]
    (drop / "sales.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    workspace = workspace_for(tiny, "{path: sales.csv}")
    assert verbs.call("pull", workspace, source="sales")["sales"]["drift"] == {"new": 4}
    verbs.call("ingest", workspace, source="sales")
    assert landed(workspace) == expected(4)


BAD = """
import resource, sys
from pathlib import Path
from credit301 import verbs
from credit301.workspace import Workspace
directory, drop = Path(sys.argv[1]), Path(sys.argv[2])
for name, rows in (("sales_1.csv", 20_000), ("sales_2.csv", 400_000)):
    with (drop / name).open("w") as file:
        file.write("uscc,month,amount,kind,event_time,available_at\\n")
        for number in range(rows):
            file.write(f"{number:018},2024-03,?{name},goods,2024-03-31T00:00:00,2024-04-15T00:00:00\\n")
    done = verbs.call("ingest", Workspace.load(directory), source="sales")["sales"]
    print(done["quarantined"], done["landed"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_hundreds_of_thousands_of_bad_rows_are_all_kept_in_bounded_memory(tiny: TinyWorkspace, drop: Path) -> None:
    tiny.definition += "ingest: {tolerance: 1.0}\n"
    workspace = workspace_for(tiny, "{path: 'sales_*.csv'}")
    environment = {
        **os.environ,
        "CREDIT301_HOME": str(tiny.settings.home),
        "CREDIT301_DATA_DIR": str(drop),
        "CREDIT301_THREADS": "2",
    }
    done = subprocess.run(
        script(tiny, BAD, drop),
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    few, many = (tuple(map(int, line.split())) for line in done.stdout.splitlines() if line[:1].isdigit())
    assert (few[:2], many[:2]) == ((20_000, 0), (400_000, 0))
    # Twenty times the rows, 40 MB of text: what is held more is of the size of a group of rows and of the database.
    assert many[2] - few[2] < 600
    assert verbs.call("quarantine", workspace)["sales"]["amount_castable"] == 420_000


def test_a_file_of_nothing_but_broken_lines_is_refused_whole(tiny: TinyWorkspace, drop: Path) -> None:
    (drop / "sales.csv").write_text(csv_text(2) + "broken,line\n" * 30_000, encoding="utf-8")
    workspace = workspace_for(tiny, "{path: sales.csv}")
    with pytest.raises(SourceError, match="cannot be read"):
        verbs.call("ingest", workspace, source="sales")
    assert not list(workspace.paths.landing.rglob("*.parquet"))
    (drop / "sales.csv").write_text(csv_text(2), encoding="utf-8")
    assert verbs.call("ingest", workspace, source="sales")["sales"]["landed"] == 2


# -- the exchange


@pytest.mark.parametrize("fault", ["429:0", "500", "503", "garbage", "cut", "stuck"])
def test_an_exchange_that_fails_between_any_two_pages_costs_no_record(
    tiny_workspace: Workspace, exchange: Exchange, fault: str
) -> None:
    exchange.records = sales(12)
    exchange.faults = ["", fault, "", fault, fault, "", fault]
    assert verbs.call("pull", tiny_workspace, source="sales")["sales"]["rows"] == 12


def test_an_exchange_that_answers_with_nothing_is_not_taken_for_one_without_news(
    tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.faults = ["", "204"]
    with pytest.raises(SourceError, match="HTTP 204"):
        verbs.call("pull", tiny_workspace, source="sales")
    assert verbs.call("ingest", tiny_workspace, source="sales")["sales"]["landed"] == 7


# -- a worker that is killed


def kill(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_a_worker_killed_in_mid_validation_loses_nothing_and_doubles_nothing(
    tiny: TinyWorkspace, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = [*sales(195), *sales(5, start=195, kind="both")]
    tiny.replace("page_size: 3", "page_size: 1000")
    workspace = tiny.load()
    verbs.call("pull", workspace, source="sales")
    store = Store(workspace, "sales")
    child = start(tiny, exchange, "validate")
    try:
        wait_until(child, store.quarantine.exists)
    finally:
        kill(child)
    summary = verbs.call("ingest", workspace, source="sales")["sales"]
    assert (summary["landed"], summary["quarantined"]) == (195, 5)
    assert (landed(workspace), quarantined(workspace)) == (expected(195), 5)


def test_a_worker_killed_in_mid_replay_loses_nothing_and_doubles_nothing(
    tiny: TinyWorkspace, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = [*sales(195), *sales(5, start=195, kind="both")]
    tiny.replace("page_size: 3", "page_size: 1000")
    verbs.call("ingest", tiny.load(), source="sales")
    mended = tiny.replace("{value: services}", "{value: services}, {value: both}").load()
    store = Store(mended, "sales")
    files = len(list(store.landing.iterdir()))
    child = start(tiny, exchange, "replay_refused")
    try:
        wait_until(child, lambda: len(list(store.landing.iterdir())) > files)
    finally:
        kill(child)
    verbs.call("replay_refused", mended, source="sales")
    assert (landed(mended), quarantined(mended)) == (expected(200), 0)


BUILD = """
import sys
from pathlib import Path
from credit301 import verbs
from credit301.workspace import Workspace
verbs.call("build", Workspace.load(Path(sys.argv[1])), docs=False)
"""


@pytest.mark.server
def test_a_worker_killed_in_mid_dbt_build_leaves_a_warehouse_that_the_next_build_completes(
    tiny: TinyWorkspace, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    models = tiny.directory / "models" / "marts"
    models.mkdir(parents=True)
    (models / "outcomes.sql").write_text(
        "select uscc, event_time as decision_time, 0 as label from {{ ref('stg_sales') }}\n", encoding="utf-8"
    )
    tiny_workspace = tiny.load()
    verbs.call("ingest", tiny_workspace, source="sales")
    verbs.call("build", tiny_workspace, docs=False)
    marts = contents(tiny_workspace.paths.marts)
    exchange.records += sales(20, start=7)
    verbs.call("ingest", tiny_workspace, source="sales")
    environment = {**os.environ, "CREDIT301_HOME": str(tiny.settings.home), "CREDIT301_EXCHANGE_URL": exchange.url}
    log = tiny_workspace.paths.warehouse.with_name(tiny_workspace.paths.warehouse.name + ".wal")
    child = subprocess.Popen(
        script(tiny, BUILD),
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # dbt runs, and its first writes are in the log of the warehouse: it is in the middle.
        build = psutil.Process(child.pid)
        wait_until(child, lambda: bool(build.children(recursive=True)) and log.exists())
        running = build.children(recursive=True)
    finally:
        kill(child)
    assert running
    _, alive = psutil.wait_procs(running, timeout=60)
    assert not alive
    assert contents(tiny_workspace.paths.marts) == marts
    verbs.call("build", tiny_workspace, docs=False)
    with duckdb.connect(str(tiny_workspace.paths.warehouse), read_only=True) as warehouse:
        tables = warehouse.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE table_name LIKE '%sales%' UNION "
            "SELECT schema_name, view_name FROM duckdb_views() WHERE view_name = 'stg_sales'"
        ).fetchall()
        counts = {
            name: warehouse.execute(f'SELECT count(*), count(DISTINCT uscc) FROM "{schema}"."{name}"').fetchall()[0]
            for schema, name in tables
            if name.startswith("stg_")
        }
    assert counts
    assert set(counts.values()) == {(27, 27)}


# -- the disk full

FULL = """
import resource, sys
from pathlib import Path
from credit301 import verbs
from credit301.workspace import Workspace
workspace = Workspace.load(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
verbs.call(sys.argv[2], workspace, source="sales")
"""


@pytest.mark.parametrize("verb", ["pull", "validate", "land"])
def test_a_disk_that_is_full_stops_the_step_and_the_next_run_completes_it(
    tiny: TinyWorkspace, tiny_workspace: Workspace, exchange: Exchange, verb: str
) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    exchange.records = shuffled(4_000)
    tiny.replace("page_size: 3", "page_size: 1000")
    workspace = tiny.load()
    for before in ("pull", "validate", "land")[: ("pull", "validate", "land").index(verb)]:
        verbs.call(before, workspace, source="sales")
    environment = {
        **os.environ,
        "CREDIT301_HOME": str(tiny.settings.home),
        "CREDIT301_EXCHANGE_URL": exchange.url,
    }
    limit = 200 if verb == "validate" else 30_000
    done = subprocess.run(
        script(tiny, FULL, verb, limit),
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    store = Store(workspace, "sales")
    assert store.watermark().cursor == ""
    assert not list(store.landing.glob("*.parquet"))
    verbs.call("ingest", workspace, source="sales")
    assert landed(workspace) == expected(4_000)


# -- the clock wrong


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00", "2999-01-01T00:00:00", "nonsense"])
def test_a_clock_of_the_source_that_is_wrong_moves_no_cursor(
    tiny_workspace: Workspace, exchange: Exchange, clock: str
) -> None:
    answer = exchange.answer
    exchange.answer = lambda query: {**answer(query), "served_through": clock}  # type: ignore[method-assign]
    verbs.call("ingest", tiny_workspace, source="sales")
    exchange.answer = answer  # type: ignore[method-assign]
    exchange.records += sales(3, start=7)
    assert verbs.call("ingest", tiny_workspace, source="sales")["sales"]["landed"] == 3
    assert landed(tiny_workspace) == expected(10)


@pytest.mark.parametrize("moment", [0, 4_000_000_000])
def test_files_from_a_machine_with_a_wrong_clock_are_delivered_once(
    tiny: TinyWorkspace, drop: Path, moment: int
) -> None:
    workspace = workspace_for(tiny, "{path: 'sales_*.csv'}")
    for number in (1, 2):
        path = drop / f"sales_{number}.csv"
        path.write_text(csv_text(number * 3), encoding="utf-8")
        os.utime(path, (moment, moment))
        verbs.call("ingest", workspace, source="sales")
    assert landed(workspace) == expected(6)
    assert verbs.call("ingest", workspace, source="sales")["sales"]["rows"] == 0
