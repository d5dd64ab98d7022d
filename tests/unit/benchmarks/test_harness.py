"""The statistics of the benchmarks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness import Measured, Round, calling, percentile, time_in_turn

VALUES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=300)


@given(VALUES, st.integers(0, 10_000))
def test_a_percentile_is_the_smallest_value_that_its_share_does_not_exceed(values: list[float], basis: int) -> None:
    found = percentile(values, basis / 10_000)
    needed = max(1, math.ceil(len(values) * basis / 10_000))
    assert found in values
    assert sum(value <= found for value in values) >= needed
    assert sum(value < found for value in values) < needed


def test_the_99th_percentile_of_a_hundred_values_is_the_second_greatest() -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], 0.99) == 99.0


def test_the_median_of_two_values_is_the_lower_one() -> None:
    assert percentile([2.0, 1.0], 0.5) == 1.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_a_percentile_of_nothing_or_of_no_share_is_an_error(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile needs"):
        percentile(values, share)


def test_rounds_are_summed_up_by_their_median_least_and_most() -> None:
    assert Measured.of([5.0, 1.0, 2.0]) == Measured(median=2.0, least=1.0, most=5.0)


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    made: list[tuple[str, int, int]] = []

    def contender(name: str, first_is_slow: bool = False) -> Round:
        def make(first: int, count: int) -> list[float]:
            made.append((name, first, count))
            return [1000.0 if first_is_slow and first == 0 else float(first)] * count

        return make

    taken = time_in_turn({"ours": (contender("ours", first_is_slow=True), 2), "peer": (contender("peer"), 1)}, 2)
    assert made == [("ours", 0, 2), ("peer", 0, 1), ("ours", 2, 2), ("peer", 1, 1), ("ours", 4, 2), ("peer", 2, 1)]
    assert taken["ours"][0.5] == Measured(median=3.0, least=2.0, most=4.0)


def test_a_round_of_calls_numbers_them_on_from_the_first() -> None:
    seen: list[int] = []
    taken = calling(seen.append)(7, 3)
    assert seen == [7, 8, 9]
    assert len(taken) == 3
    assert min(taken) >= 0
