"""What is kept of a decision, so that it can be made again from it.

The record is attached to the decision's entry in the audit trail, whose chain vouches for it. It names whom it is about
by the keyed hash alone. The bundle that decided is kept under its digest (:mod:`credit301.evidence.archive`), so that
the record needs to hold only what was read and what was said.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from credit301.domain.decision import Decision
from credit301.domain.verdict import Scalar
from credit301.errors import AuditError

FORMAT: Literal[1] = 1


class LotDrawn(msgspec.Struct, frozen=True):
    """What the accept lane did: the ``probability`` of being drawn, the most yuan that it lends, what came of it."""

    probability: float
    most: Decimal
    drawn: bool
    granted: bool


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One decision and all that it was made from.

    ``decision`` is the answer, with the keyed hash in the place of the enterprise's key. ``values`` are the features in
    the order of the bundle's plan, as they were read at ``decision.features_as_of`` by ``decision.consents``.
    ``release`` is the platform's version that decided, ``bundle`` the SHA-256 of the manifest of the model,
    ``strategy`` that of the strategy.
    """

    format: Literal[1] = FORMAT
    release: str
    bundle: str
    strategy: str
    caller: str
    application: str
    values: tuple[Scalar, ...]
    lot: LotDrawn | None = None
    decision: Decision


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Evidence)


def encode(evidence: Evidence) -> bytes:
    """The record as it is kept."""
    return _encoder.encode(evidence)


def decode(data: bytes) -> Evidence:
    """The record in ``data``.

    Raises:
        AuditError: it is of another format than this release reads.
    """
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise AuditError(
            f"The evidence cannot be read by this release: {error}.",
            hint="Replay it with the release that decided; the audit trail names its model.",
        ) from error
