"""Exact money, and points that double as told."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301.domain import money, scale

amounts = st.decimals(min_value=0, max_value=10**9, places=2)
steps = st.sampled_from([Decimal(1), Decimal(1000), Decimal("0.01"), Decimal("0.0005")])


@given(amount=amounts, step=steps)
def test_flooring_gives_the_nearest_multiple_below(amount: Decimal, step: Decimal) -> None:
    low = money.floor_to(amount, step)
    assert low <= amount < low + step
    assert low % step == 0


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_becomes_the_decimal_that_reads_back_as_it(value: float) -> None:
    assert float(money.exact(value)) == value


@pytest.mark.parametrize(
    ("amount", "text"), [("1234567.50", "1,234,567.50"), ("200000.00", "200,000"), ("0.05", "0.05")]
)
def test_yuan_are_written_with_separators(amount: str, text: str) -> None:
    assert money.yuan(Decimal(amount)) == text


def test_a_rate_is_written_as_percent() -> None:
    assert money.percent(Decimal("0.0435")) == "4.35%"


def test_the_base_score_is_given_at_the_base_odds() -> None:
    assert scale.points(-math.log(20)) == 600


def test_twice_the_odds_are_forty_points_more() -> None:
    assert scale.points(-math.log(40)) == 640
    assert scale.points(-math.log(10)) == 560


@given(low=st.floats(-30, 30), high=st.floats(-30, 30))
def test_more_risk_never_has_more_points(low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert scale.points(low) >= scale.points(high)
    assert scale.probability(low) <= scale.probability(high)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_probability_is_between_nought_and_one(log_odds: float) -> None:
    assert 0 <= scale.probability(log_odds) <= 1
