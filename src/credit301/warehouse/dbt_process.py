"""Runs dbt's commands in a server of this process's own, which ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from credit301 import console
from credit301.processes import dies_with_its_parent
from credit301.warehouse import dbt_server


class Dbt:
    """A server that has loaded dbt, started when it is first needed. One command runs at a time.

    Attributes:
        process: the server; ``None`` before the first command.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None

    def run(self, engine: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
        """Run one command, its output passed on line by line.

        Args:
            engine: name of the engine, whose adapter is loaded.
            arguments: what follows ``dbt``.
            folder: where it runs.
            environment: all its variables.

        Returns:
            Its exit code; that of the server where it was killed.
        """
        asked = {"engine": engine, "arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        with self._lock:
            server = self._running()
            try:
                return self._pass_on(server, json.dumps(asked))
            except BaseException:
                # Nobody would wait for what it is doing.
                server.kill()
                raise

    def end(self) -> None:
        """End the server."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def _running(self) -> subprocess.Popen[str]:
        if self.process is None or self.process.poll() is not None:
            # A build that goes on after its worker was killed would write beside the next one.
            command = [*dies_with_its_parent(signal.SIGKILL), sys.executable, "-P", "-m", dbt_server.__name__]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
            )
        return self.process

    @staticmethod
    def _pass_on(server: subprocess.Popen[str], asked: str) -> int:
        if server.stdin is None or server.stdout is None:
            raise ValueError("the server has pipes")
        server.stdin.write(f"{asked}\n")
        server.stdin.flush()
        for line in server.stdout:
            said, ended, code = line.partition(dbt_server.END)
            if said or not ended:
                console.say(f"  {said.rstrip()}")
            if ended:
                return int(code)
        return server.wait()


@cache
def of_process(number: int) -> Dbt:
    """The server of the process ``number``: one that was forked has none of its parent's."""
    del number
    return Dbt()


def dbt() -> Dbt:
    """The server of this process."""
    return of_process(os.getpid())
