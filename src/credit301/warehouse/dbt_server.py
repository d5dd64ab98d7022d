"""dbt in a process that has loaded it: each command runs in a fork of it, so that only the first waits for the import.

Reads a command a line, as JSON, passes on what the command prints, and then says its exit code.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

END = "\0"
"""What stands before a command's exit code, and in nothing that it prints."""

DESCRIBED = (
    "dbt.artifacts.resources.v1.config.NodeConfig",
    "dbt.artifacts.resources.v1.config.TestConfig",
    "dbt.artifacts.resources.v1.model.ModelConfig",
    "dbt.artifacts.resources.v1.source_definition.SourceConfig",
    "dbt.contracts.graph.nodes.GenericTestNode",
    "dbt.contracts.graph.nodes.HookNode",
    "dbt.contracts.graph.nodes.ModelNode",
    "dbt.contracts.graph.unparsed.UnparsedModelUpdate",
    "dbt.contracts.graph.unparsed.UnparsedSourceDefinition",
    "dbt.contracts.graph.unparsed.UnparsedUnitTest",
    "dbt.contracts.project.Configuration",
    "dbt.contracts.project.Project",
    "dbt.contracts.project.ProjectFlags",
)
"""Classes of dbt that hold what it reads against a JSON schema. A process makes the schemas when it first needs them,
in a quarter of the time that a command takes on a small project; made here, the commands find them."""


def main() -> None:
    """Run the commands until there are no more."""
    # An interrupt is for the command, which ends in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # By its console script: the core does not depend on dbt.
    (entry,) = entry_points(group="console_scripts", name="dbt")
    dbt = entry.load()
    _make_schemas()
    for line in sys.stdin:
        asked = json.loads(line)
        with contextlib.suppress(ImportError):
            import_module(f"dbt.adapters.{asked['engine']}")
        server = os.getpid()
        child = os.fork()
        if child == 0:
            _run(dbt, asked, server)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{END}{code}\n")
        sys.stdout.flush()


def _make_schemas() -> None:
    for name in DESCRIBED:
        module, _, described = name.rpartition(".")
        # Another version of dbt may have other classes: its commands make then what is missing.
        with contextlib.suppress(ImportError, AttributeError):
            getattr(import_module(module), described).json_schema()


def _run(dbt: Callable[[list[str]], Any], asked: dict[str, Any], server: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform == "linux":
        die_with_parent = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(die_with_parent, signal.SIGKILL)
    if os.getppid() != server:
        sys.exit(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["dbt", *asked["arguments"]]
    dbt(asked["arguments"])
    sys.exit(0)


if __name__ == "__main__":
    main()
