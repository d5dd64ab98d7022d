"""The newcomer's path, on a repository whose targets take no time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import b10_newcomer
from benchmarks.harness import BenchmarkError


def repository(folder: Path, makefile: str) -> Path:
    """A repository with ``makefile`` and the ports' script of the real one."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "free_ports.sh").write_text("true\n", encoding="utf-8")
    (folder / "Makefile").write_text(makefile, encoding="utf-8")
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "t"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)  # noqa: S607
    return folder


def test_both_durations_are_of_a_clone_and_what_the_demo_started_is_stopped(tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin", "demo:\n\ttouch up\ndown:\n\trm up\ntest:\n\ttest ! -e up\n")
    (tmp_path / "work").mkdir()
    first, tests = b10_newcomer.measure(tmp_path / "work", origin)
    assert (first.id, tests.id) == ("B10", "B10")
    assert first.reached
    assert tests.reached
    assert not (origin / "decided").exists()


def test_a_demo_that_fails_is_no_figure_and_is_stopped_all_the_same(tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin", "demo:\n\ttouch up; exit 3\ndown:\n\trm up\ntest:\n\ttrue\n")
    (tmp_path / "work").mkdir()
    with pytest.raises(BenchmarkError, match="first decision ended with"):
        b10_newcomer.measure(tmp_path / "work", origin)
    assert not (tmp_path / "work" / "clone" / "up").exists()
