"""Texts and refusals that a person reads: always in Chinese and in English."""

from __future__ import annotations

import msgspec

from credit301.errors import Credit301Error


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text in both languages."""

    zh: str
    en: str


NOTHING = Text(zh="", en="")


class Refusal(Credit301Error):
    """A request that cannot be answered because of what it says, told so that the sender can mend it.

    Args:
        code: stable name of the problem for programs.
        message: what is wrong, in both languages.
        field: the field of the request that is wrong, if it is one.
        hint: what to do about it, in both languages.
    """

    def __init__(self, code: str, message: Text, *, field: str | None = None, hint: Text = NOTHING) -> None:
        super().__init__(message.en, hint=hint.en)
        self.code = code
        self.field = field
        self.text = message
        self.hint_text = hint
