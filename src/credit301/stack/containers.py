"""Verbs for machines that run one process each, such as containers: one service in the foreground, the migration."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from credit301 import console
from credit301.applications import migrate as applications
from credit301.errors import NotFound
from credit301.stack import airflow_env, portal, postgres
from credit301.stack.lifecycle import child_environment
from credit301.stack.services import program, table
from credit301.workspace import Workspace


def run_service(
    workspace: Workspace,
    name: Annotated[str, typer.Argument(help="A service of the stack, for example mlflow. 服务名。")],
) -> None:
    """Become one service of the stack, in the foreground. 在前台运行单个服务。

    Variables that the environment sets already win over the table's.

    Raises:
        NotFound: the stack has no such service.
    """
    services = {service.name: service for service in table(workspace, everywhere=True)}
    if name not in services:
        raise NotFound(f"There is no service {name!r}.", hint=f"Services: {', '.join(services)}.")
    service = services[name]
    portal.write(workspace)
    # The process becomes the service, so that signals and the exit code are the service's own.
    os.execve(service.command[0], service.command, {**service.environment, **os.environ})  # noqa: S606


def migrate(workspace: Workspace) -> dict[str, Any]:
    """Make the databases, bring Airflow's and the applications' to the installed version. 创建并迁移数据库。"""
    settings = workspace.settings
    postgres.create_databases(settings)
    applications.migrate(settings)
    airflow_env.prepare(settings)
    log = settings.home / "logs" / "airflow-migrate.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    migrated = airflow_env.migrate(settings, program("airflow"), child_environment(workspace), log)
    console.say("Airflow's database " + ("was migrated" if migrated else "is up to date"))
    return {"migrated": migrated}
