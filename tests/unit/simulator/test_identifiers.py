"""Codes that enterprises carry: credit codes, industries, districts, size classes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc as standard

from simulator.city import City
from simulator.codes import districts, industries
from simulator.sizes import RULES, size_class
from simulator.uscc import credit_codes


@given(st.lists(st.integers(0, 31**6 - 1), min_size=1, max_size=50, unique=True), st.booleans())
def test_credit_codes_are_valid_and_all_different(serials: list[int], individual: bool) -> None:
    count = len(serials)
    codes = credit_codes(np.array(serials), np.full(count, "420106"), np.full(count, individual))
    assert all(standard.is_valid(str(code)) for code in codes)
    assert len(set(codes.tolist())) == count
    assert {str(code)[:8] for code in codes} == {"92420106" if individual else "91420106"}


def test_the_organisation_code_within_has_its_own_check_character() -> None:
    # GB 11714: letters count on from 10, weights as published, 10 is written X.
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    for code in credit_codes(np.arange(500), np.full(500, "420102"), np.zeros(500, dtype=bool)).tolist():
        total = sum(int(character, 36) * weight for character, weight in zip(code[8:16], weights, strict=True))
        assert code[16] == "0123456789X"[(11 - total % 11) % 11]


def test_every_enterprise_of_a_city_has_a_valid_code(city: City) -> None:
    codes = set(city.sources["business_registration"]["uscc"].to_pylist())
    assert len(codes) == city.config.enterprises
    assert all(standard.is_valid(code) for code in codes)


def test_industries_and_districts_have_the_national_form() -> None:
    assert all(re.fullmatch(r"[A-T]\d{4}", code) for code in industries().code.tolist())
    assert all(re.fullmatch(r"4201(0[2-7]|1[1-7])", code) for code in districts().code.tolist())
    assert len(districts().code) == 13
    assert set(industries().size_rule.tolist()) <= set(RULES)


@pytest.mark.parametrize(
    ("rule", "headcount", "revenue", "assets", "expected"),
    [
        ("industry", 19, 5000, 0, "micro"),
        ("industry", 20, 300, 0, "small"),
        ("industry", 300, 1999, 0, "small"),
        ("industry", 300, 2000, 0, "medium"),
        ("industry", 1000, 40_000, 0, "large"),
        ("industry", 999, 90_000, 0, "medium"),
        ("wholesale", 5, 1000, 0, "small"),
        ("wholesale", 4, 90_000, 0, "micro"),
        ("retail", 50, 500, 0, "medium"),
        ("catering", 9, 3000, 0, "micro"),
        ("construction", 0, 6000, 4999, "small"),
        ("construction", 0, 6000, 5000, "medium"),
        ("software", 100, 1000, 0, "medium"),
        ("leasing_business", 150, 0, 7999, "small"),
        ("other", 99, 0, 0, "small"),
        ("other", 300, 0, 0, "large"),
    ],
)
def test_the_size_class_follows_the_ministrys_rule(
    rule: str, headcount: int, revenue: float, assets: float, expected: str
) -> None:
    given_ = (np.array([rule]), np.array([headcount]), np.array([float(revenue)]), np.array([float(assets)]))
    assert size_class(*given_).tolist() == [expected]


@given(st.sampled_from(sorted(RULES)), st.integers(0, 3000), st.floats(0, 3e5), st.floats(0, 3e5), st.integers(1, 2000))
def test_more_staff_never_makes_an_enterprise_smaller(
    rule: str, headcount: int, revenue: float, assets: float, more: int
) -> None:
    order = ["micro", "small", "medium", "large"]
    both = size_class(
        np.array([rule, rule]), np.array([headcount, headcount + more]), np.full(2, revenue), np.full(2, assets)
    )
    assert order.index(both[0]) <= order.index(both[1])
