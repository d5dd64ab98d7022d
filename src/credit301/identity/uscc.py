"""The unified social credit code (GB 32100-2015), checked with its check character."""

from __future__ import annotations

import unicodedata
from operator import mul

from stdnum.cn import uscc as standard
from stdnum.exceptions import InvalidChecksum, InvalidLength, ValidationError

from credit301.domain.text import Refusal, Text

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
WEIGHTS = tuple(pow(3, position, 31) for position in range(17))
"""Of the characters before the check character, which brings their sum to a multiple of 31."""

_LENGTH, _DIGITS = 18, 8
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_ALL_WEIGHTS = (*WEIGHTS, 1)
_HINT = Text(
    zh="请核对营业执照上的18位统一社会信用代码。",
    en="Compare it with the 18-character code on the business licence.",
)

_SHOWN = 2


def validate(text: str, *, field: str = "uscc") -> str:
    """``text`` in its one form: 18 half-width characters, upper case, without separators.

    Raises:
        Refusal: it is no code, and why: length, characters, or check character.
    """
    if follows(text):
        return text
    try:
        return str(standard.validate(unicodedata.normalize("NFKC", text)))
    except InvalidLength:
        problem = Text(zh="统一社会信用代码须为18位。", en="A unified social credit code has 18 characters.")
    except InvalidChecksum:
        problem = Text(
            zh="统一社会信用代码的校验码不正确，请检查是否有误写。",
            en="The check character of the unified social credit code does not fit: a character is wrong.",
        )
    except ValidationError:
        problem = Text(
            zh="统一社会信用代码含有不允许的字符（前8位为数字，不使用 I、O、S、V、Z）。",
            en="The unified social credit code has characters it cannot have (8 digits first; never I, O, S, V, Z).",
        )
    raise Refusal("invalid_uscc", problem, field=field, hint=_HINT)


def follows(text: str) -> bool:
    """Whether ``text`` is a code in its one form; the library, which says why not, takes several times as long."""
    if len(text) != _LENGTH or not text[:_DIGITS].isdecimal():
        return False
    try:
        total: int = sum(map(mul, _ALL_WEIGHTS, map(_VALUES.__getitem__, text)))
    except KeyError:
        return False
    return total % len(ALPHABET) == 0


def mask(text: str) -> str:
    """``text`` with only its first and last two characters, for logs."""
    return (
        f"{text[:_SHOWN]}{'*' * max(len(text) - 2 * _SHOWN, 4)}{text[-_SHOWN:]}" if len(text) > 2 * _SHOWN else "****"
    )
