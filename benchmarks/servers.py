"""Servers that are measured: each a process group of its own, with its log in a folder, ended when it is done with."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.harness import BenchmarkError

START_SECONDS = 120.0
STOP_SECONDS = 15.0
Command = list[str | Path]


@contextmanager
def running(command: Command, log: Path, health: str, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run ``command`` until the block ends, which begins when GET ``health`` is answered with success.

    Args:
        command: program and arguments.
        log: file that it writes to.
        health: address.
        environment: variables besides those of this process.

    Raises:
        BenchmarkError: it ended, or did not answer within ``START_SECONDS``.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        _wait(process, log, health)
        yield
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], log: Path, health: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(health):
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(encoding="utf-8", errors="replace")[-1500:]
            raise BenchmarkError(f"{process.args!r} does not answer at {health}; it said:\n{said}")
        time.sleep(0.2)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: some servers leave their workers behind."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
