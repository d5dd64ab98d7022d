"""What may be wrong with a signed message, told in both languages."""

from __future__ import annotations

from credit301.domain.text import NOTHING, Refusal, Text
from credit301.errors import Credit301Error


class KeyUnusable(Credit301Error):
    """A key cannot be read, or cannot do what is asked of it."""


class SignatureRefused(Refusal):
    """A message that is not to be believed; sending the same bytes again does not help.

    ``code`` is one of ``unsigned``, ``malformed``, ``incomplete``, ``unknown_key``, ``key_not_valid``,
    ``wrong_algorithm``, ``clock``, ``expired``, ``bad_signature``, ``bad_digest``, ``replayed``, ``unsealable``.
    """


class SignatureUnchecked(Credit301Error):
    """Whether a message was seen before cannot be told now. It is not accepted; sending it again later may help."""

    def __init__(self, message: Text, *, hint: Text = NOTHING) -> None:
        super().__init__(message.en, hint=hint.en)
        self.text = message
        self.hint_text = hint


def refused(code: str, zh: str, en: str, *, hint_zh: str = "", hint_en: str = "") -> SignatureRefused:
    """A refusal with ``code`` and its two texts."""
    return SignatureRefused(code, Text(zh=zh, en=en), hint=Text(zh=hint_zh, en=hint_en))
