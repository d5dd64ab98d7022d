"""A program that is started must not outlive what started it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest

from credit301.processes import dies_with_its_parent

PARENT = """
import subprocess, sys
from credit301.processes import dies_with_its_parent
import signal
child = subprocess.Popen([*dies_with_its_parent(signal.SIGKILL), sys.executable, "-c",
    "import sys; print('up', flush=True); sys.stdin.readline()"])
child.wait()
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv here: a child outlives its killed parent")
def test_the_child_of_a_killed_parent_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.send_signal(signal.SIGKILL)
        # The pipe ends only when the last process that holds it has ended, and standard input stays open.
        assert parent.stdout.read() == b""


def test_without_the_means_the_command_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert dies_with_its_parent() == ()
