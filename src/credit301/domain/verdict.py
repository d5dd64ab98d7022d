"""What a strategy says on one request, and which rules said it."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec

from credit301.domain.text import Text

Scalar = float | int | str | bool | None
Stage = Literal["admission", "fraud", "policy"]
Missing = Literal["store", "model", "source", "windows"]

ABOVE_CUT_OFF, BY_LOT = "probability_above_cut_off", "accept_lane"
VALUE_UNKNOWN, BELOW_MINIMUM = "value_unknown", "limit_below_minimum"


class Outcome(StrEnum):
    """What is decided; ``refer`` hands it to a person, which only a strategy that says so by name does."""

    APPROVE = "approve"
    DECLINE = "decline"
    REFER = "refer"


class RuleResult(msgspec.Struct, frozen=True, gc=False):
    """What a row of a strategy's table, or one of its expressions, read and said.

    ``hit`` is ``None`` where a value that it asks for is not known; of ``said``, numbers are exact decimal text. In a
    ``read`` stands ``None`` for what is not known. ``text`` is the meaning of the code that was said, if one was.
    """

    stage: Stage
    table: str
    id: str
    read: dict[str, Scalar]
    hit: bool | None
    said: dict[str, Scalar] = {}
    text: Text | None = None


class Cause(msgspec.Struct, frozen=True, gc=False):
    """Why a strategy declined or referred, or lends less than was asked for."""

    code: str
    text: Text


class FallbackTaken(msgspec.Struct, frozen=True):
    """What was missing (of a source its name, of others what was wrong with it), and what the strategy did for it.

    ``capped``: it was decided all the same, up to a smaller amount; ``rules_only``: also without a score.
    """

    missing: Missing
    what: str
    action: Literal["decline", "refer", "capped", "rules_only"]


class Verdict(msgspec.Struct, frozen=True):
    """The answer of a strategy. ``limit`` (yuan), ``annual_rate`` and ``band`` are ``None`` unless it approves."""

    outcome: Outcome
    band: str | None
    limit: Decimal | None
    annual_rate: Decimal | None
    causes: tuple[Cause, ...]
    rules: tuple[RuleResult, ...]
