"""The database connector against a real PostgreSQL: every row once, whatever happens between two pages."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from credit301 import verbs
from credit301.errors import ConfigError, SourceError
from credit301.sources.connectors.base import Page
from credit301.sources.connectors.database import Database
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.integration.test_ingest import landed
from tests.support.postgres import Server, serving
from tests.support.servers import until
from tests.unit.sources.conftest import PULL
from tests.unit.sources.exchange import enterprise, sales

pytestmark = pytest.mark.server

TABLE = """
    CREATE TABLE register.sales (
        id bigint PRIMARY KEY, uscc varchar(18) NOT NULL, month text NOT NULL, amount numeric(18,2) NOT NULL, kind text,
        event_time timestamp NOT NULL, available_at timestamptz NOT NULL)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the module."""
    with serving(tmp_path_factory.mktemp("bank")) as running:
        yield running


@pytest.fixture
def bank(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server with an empty table, and a connection that names it."""
    server.execute("DROP SCHEMA IF EXISTS register CASCADE", "CREATE SCHEMA register", TABLE)
    monkeypatch.setenv("AIRFLOW_CONN_BANK_DB", server.url)
    return server


def add(bank: Server, count: int, start: int = 0, available_at: str = "2024-04-15 00:00:00+08") -> None:
    """Rows of as many enterprises, all known at the same moment."""
    with psycopg.connect(bank.url, autocommit=True) as connection, connection.cursor() as cursor:
        rows = [
            (
                number,
                record["uscc"],
                record["month"],
                record["amount"],
                record["kind"],
                record["event_time"],
                available_at,
            )
            for number, record in enumerate(sales(count, start=start), start)
        ]
        cursor.executemany("INSERT INTO register.sales VALUES (%s, %s, %s, %s, %s, %s, %s)", rows)


def workspace_for(tiny: TinyWorkspace, options: str = "") -> Workspace:
    own = (
        "{connection: bank_db, schema: register, table: sales, cursor: [available_at, id], page_size: 3, "
        f"unknown_columns: ignore, attempts: 6, first_wait_seconds: 0.05{options}}}"
    )
    tiny.replace("connector: http_exchange, " + PULL, f"connector: database, options: {own}")
    return tiny.load()


def connector(workspace: Workspace) -> Database:
    return Database(workspace.source("sales"), workspace.settings)


def codes(page: Page) -> list[str]:
    assert isinstance(page.records, pa.RecordBatchReader)
    values: list[str] = page.records.read_all()["uscc"].to_pylist()
    return values


def expected(count: int) -> list[tuple[object, ...]]:
    return sorted((enterprise(number),) for number in range(count))


def test_rows_that_share_the_moment_of_the_cursor_come_once_each(bank: Server, tiny: TinyWorkspace) -> None:
    add(bank, 10)
    workspace = workspace_for(tiny)
    summary = verbs.call("ingest", workspace, source="sales", maximum_rows=4)["sales"]
    assert (summary["rows"], summary["landed"]) == (10, 10)
    assert landed(workspace) == expected(10)
    assert verbs.call("pull", workspace, source="sales")["sales"]["rows"] == 0


def test_values_come_as_the_exact_text_and_moments_as_the_wall_clock_of_the_city(
    bank: Server, tiny: TinyWorkspace
) -> None:
    bank.execute(
        f"INSERT INTO register.sales VALUES (1, '{enterprise(1)}', '2024-03', 1234567890123456.70, NULL, "
        "'2024-03-31 12:00:00.123456', '2024-04-14 16:00:00+00')"
    )
    page = next(connector(workspace_for(tiny)).read(""))
    assert isinstance(page.records, pa.RecordBatchReader)
    (row,) = page.records.read_all().to_pylist()
    assert row == {
        "uscc": enterprise(1),
        "month": "2024-03",
        "amount": "1234567890123456.70",
        "kind": None,
        "event_time": "2024-03-31 12:00:00.123456",
        "available_at": "2024-04-15 00:00:00",
    }


