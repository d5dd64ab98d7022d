"""What the build asks of an engine, and the dbt process that all share."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from credit301 import console
from credit301.derive.dbt import INTERMEDIATE_SCHEMA, MARTS_SCHEMA, STAGING_SCHEMA
from credit301.processes import dies_with_its_parent
from credit301.warehouse.dbt_process import dbt
from credit301.warehouse.increment import Increment
from credit301.workspace import Workspace

SCHEMAS = (STAGING_SCHEMA, INTERMEDIATE_SCHEMA, MARTS_SCHEMA)


class Engine(ABC):
    """An engine that holds the warehouse of one workspace.

    Attributes:
        name: of the engine, which is also the target in ``dbt_project/profiles.yml``.
        types: what the engine calls the types that derived models cast to.
        told: what the models are told of the build, in the environment of dbt.
    """

    name: str
    types: ClassVar[dict[str, str]]

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.told: dict[str, str] = {}

    @abstractmethod
    def tables(self) -> set[str]:
        """Names of the tables that the engine has and can add to."""

    @abstractmethod
    def show(self, increment: Increment) -> None:
        """Show the landing to dbt, and drop what is built anew."""

    @abstractmethod
    def build(self, project: Path, arguments: Sequence[str], target: Path | None) -> tuple[int, dict[str, int]]:
        """Run dbt with ``arguments`` and, if it succeeds, export each mart to ``target/<name>.parquet``.

        Returns:
            dbt's exit code, and rows by exported mart.
        """

    def run_dbt(self, arguments: Sequence[str], project: Path, more: dict[str, str]) -> int:
        """Run a dbt command, its output passed on line by line; returns its exit code."""
        return dbt().run(self.name, self._arguments(arguments, project), project, self._environment(more))

    def run(self, command: Sequence[str], project: Path, more: dict[str, str]) -> int:
        """Run a program that runs the dbt command at its end, its output passed on line by line; its exit code."""
        process = subprocess.Popen(
            # A build that goes on after its worker was killed would write beside the next one.
            [*dies_with_its_parent(signal.SIGKILL), *self._arguments(command, project)],
            env=self._environment(more),
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

    def _arguments(self, arguments: Sequence[str], project: Path) -> list[str]:
        folder = str(project)
        return [*arguments, "--target", self.name, "--project-dir", folder, "--profiles-dir", folder]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "CREDIT301_CPU_THREADS": str(self.workspace.settings.cpu_threads),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            **self.told,
            **more,
        }
