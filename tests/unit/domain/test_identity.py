"""Keys of enterprises: one form, or a clear refusal in both languages."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc as reference

from credit301.contracts.model import Text
from credit301.domain.text import Refusal
from credit301.identity import uscc
from credit301.identity.entity_key import normalise
from credit301.workspace import Entity
from tests.support.scoring import valid_uscc

CODE = valid_uscc()


@pytest.mark.parametrize(
    "text",
    [CODE, CODE.lower(), f"  {CODE}\n", f"{CODE[:6]} {CODE[6:]}", f"{CODE[:2]}-{CODE[2:]}"],
)
def test_a_code_has_one_form(text: str) -> None:
    assert uscc.validate(text) == CODE


def test_full_width_characters_are_read_as_half_width() -> None:
    wide = "".join(chr(ord(character) + 0xFEE0) for character in CODE)
    assert uscc.validate(wide) == CODE


@given(st.text(alphabet=uscc.ALPHABET, min_size=9, max_size=9))
def test_every_code_with_its_check_character_is_valid(body: str) -> None:
    code = valid_uscc("91420100" + body)
    assert uscc.validate(code) == code


@given(place=st.integers(0, 17), other=st.sampled_from(uscc.ALPHABET))
def test_no_single_wrong_character_is_overlooked(place: int, other: str) -> None:
    wrong = CODE[:place] + other + CODE[place + 1 :]
    if wrong != CODE:
        with pytest.raises(Refusal):
            uscc.validate(wrong)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CODE[:-1], "18 characters"),
        ("", "18 characters"),
        ("X" + CODE[1:], "cannot have"),
        (CODE[:-1] + "!", "cannot have"),
    ],
)
def test_the_refusal_says_what_is_wrong_in_both_languages(text: str, words: str) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        uscc.validate(text)
    assert (caught.value.code, caught.value.field) == ("invalid_uscc", "uscc")
    assert "统一社会信用代码" in caught.value.text.zh
    assert caught.value.hint_text.zh
    assert caught.value.hint_text.en


def test_a_wrong_check_character_is_named_as_such() -> None:
    wrong = CODE[:-1] + ("1" if CODE[-1] != "1" else "2")
    with pytest.raises(Refusal, match="check character"):
        uscc.validate(wrong)


@given(
    st.one_of(
        st.text(alphabet=uscc.ALPHABET, min_size=17, max_size=19),
        st.from_regex(r"[0-9]{8}[0-9A-Z]{10}", fullmatch=True),
        st.from_regex(r"\d{8}[0-9A-Z]{10}", fullmatch=True),
        st.builds(lambda body: valid_uscc("91420100" + body), st.text(uscc.ALPHABET, min_size=9, max_size=9)),
    )
)
def test_a_code_in_its_one_form_is_told_as_the_library_tells_it(text: str) -> None:
    try:
        one_form = reference.validate(text) == text
    except reference.ValidationError:
        one_form = False
    assert uscc.follows(text) is one_form


@given(st.text(max_size=40))
def test_any_text_is_either_a_code_or_refused(text: str) -> None:
    with contextlib.suppress(Refusal):
        assert len(uscc.validate(text)) == 18


def test_a_masked_code_does_not_tell_which_it_is() -> None:
    assert uscc.mask(CODE) == f"91{'*' * 14}{CODE[-2:]}"
    assert uscc.mask("E1") == "****"


ENTITY = Entity(key="enterprise_code", label=Text(zh="企业", en="enterprise"), format="text", pattern=r"^E\d+$")


def test_a_workspaces_own_pattern_is_honoured() -> None:
    assert normalise(ENTITY, " E12 ") == "E12"
    with pytest.raises(Refusal) as caught:
        normalise(ENTITY, "E12x")
    assert (caught.value.code, caught.value.field) == ("invalid_key", "enterprise_code")


def test_a_workspace_of_codes_checks_them_under_its_own_field() -> None:
    entity = Entity(key="code", label=Text(zh="企业", en="enterprise"), format="uscc")
    assert normalise(entity, CODE.lower()) == CODE
    with pytest.raises(Refusal) as caught:
        normalise(entity, "1")
    assert caught.value.field == "code"