def test_a_restart_of_the_server_in_mid_pull_loses_nothing_and_doubles_nothing(
    bank: Server, tiny: TinyWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    add(bank, 11)
    workspace_for(tiny)
    pages = connector(tiny.replace("attempts: 6", "attempts: 14").load()).read("")
    first = codes(next(pages))
    bank.stop()
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(lambda: [code for page in pages for code in codes(page)])
        until(lambda: "attempt 1" in capsys.readouterr().err, "the pull to notice")
        bank.start()
        assert [*first, *rest.result(60)] == [enterprise(number) for number in range(11)]


def test_a_database_that_stays_away_is_said_so_without_the_password(
    bank: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK_DB", "postgres://someone:hidden-word@127.0.0.1:9/none")
    workspace = workspace_for(tiny, ", timeout_seconds: 2")
    workspace = tiny.replace("attempts: 6", "attempts: 2").load()
    with pytest.raises(SourceError, match="did not deliver in 2 attempts") as caught:
        list(connector(workspace).read(""))
    assert "hidden-word" not in str(caught.value)


def test_a_wrong_password_is_not_tried_again(
    bank: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = bank.settings.postgres_port
    monkeypatch.setenv("AIRFLOW_CONN_BANK_DB", f"postgres://credit301:hidden-word@127.0.0.1:{port}/postgres")
    with pytest.raises(SourceError, match="refused the login") as caught:
        list(connector(workspace_for(tiny)).read(""))
    assert "hidden-word" not in str(caught.value)
    assert "attempt" not in capsys.readouterr().err


def test_a_row_that_was_committed_late_is_found_by_the_overlap_and_lands_once(
    bank: Server, tiny: TinyWorkspace
) -> None:
    add(bank, 4)
    workspace = workspace_for(tiny, ", overlap: 86400")
    verbs.call("ingest", workspace, source="sales")
    add(bank, 1, start=4, available_at="2024-04-14 12:00:00+08")
    add(bank, 1, start=5, available_at="2024-04-16 00:00:00+08")
    summary = verbs.call("ingest", workspace, source="sales")["sales"]
    assert summary["landed"] == 2
    assert landed(workspace) == expected(6)
    assert verbs.call("ingest", workspace, source="sales")["sales"]["landed"] == 0
    assert landed(workspace) == expected(6)


def test_without_an_overlap_the_pull_goes_on_after_the_last_row(bank: Server, tiny: TinyWorkspace) -> None:
    add(bank, 4)
    workspace = workspace_for(tiny)
    verbs.call("ingest", workspace, source="sales")
    add(bank, 1, start=4, available_at="2024-04-14 12:00:00+08")
    add(bank, 1, start=5, available_at="2024-04-16 00:00:00+08")
    assert verbs.call("ingest", workspace, source="sales")["sales"]["rows"] == 1


def test_nothing_can_be_written_through_the_connection(bank: Server, tiny: TinyWorkspace) -> None:
    from sqlalchemy import text

    source = connector(workspace_for(tiny))
    with pytest.raises(SourceError, match="ReadOnlySqlTransaction"), source._transaction(source._engine()) as opened:
        opened.execute(text("DELETE FROM register.sales"))


def test_a_page_that_takes_too_long_is_stopped_and_names_the_index(bank: Server, tiny: TinyWorkspace) -> None:
    add(bank, 1)
    bank.execute(
        "ALTER TABLE register.sales RENAME TO held",
        "CREATE VIEW register.sales AS SELECT held.* FROM register.held WHERE pg_sleep(5) IS NOT NULL",
    )
    workspace = workspace_for(tiny, ", timeout_seconds: 0.3")
    with pytest.raises(SourceError, match="took longer than") as caught:
        list(connector(workspace).read(""))
    assert "index on (available_at, id)" in caught.value.hint


def test_a_cursor_that_is_not_unique_is_refused_before_a_row_is_lost(bank: Server, tiny: TinyWorkspace) -> None:
    add(bank, 5)
    workspace_for(tiny)
    workspace = tiny.replace("cursor: [available_at, id]", "cursor: [available_at]").load()
    with pytest.raises(SourceError, match="several rows with the same available_at"):
        list(connector(workspace).read(""))


def test_rows_without_a_cursor_are_refused_and_not_passed_over(bank: Server, tiny: TinyWorkspace) -> None:
    bank.execute("ALTER TABLE register.sales ALTER COLUMN available_at DROP NOT NULL")
    add(bank, 2)
    bank.execute("UPDATE register.sales SET available_at = NULL WHERE id = 1")
    with pytest.raises(SourceError, match="never be read"):
        list(connector(workspace_for(tiny)).read(""))


def test_names_with_quotes_in_them_are_quoted(bank: Server, tiny: TinyWorkspace) -> None:
    add(bank, 2)
    bank.execute('ALTER TABLE register.sales RENAME TO "sa""les; DROP"')
    workspace_for(tiny)
    workspace = tiny.replace("table: sales", """table: 'sa"les; DROP'""").load()
    assert codes(next(connector(workspace).read(""))) == [enterprise(0), enterprise(1)]


def test_a_column_that_the_contract_does_not_know_is_told(bank: Server, tiny: TinyWorkspace) -> None:
    add(bank, 2)
    workspace_for(tiny)
    workspace = tiny.replace("unknown_columns: ignore, ", "").load()
    assert verbs.call("pull", workspace, source="sales")["sales"]["drift"] == {"id": 2}


def test_a_connection_that_nobody_provides_says_both_ways(tiny: TinyWorkspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        connector(workspace_for(tiny))
    assert "CREDIT301_CONN_BANK_DB" in caught.value.hint
    assert "airflow connections add bank_db" in caught.value.hint
