"""What becomes of a value that not everybody may see: shown, masked, hashed, or left out.

A contract says how sensitive a column is; a role says what each class becomes for it. Both are data. What is masked
keeps its form, so that a person still recognises it: 13812345678 becomes 138****5678, 张三 becomes 张*.
"""

from __future__ import annotations

import logging
import re
from enum import StrEnum

from credit301.contracts.model import Classification

_MOBILE = r"1[3-9]\d{9}"
_IDENTITY = r"[1-9]\d{5}(?:18|19|20)\d{9}[\dXx]"
_USCC = r"[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXY]{10}"
_CARD = r"\d{13,19}"
_EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_BEFORE, _AFTER = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"
_ANY = re.compile(rf"{_EMAIL}|{_BEFORE}(?:{_IDENTITY}|{_USCC}|{_CARD}|{_MOBILE}){_AFTER}")
_NAME = re.compile(r"[\u3400-\u9fff·]{2,}")
_SHORT_NAME = 4
_FEW = 4


class Treatment(StrEnum):
    """What becomes of a value."""

    CLEAR = "clear"
    MASK = "mask"
    HASH = "hash"
    OMIT = "omit"


# What nobody may see who has no role: pages, logs and messages.
PUBLIC_TREATMENTS = {
    Classification.PUBLIC: Treatment.CLEAR,
    Classification.INTERNAL: Treatment.CLEAR,
    Classification.CONFIDENTIAL: Treatment.OMIT,
    Classification.PERSONAL: Treatment.OMIT,
}


def mask(text: str) -> str:
    """``text`` so that its form can still be seen, and nothing else.

    A mobile number keeps three digits and four, an identity number the place of birth, a code, card or other word its
    two first and two last characters, a person's name the surname. Up to four other characters keep nothing.
    """
    if re.fullmatch(_MOBILE, text):
        return f"{text[:3]}****{text[-4:]}"
    if re.fullmatch(_IDENTITY, text):
        return f"{text[:6]}{'*' * (len(text) - 6)}"
    if _NAME.fullmatch(text):
        # A person's name has two to four characters; of a longer one, a firm's, the two first are its place.
        shown = 1 if len(text) <= _SHORT_NAME else 2
        return f"{text[:shown]}{'*' * (len(text) - shown)}"
    if "@" in text:
        return f"{text[:1]}***@{text.rpartition('@')[2]}"
    if len(text) <= _FEW:
        return "*" * _FEW
    return f"{text[:2]}{'*' * max(len(text) - 4, _FEW)}{text[-2:]}"


def scrub(text: str) -> str:
    """``text`` with every number of a person, card or enterprise in it masked: for logs and free text."""
    return _ANY.sub(lambda found: mask(found.group()), text)


class ScrubbingFilter(logging.Filter):
    """Masks what a log line says of persons and enterprises, whoever wrote it, its arguments and trace included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place; it is always kept."""
        record.msg = scrub(record.getMessage())
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = scrub(logging.Formatter().formatException(record.exc_info))
        return True
