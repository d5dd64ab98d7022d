"""The key of whom a workspace decides on: a unified social credit code, or a text of the workspace's own form."""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

from credit301.domain.text import Refusal, Text
from credit301.identity import uscc


class KeyForm(Protocol):
    """What a workspace says about its entity's key."""

    @property
    def key(self) -> str:
        """Name of the field."""

    @property
    def format(self) -> str:
        """``uscc`` or ``text``."""

    @property
    def pattern(self) -> str:
        """Regular expression that a text key matches as a whole."""


def normalise(form: KeyForm, text: str) -> str:
    """``text`` in the one form that the store knows it by.

    Raises:
        Refusal: it cannot be a key of this workspace.
    """
    if form.format == "uscc":
        return uscc.validate(text, field=form.key)
    value = unicodedata.normalize("NFKC", text).strip()
    if re.fullmatch(form.pattern, value) is None:
        raise Refusal(
            "invalid_key",
            Text(zh=f"{form.key} 的格式不正确。", en=f"{form.key} does not have the form of a key of this workspace."),
            field=form.key,
            hint=Text(zh=f"须匹配 {form.pattern}。", en=f"It must match {form.pattern}."),
        )
    return value
