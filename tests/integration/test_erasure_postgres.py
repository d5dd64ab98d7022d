"""An erasure reaches the warehouse on PostgreSQL: its tables, its statistics and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from credit301.errors import WarehouseError
from credit301.governance.erasure.postgres_warehouse import erase
from credit301.governance.erasure.target import Target
from credit301.identity.keyed_hash import KeyedHash
from credit301.settings import Warehouse
from credit301.warehouse.engines.postgres import Postgres
from tests.support.postgres import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from credit301.workspace import Workspace
    from tests.conftest import TinyWorkspace

pytestmark = [pytest.mark.server]
GONE, OTHER = "91420102MA01EJ0J1J", "91420100MA4KXXXX07"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "server") as server:
        yield server


@pytest.fixture
def workspace(tiny: TinyWorkspace, server: Server) -> Workspace:
    tiny.settings = tiny.settings.model_copy(
        update={"warehouse": Warehouse.POSTGRES, "postgres_url": server.url.removesuffix("/postgres")}
    )
    return tiny.load()


@pytest.fixture
def target(workspace: Workspace) -> Target:
    return Target.of(GONE, KeyedHash.from_settings(workspace.settings), frozenset({"uscc"}))


def fill(workspace: Workspace) -> None:
    with Postgres(workspace).connect() as connection:
        connection.execute("create schema staging")
        connection.execute(
            "create table staging.stg_sales (uscc varchar(18), told jsonb, partners text[], amount numeric)"
        )
        told: list[tuple[Any, ...]] = [(GONE.lower(), "{}", [], 1)] * 50 + [
            (OTHER, f'{{"buyer": "{GONE}"}}', [GONE, OTHER], 2),
            (OTHER, "{}", [], 3),
        ]
        with connection.cursor() as cursor:
            cursor.executemany("insert into staging.stg_sales values (%s, %s, %s, %s)", told)
        connection.commit()
        connection.autocommit = True
        connection.execute("analyze staging.stg_sales")
        connection.execute("checkpoint")


def holding(server: Server, value: str) -> list[Path]:
    """Files of tables, of any database, that hold the value."""
    wanted = value.upper().encode()
    files = (path for path in server.settings.home.rglob("base/*/*") if path.is_file())
    return [path for path in files if wanted in path.read_bytes().upper()]


def test_an_erased_enterprise_is_in_no_table_statistic_or_file_and_nobody_else_is_missing(
    workspace: Workspace, server: Server, target: Target
) -> None:
    fill(workspace)
    assert holding(server, GONE)
    found = erase(workspace, target)
    assert (found.rows, found.values) == (50, 2)
    with Postgres(workspace).connect() as connection:
        connection.autocommit = True
        connection.execute("checkpoint")
        left = connection.execute(
            "select uscc, told, partners, amount from staging.stg_sales order by amount"
        ).fetchall()
    stand_in = target.stand_in
    assert left == [(OTHER, {"buyer": stand_in}, [stand_in, OTHER], 2), (OTHER, {}, [], 3)]
    assert holding(server, GONE) == []
    assert holding(server, OTHER)
    assert erase(workspace, target).rows == 0


def test_a_server_that_does_not_answer_is_said(workspace: Workspace, server: Server, target: Target) -> None:
    server.stop()
    with pytest.raises(WarehouseError, match="cannot be changed"):
        erase(workspace, target)


def test_another_engine_has_nothing_there(tiny: TinyWorkspace, server: Server) -> None:
    workspace = tiny.load()
    target = Target.of(GONE, KeyedHash.from_settings(workspace.settings), frozenset({"uscc"}))
    server.stop()
    assert erase(workspace, target).rows == 0
