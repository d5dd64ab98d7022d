"""Which figures are measured, and when one counts as reached."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from benchmarks.__main__ import LATER, chosen
from benchmarks.b2_http import MANY, ONE, PACED, beyond, figure, reached
from benchmarks.load import Answered
from tests.conftest import REPOSITORY


def test_without_a_choice_everything_but_the_fresh_clone_is_measured() -> None:
    assert chosen("") == ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9")


def test_a_choice_is_kept_in_its_order_once_each() -> None:
    assert chosen("b2, B1,B2") == ("B2", "B1")


@pytest.mark.parametrize("only", ["B11", "B1,C2", "B1;B2"])
def test_an_unknown_figure_is_an_error_that_names_the_known_ones(only: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"B1, B2, .*B10"):
        chosen(only)


def test_a_figure_of_later_is_told_not_to_be_measured_and_leaves_the_file_alone() -> None:
    kept = (REPOSITORY / "benchmarks/results/latest.json").read_bytes()
    command = [sys.executable, "-m", "benchmarks", "--only", ",".join(LATER)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120)
    assert [line.split()[0] for line in ended.stderr.splitlines() if "not measured yet" in line] == list(LATER)
    assert (REPOSITORY / "benchmarks/results/latest.json").read_bytes() == kept


def test_the_absolute_rate_is_asked_of_many_clients_alone() -> None:
    assert reached(ONE, "rate", 900.0, 20.0)
    assert not reached(MANY, "rate", 900.0, 20.0)
    assert not reached(MANY, "rate", 1100.0, 200.0)
    assert reached(MANY, "rate", 1100.0, 20.0)


def test_a_figure_without_a_peer_says_so() -> None:
    answers = [Answered(rate=1000.0, p50=2.0, p99=3.0), Answered(rate=1000.0, p50=2.0, p99=12.0)]
    found = {(PACED, "ours"): [*answers, answers[0]], (PACED, "floor"): answers}
    made = figure(PACED, "p99", found)
    assert (made.ours, made.peer, made.spread, made.reached) == (3.0, None, (3.0, 12.0), True)
    assert "no peer" in made.what


def test_under_too_much_load_half_of_the_capacity_is_asked_for_and_nearly_all_of_it_after() -> None:
    assert beyond(1000.0, [400.0, 510.0, 600.0], after=False).reached
    assert not beyond(1000.0, [490.0], after=False).reached
    assert not beyond(1000.0, [510.0], after=True).reached
    assert beyond(1000.0, [910.0], after=True).reached
