"""B10: what somebody waits for who clones the last commit: the first decision, and the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from benchmarks.city import REPOSITORY
from benchmarks.harness import BenchmarkError
from benchmarks.results import Figure
from credit301 import console

REACH = "<= 10 min to the first decision, and <= 10 min for the tests"
MINUTES = 10.0
LIMIT_SECONDS = 3600.0
# Settings and ports of its own: it disturbs nothing that runs on this machine. What the demo leaves running is stopped.
_ALONE = "source scripts/free_ports.sh; "
DEMO = ["bash", "-c", f"{_ALONE} make demo; ended=$?; date +%s.%N > decided; make down; exit $ended"]
TESTS = ["bash", "-c", f"{_ALONE} make test"]


def measure(folder: Path, repository: Path = REPOSITORY) -> list[Figure]:
    """Clone the last commit of ``repository`` into ``folder``, run its demo, then its tests.

    Raises:
        BenchmarkError: a step did not end well.
    """
    clone = folder / "clone"
    run("git clone", ["git", "clone", "--quiet", str(repository), str(clone)], folder)
    began = time.time()
    run("set-up and first decision", DEMO, clone)
    decided = float((clone / "decided").read_text(encoding="ascii"))
    tests = run("tests", TESTS, clone)
    return [
        _figure(
            "from a fresh clone: set-up and first decision, packages downloaded as this machine's cache allows",
            (decided - began) / 60,
        ),
        _figure("from a fresh clone: all tests, once set up", tests / 60),
    ]


def _figure(what: str, minutes: float) -> Figure:
    return Figure(
        id="B10",
        what=f"{what} (no peer, no floor: there is nothing to hold it against)",
        unit="min",
        ours=minutes,
        peer=None,
        floor=None,
        spread=(minutes, minutes),
        reached=minutes <= MINUTES,
    )


def run(what: str, command: list[str], folder: Path) -> float:
    """Run ``command`` in ``folder``, its output passed on; the seconds it took. Ended, it leaves no process behind.

    Raises:
        BenchmarkError: it ended with an error, or not within ``LIMIT_SECONDS``.
    """
    console.say(f"== {what}")
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    try:
        code = process.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{what} is not done after {LIMIT_SECONDS / 60:.0f} minutes.") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    if code != 0:
        raise BenchmarkError(f"{what} ended with {code}.")
    return time.monotonic() - began
