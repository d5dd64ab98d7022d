"""Draws by lot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from credit301.domain.draw import draw

KEY = b"key of the test"


@given(some.binary(min_size=1), some.text(), some.text())
def test_a_lot_is_the_same_whenever_it_is_drawn_and_lies_in_its_range(key: bytes, purpose: str, who: str) -> None:
    assert 0 <= draw(key, purpose, who) == draw(key, purpose, who) < 1


def test_of_many_the_share_is_drawn() -> None:
    lots = [draw(KEY, "lane", f"E{number}") for number in range(20_000)]
    assert abs(sum(lot < 0.02 for lot in lots) / len(lots) - 0.02) < 0.003
    assert abs(sum(lots) / len(lots) - 0.5) < 0.01


def test_another_purpose_or_key_draws_anew() -> None:
    one, other, third = (
        {number for number in range(2_000) if draw(key, purpose, f"E{number}") < 0.1}
        for key, purpose in ((KEY, "lane 1"), (KEY, "lane 2"), (b"another key", "lane 1"))
    )
    assert len(one & other) < len(one) / 3
    assert len(one & third) < len(one) / 3
