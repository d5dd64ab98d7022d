"""What may not be seen is not there, in whatever form it is written; what is masked keeps its form."""

from __future__ import annotations

import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301.governance.masking import ScrubbingFilter, mask, scrub
from credit301.identity.keyed_hash import LENGTH, KeyedHash

MOBILES = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
IDENTITIES = st.from_regex(r"[1-9][0-9]{5}(19|20)[0-9]{9}[0-9X]", fullmatch=True)
AROUND = st.text(alphabet=" ,.;:()中文\n", max_size=8)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("13812345678", "138****5678"),
        ("张三", "张*"),
        ("欧阳建国", "欧***"),
        ("420106199001011234", "420106************"),
        ("lin@example.com", "l***@example.com"),
        ("abc", "****"),
        ("", "****"),
        ("91420100MA4K000000", "91**************00"),
    ],
)
def test_the_form_can_still_be_seen(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(st.text(min_size=1, max_size=40))
def test_a_masked_value_is_never_the_value_and_shows_at_most_seven_characters_or_a_domain(text: str) -> None:
    masked = mask(text)
    assert masked != text or set(text) == {"*"}
    assert "*" in masked
    if "@" not in text:
        assert len(masked.replace("*", "")) <= 7


@given(MOBILES | IDENTITIES, AROUND, AROUND)
def test_no_number_of_a_person_is_left_in_free_text(number: str, before: str, after: str) -> None:
    assert number not in scrub(f"{before}{number}{after}")


@given(st.text(alphabet="中文 abc,.\n", max_size=60))
def test_a_text_without_such_numbers_is_left_as_it_is(text: str) -> None:
    assert scrub(text) == text


def test_amounts_and_times_are_no_numbers_of_persons() -> None:
    text = "200000.00 yuan at 2026-01-02T03:04:05, 301 us"
    assert scrub(text) == text


def test_a_log_line_its_arguments_and_its_trace_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("test.masking")
    log.addFilter(ScrubbingFilter())
    try:
        int("420106199001011234 of somebody")
    except ValueError:
        log.exception("%s asked for %s", "13812345678", "91420100MA4K000000")
    assert "138****5678 asked for 91**************00" in caplog.text
    assert not re.search(r"13812345678|420106199001011234|MA4K", caplog.text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_keyed_hash_is_the_same_for_the_same_text_and_key_only(one: str, other: str) -> None:
    hashed = KeyedHash("key")
    assert re.fullmatch(rf"[0-9a-f]{{{LENGTH}}}", hashed(one))
    assert (hashed(one) == hashed(other)) == (one == other)
    assert KeyedHash("another key")(one) != hashed(one)
