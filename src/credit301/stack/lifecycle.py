"""The verbs ``up``, ``down`` and ``status``."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Annotated, Any

import typer

from credit301 import console
from credit301.applications import migrate as applications
from credit301.errors import ConfigError, Credit301Error
from credit301.settings import PREFIX, Settings
from credit301.stack import airflow_env, health, portal, postgres, redis_server
from credit301.stack.services import FOUNDATION, SERVING, Service, program, table
from credit301.stack.supervisor import MARKER, State, Supervisor, sweep, tail
from credit301.workspace import Workspace

POLL_SECONDS = 0.5
# Other people's settings for these programs, which a shell may carry, must not reach ours.
FOREIGN = ("AIRFLOW", "MLFLOW", "FEAST", "DBT_", "VIRTUAL_ENV", "PYTHONHOME")


class ServiceError(Credit301Error):
    """A service did not become healthy, or stopped."""


def up(
    workspace: Workspace,
    *,
    only: Annotated[list[str] | None, typer.Option(help="Start these services only. 只启动这些服务。")] = None,
) -> dict[str, Any]:
    """Start every service that does not run yet, and return when all are healthy. 启动全部服务。

    Args:
        workspace: the city or bank that they work for.
        only: names of services; those they need are not added.

    Raises:
        ConfigError: a variable is missing, or a port is taken.
        ServiceError: a service did not become healthy; the message has the end of its log.
    """
    settings = workspace.settings
    services = table(workspace)
    wanted = _chosen(services, only)
    supervisor = Supervisor(settings)
    began = time.monotonic()
    with _exclusive(settings):
        _ensure_supervisor(supervisor, workspace, services)
        states = supervisor.states()
        _require_free_ports(settings, [service for service in wanted if not _runs(states, service)])
        portal.write(workspace)
        waiting: list[Service] = []
        for stage, members in groupby(wanted, key=lambda service: service.stage):
            started = list(members)
            _start_stage(supervisor, workspace, started)
            waiting += started
            if stage == FOUNDATION:
                # What stands on the stores starts when they answer; the rest starts side by side.
                _wait(supervisor, waiting)
                _furnish(settings, waiting)
                waiting = []
        _wait(supervisor, waiting)
    portal.show(workspace)
    return {"services": len(wanted), "seconds": round(time.monotonic() - began, 1)}


def down(workspace: Workspace) -> dict[str, Any]:
    """Stop what ``up`` started, and nothing else. 停止由 up 启动的全部服务。"""
    supervisor = Supervisor(workspace.settings)
    with _exclusive(workspace.settings):
        running = sum(state.pid is not None for state in supervisor.states().values())
        supervisor.stop()
        left = sweep(workspace.settings.home)
    console.say(f"stopped {running} services" + (f" and {left} processes that they had left behind" if left else ""))
    return {"stopped": running, "left_behind": left}


def reload(workspace: Workspace) -> dict[str, Any]:
    """Replace the workers of the decision API in turn; no request is lost. 逐个替换决策接口进程，不丢请求。

    Raises:
        ConfigError: there is one worker only, which cannot be replaced without a pause, or it does not run.
    """
    workers = workspace.settings.serving_workers
    if workers == 1:
        raise ConfigError(
            "The decision API has one worker, which cannot be replaced without a pause.",
            hint="Set CREDIT301_SERVING_WORKERS to 2 or more, and `credit301 up` once; or `credit301 down`, `up`.",
        )
    Supervisor(workspace.settings).send(SERVING, signal.SIGHUP)
    return {"workers": workers}


def status(workspace: Workspace) -> dict[str, Any]:
    """Show each service with its state, process and address. 查看各服务状态。"""
    states = Supervisor(workspace.settings).states()
    services = table(workspace)
    rows = []
    for service in services:
        state = states.get(service.name)
        rows.append((service.name, _condition(service, state), state.pid if state else None, service.address or None))
    console.show_table(f"{workspace.title.zh} {workspace.title.en}", ("service", "state", "pid", "address"), rows)
    return {"healthy": sum(row[1] == "healthy" for row in rows), "services": len(rows)}


def _condition(service: Service, state: State | None) -> str:
    if state is None or state.pid is None:
        return (state.name if state else "STOPPED").lower()
    try:
        service.check()
    except health.UnhealthyError as error:
        return f"unhealthy: {error}"
    return "healthy"


def child_environment(workspace: Workspace) -> dict[str, str]:
    """Environment of every service: this process's, less foreign settings, with the run's own on top."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    # A training's threads that wait for one another leave the cores to what runs beside it.
    return {"OMP_WAIT_POLICY": "passive", **inherited, **_run_environment(workspace)}


