"""The command line: every verb is a command, and a command loads no more than it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from credit301 import verbs
from credit301.cli import build_app


def said(*arguments: str) -> str:
    """What the command line prints for ``arguments``."""
    return CliRunner().invoke(build_app(arguments), list(arguments), env={"COLUMNS": "200"}).output


def test_the_help_lists_every_verb_and_group() -> None:
    listed = said("--help")
    for name in verbs.names():
        assert f" {name.partition('.')[0].replace('_', '-')} " in listed


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        (["--help", "train"], ["--workspace", "simulate", "train"]),
        (["contracts", "--help"], ["check", "release"]),
        (["contracts", "check", "--help"], ["Usage: credit301 contracts check"]),
        (["decide-all", "--help"], ["Usage: credit301 decide-all"]),
        (["-w", "train", "features", "parity", "--help"], ["Usage: credit301 features parity"]),
        (["trian"], ["No such command 'trian'", "'train'"]),
    ],
)
def test_a_command_and_its_help_are_found_wherever_its_words_stand(arguments: list[str], known: list[str]) -> None:
    output = said(*arguments).replace("root", "credit301")
    for part in known:
        assert part in output


def test_a_command_does_not_load_the_others() -> None:
    code = (
        "import sys; from credit301.cli import build_app; build_app(['-w', 'city', 'consent', 'show']);"
        "print(sorted({'sqlalchemy', 'credit301.stack.lifecycle', 'training.verbs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
