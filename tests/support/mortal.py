"""Servers that a test kills: each a process group of its own, which ends without warning and is started again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from tests.support.servers import until

START_SECONDS = 180.0


class Mortal:
    """A server that may be killed at any moment.

    Args:
        name: what it is called in messages; its log is ``<name>.log``.
        command: program and arguments.
        answers: whether it can be used.
        folder: where its log is.
        environment: all its variables.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        answers: Callable[[], bool],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = [str(part) for part in command]
        self._answers = answers
        self._log = folder / f"{name}.log"
        self._environment = dict(os.environ if environment is None else environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers; one that ends at once is started again, as a supervisor does.

        PostgreSQL does as long as processes of the server before hold its shared memory.
        """
        self._spawn()
        until(self._is_up, f"{self.name} (its log: {self._log})", START_SECONDS)

    def _is_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._spawn()
        return self._answers()

    def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment,
                start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """End it with all its processes at once, as the machine's power would."""
        self._end(signal.SIGKILL)

    def send(self, sent: signal.Signals) -> None:
        """Send a signal to the process that was started, and to no other of its group."""
        if self._process is not None:
            self._process.send_signal(sent)

    def stop(self) -> None:
        """Have it end by itself."""
        self._end(signal.SIGTERM)

    def _end(self, sent: signal.Signals) -> None:
        if self._process is None:
            return
        for number in (sent, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(20)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._process = None


def answering(address: str) -> Callable[[], bool]:
    """Whether GET ``address`` is answered with success."""

    # One client: it takes longer to make than to ask, and the server that starts needs the processor.
    client = httpx.Client(timeout=10.0, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    def asked() -> bool:
        try:
            return client.get(address).is_success
        except httpx.TransportError:
            return False

    return asked