def _run_environment(workspace: Workspace) -> dict[str, str]:
    settings = workspace.settings
    return {
        f"{PREFIX}HOME": str(settings.home),
        f"{PREFIX}WORKSPACE": str(workspace.directory),
        f"{PREFIX}DATA_DIR": str(settings.data_dir.resolve()),
        MARKER: str(settings.home),
        # Airflow's process titles would be written over the environment, and with it over the mark.
        "SPT_NOENV": "1",
    }


def _ensure_supervisor(supervisor: Supervisor, workspace: Workspace, services: Sequence[Service]) -> None:
    environment = child_environment(workspace)
    # The services inherit the settings; their digest makes other settings another configuration.
    digest = hashlib.sha256(workspace.settings.model_dump_json().encode()).hexdigest()
    configuration = f"; settings {digest}\n{supervisor.configuration(services, _run_environment(workspace))}"
    if supervisor.pid() is not None:
        if supervisor.answers() and supervisor.configuration_file.read_text(encoding="utf-8") == configuration:
            return
        console.say("the settings have changed: stopping the services of the run before")
        supervisor.stop()
    sweep(workspace.settings.home)
    settings = workspace.settings
    if not health.port_is_free(settings.host, settings.supervisor_port):
        raise _port_taken(settings.host, settings.supervisor_port, "the process supervisor", "supervisor_port")
    supervisor.start(configuration, environment)


def _start_stage(supervisor: Supervisor, workspace: Workspace, stage: Sequence[Service]) -> None:
    settings = workspace.settings
    names = {service.name for service in stage}
    if "postgres" in names:
        postgres.prepare(settings)
    if "redis" in names:
        redis_server.prepare(settings)
    if "airflow-api" in names:
        airflow_env.prepare(settings)
        began = time.monotonic()
        log = supervisor.log_file("airflow-migrate")
        if airflow_env.migrate(settings, program("airflow"), child_environment(workspace), log):
            console.say(f"  Airflow's database migrated ({time.monotonic() - began:.0f} s)")
    for service in stage:
        supervisor.start_service(service.name)


def _furnish(settings: Settings, stage: Sequence[Service]) -> None:
    if "postgres" in {service.name for service in stage}:
        postgres.create_databases(settings)
        if applications.migrate(settings)["migrated"]:
            console.say("  the tables of applications were brought up to date")


def _wait(supervisor: Supervisor, stage: Sequence[Service]) -> None:
    began = time.monotonic()
    waiting = list(stage)
    while waiting:
        states = supervisor.states()
        for service in list(waiting):
            elapsed = time.monotonic() - began
            problem = _problem(service, states.get(service.name))
            if problem is None:
                waiting.remove(service)
                console.say(f"  {service.name:<22} healthy after {elapsed:5.1f} s  {service.address}")
            elif elapsed > service.timeout or (states and states[service.name].name == "FATAL"):
                failure = _failure(supervisor, service, problem)
                if not service.optional:
                    raise failure
                waiting.remove(service)
                console.say(f"  {service.name:<22} does not run, and the others can do without: {failure}")
        if waiting:
            time.sleep(POLL_SECONDS)


def _problem(service: Service, state: State | None) -> str | None:
    if state is None or state.name != "RUNNING":
        return f"its process is {state.name.lower() if state else 'unknown'} ({state.description if state else ''})"
    try:
        service.check()
    except health.UnhealthyError as error:
        return str(error)
    return None


def _failure(supervisor: Supervisor, service: Service, problem: str) -> ServiceError:
    log = supervisor.log_file(service.name)
    return ServiceError(
        f"{service.name} is not healthy: {problem}\nThe end of its log:\n{tail(log, 20)}",
        hint=f"The whole log: {log}. `credit301 down` stops what did start.",
    )


def _chosen(services: Sequence[Service], only: Sequence[str] | None) -> list[Service]:
    if not only:
        return list(services)
    known = {service.name for service in services}
    if unknown := sorted(set(only) - known):
        raise ConfigError(f"There is no service {', '.join(unknown)}.", hint=f"Services: {', '.join(sorted(known))}.")
    return [service for service in services if service.name in only]


def _runs(states: dict[str, State], service: Service) -> bool:
    return service.name in states and states[service.name].pid is not None


def _require_free_ports(settings: Settings, services: Sequence[Service]) -> None:
    for service in services:
        if service.port is not None and not health.port_is_free(settings.host, service.port):
            raise _port_taken(settings.host, service.port, service.name, service.port_setting)


def _port_taken(host: str, port: int, what: str, setting: str) -> ConfigError:
    return ConfigError(
        f"{what} cannot start: something else listens on {host}:{port}.",
        hint=f"Stop it, or set {PREFIX}{setting.upper()} to a free port.",
    )


@contextmanager
def _exclusive(settings: Settings) -> Iterator[None]:
    """Only one ``up`` or ``down`` of a home at a time; a second one waits."""
    directory = settings.home / "run"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
