"""dbt's server: many commands, one import; what they say and how they end is passed on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from credit301.warehouse.dbt_process import Dbt


@pytest.fixture(scope="module")
def dbt() -> Iterator[Dbt]:
    server = Dbt()
    yield server
    server.end()


def test_commands_say_what_they_say_and_end_as_they_end(
    dbt: Dbt, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert dbt.run("duckdb", ["--version"], tmp_path, os.environ) == 0
    assert "duckdb" in capfd.readouterr().err
    first = dbt.process
    assert dbt.run("duckdb", ["no-such-command"], tmp_path, os.environ) == 2
    assert "No such command 'no-such-command'" in capfd.readouterr().err
    # What runs, runs in the folder and the environment that it is given.
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dbt_project.yml").write_text("name: wanted\nversion: 1.0.0\nprofile: wanted\n", encoding="utf-8")
    profile = "wanted:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: \"{{ env_var('WHERE') }}\"}\n"
    (folder / "profiles.yml").write_text(profile, encoding="utf-8")
    where = folder / "wanted.duckdb"
    assert dbt.run("duckdb", ["debug"], folder, {**os.environ, "WHERE": str(where)}) == 0
    assert where.exists()
    assert dbt.process is first


def test_a_server_that_was_killed_is_an_exit_code_and_the_next_command_gets_another(dbt: Dbt, tmp_path: Path) -> None:
    assert dbt.run("duckdb", ["--version"], tmp_path, os.environ) == 0
    assert dbt.process is not None
    psutil.Process(dbt.process.pid).kill()
    dbt.process.wait()
    assert dbt.run("duckdb", ["no-such-command"], tmp_path, os.environ) == 2
