"""Starting, watching and stopping real processes: PostgreSQL, Redis and the page server, under supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from credit301.errors import ConfigError
from credit301.settings import Settings
from credit301.stack import health, lifecycle
from credit301.stack.services import TOOLS, Service
from credit301.stack.supervisor import MARKER, Supervisor
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.support.ports import free_ports

pytestmark = [pytest.mark.server]
FEW = ["postgres", "redis", "site"]


def marked(home: Path) -> list[psutil.Process]:
    """Every process that the stack of ``home`` has started and that still lives."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The city with a home and ports of its own; whatever a test leaves running ends with the module."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), **free_ports())
    workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)
    yield workspace
    lifecycle.down(workspace)
    assert marked(settings.home) == []


@pytest.fixture
def running(workspace: Workspace) -> Workspace:
    """The city with the stores and the page server up."""
    lifecycle.up(workspace, only=FEW)
    return workspace


def pids(workspace: Workspace) -> dict[str, int | None]:
    states = Supervisor(workspace.settings).states()
    return {name: states[name].pid for name in FEW}


def test_postgres_has_the_databases_of_the_platform(running: Workspace) -> None:
    with psycopg.connect(running.settings.postgres_address("postgres")) as connection:
        names = {name for (name,) in connection.execute("select datname from pg_database")}
    assert {"airflow", "mlflow", "credit301"} <= names


def test_postgres_refuses_a_wrong_password(running: Workspace) -> None:
    settings = running.settings
    address = settings.postgres_address("credit301").replace(settings.secret("postgres_password"), "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address)


def test_redis_refuses_a_client_without_the_password(running: Workspace) -> None:
    client = redis.Redis(port=running.settings.redis_port)
    with pytest.raises(redis.AuthenticationError):
        client.ping()


def test_the_stores_listen_on_loopback_only(running: Workspace) -> None:
    listening = {
        connection.laddr.ip
        for process in marked(running.settings.home)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_second_up_leaves_what_runs_alone(running: Workspace) -> None:
    before = pids(running)
    lifecycle.up(running, only=FEW)
    assert pids(running) == before


def test_status_counts_the_healthy_services(running: Workspace) -> None:
    assert lifecycle.status(running)["healthy"] == len(FEW)


def test_status_says_which_process_answers_no_more(running: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    server = psutil.Process(pids(running)["site"])
    server.suspend()
    try:
        lifecycle.status(running)
    finally:
        server.resume()
    assert "unhealthy" in capsys.readouterr().out


def test_a_service_that_dies_is_started_again(running: Workspace) -> None:
    old = pids(running)["redis"]
    assert old is not None
    os.kill(old, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while pids(running)["redis"] in {old, None} and time.monotonic() < deadline:
        time.sleep(0.2)
    lifecycle.up(running, only=FEW)
    assert pids(running)["redis"] not in {old, None}


def test_data_outlive_a_stop(running: Workspace) -> None:
    address = running.settings.redis_address()
    redis.Redis.from_url(address).set("kept", "yes")
    with psycopg.connect(running.settings.postgres_address("credit301"), autocommit=True) as connection:
        connection.execute("create table kept (value text)")
    lifecycle.down(running)
    lifecycle.up(running, only=FEW)
    assert redis.Redis.from_url(address).get("kept") == b"yes"
    with psycopg.connect(running.settings.postgres_address("credit301"), autocommit=True) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_down_ends_every_process_that_up_started(running: Workspace) -> None:
    assert marked(running.settings.home)
    lifecycle.down(running)
    assert marked(running.settings.home) == []


def test_the_services_of_a_supervisor_that_was_killed_stop_by_themselves(running: Workspace) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv here: without it services outlive a killed supervisor until `down`")
    supervisor = Supervisor(running.settings).pid()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    psutil.wait_procs(marked(running.settings.home), timeout=120)
    assert marked(running.settings.home) == []


def test_down_ends_what_a_service_left_behind(running: Workspace) -> None:
    environment = {MARKER: str(running.settings.home)}
    with subprocess.Popen(["/bin/sleep", "60"], env=environment, start_new_session=True) as straggler:
        assert lifecycle.down(running)["left_behind"] == 1
        assert not psutil.pid_exists(straggler.pid)


def test_down_leaves_the_processes_of_another_home_alone(workspace: Workspace, tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"], env={MARKER: str(tmp_path)}) as stranger:
        lifecycle.down(workspace)
        assert stranger.poll() is None
        stranger.kill()


def test_down_does_nothing_where_nothing_runs(workspace: Workspace) -> None:
    lifecycle.down(workspace)
    assert lifecycle.down(workspace) == {"stopped": 0, "left_behind": 0}


def test_a_taken_port_is_named_with_its_setting(workspace: Workspace) -> None:
    lifecycle.down(workspace)
    port = workspace.settings.redis_port
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ConfigError) as caught:
        lifecycle.up(workspace, only=FEW)
    assert str(port) in caught.value.message
    assert "CREDIT301_REDIS_PORT" in caught.value.hint


def test_another_port_in_the_settings_restarts_the_service_there(running: Workspace) -> None:
    settings = running.settings.model_copy(update={"site_port": free_ports()["site_port"]})
    moved = replace(running, settings=settings)
    lifecycle.up(moved, only=FEW)
    health.http(f"http://127.0.0.1:{settings.site_port}/")()
    assert health.port_is_free("127.0.0.1", running.settings.site_port)


def test_a_service_that_cannot_start_is_reported_with_the_end_of_its_log(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Service("broken", ("/bin/sh", "-c", "echo no such city; exit 3"), TOOLS, health.process_only, 30)
    monkeypatch.setattr(lifecycle, "table", lambda _: [broken])
    with pytest.raises(lifecycle.ServiceError) as caught:
        lifecycle.up(workspace)
    assert "no such city" in caught.value.message
    assert str(Supervisor(workspace.settings).log_file("broken")) in caught.value.hint


def test_the_others_start_without_an_optional_service(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Service("broken", ("/bin/false",), TOOLS, health.process_only, 30, optional=True)
    monkeypatch.setattr(lifecycle, "table", lambda _: [broken])
    assert lifecycle.up(workspace)["services"] == 1
