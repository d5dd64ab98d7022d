"""What is kept of an application, and of the messages that it causes."""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from credit301.applications.states import Actor, Event, Mode, State

DRAFT_LASTS = timedelta(days=30)
OFFER_LASTS = timedelta(days=14)
KEY_LASTS = timedelta(days=7)
CLAIM_LASTS = timedelta(seconds=15)
"""How long one process may take over a decision before another may take it over; no stage waits longer."""


class Kind(StrEnum):
    """Kinds of messages."""

    APPLICATION_PACKAGE = "application_package"
    DISBURSEMENT_INSTRUCTION = "disbursement_instruction"
    ACCEPTANCE = "acceptance"
    WITHDRAWAL = "withdrawal"


class LoanPurpose(StrEnum):
    """What the money is for."""

    WORKING_CAPITAL = "working_capital"
    INVENTORY = "inventory"
    EQUIPMENT = "equipment"
    PAYROLL = "payroll"
    PREMISES = "premises"
    OTHER = "other"


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What the applicant says: yuan, months, the product and the purpose."""

    amount: Decimal
    term_months: int
    product: str
    purpose: LoanPurpose


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One application as it stands. ``version`` grows with every change: whoever writes names the one that it read.

    ``entity`` is the enterprise's key, ``named`` its keyed hash. Of persons there are keyed hashes only. ``decision``
    is the answer as it was given; ``decision_id`` is reserved before it is made.
    """

    id: UUID
    tenant: str
    entity: str
    named: str
    mode: Mode
    details: Details
    state: State
    version: int
    consent_id: str | None
    phone_verified_at: datetime | None
    face_verified_at: datetime | None
    decision_id: UUID | None
    claimed_until: datetime | None
    decision: dict[str, Any] | None
    limit: Decimal | None
    annual_rate: Decimal | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime

    @property
    def identity_verified(self) -> bool:
        """Whether both the telephone and the face were verified."""
        return self.phone_verified_at is not None and self.face_verified_at is not None


class Step(msgspec.Struct, frozen=True):
    """One line of an application's history."""

    event: Event
    from_state: State | None
    to_state: State
    actor: Actor
    by: str
    at: datetime
    detail: dict[str, Any]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a change of state caused; a receiver applies each ``id`` once, however often it comes."""

    id: UUID
    application: UUID
    tenant: str
    kind: Kind
    payload: dict[str, Any]
    created_at: datetime
    attempts: int = 0


def new_id(now_ms: int | None = None) -> UUID:
    """A UUID of version 7 (RFC 9562): 48 bits of time, so that new rows lie beside one another, and 74 drawn by lot."""
    moment = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    drawn = secrets.randbits(74)
    return UUID(int=moment << 80 | 0x7 << 76 | (drawn >> 62) << 64 | 0b10 << 62 | drawn & (1 << 62) - 1)
