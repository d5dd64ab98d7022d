"""What a record of the audit trail says."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Event(StrEnum):
    """What happened."""

    READ = "read"
    REFUSED = "refused"
    NOTHING = "nothing"
    FAILED = "failed"
    CONSENT_GRANTED = "consent_granted"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    EXPORTED = "exported"
    ERASED = "erased"
    EXPIRED = "expired"
    DECIDED = "decided"
    SHADOWED = "shadowed"
    STRATEGY_SHADOWED = "strategy_shadowed"
    REVIEWED = "reviewed"


class Attachment(msgspec.Struct, frozen=True):
    """Where the bytes that belong to a record are in its writer's file, and their SHA-256 in hex."""

    offset: int
    length: int
    sha256: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One act. ``entity`` is the keyed hash of whom it is about, ``application`` the request that it was done for.

    ``sources`` are those that were read, ``detail`` what else there is to say, such as why a source was withheld;
    ``attached`` is the evidence of a decision (:mod:`credit301.governance.audit.attached`).
    """

    event: Event
    who: str
    entity: str = ""
    application: str = ""
    decision: str = ""
    purpose: str = ""
    sources: tuple[str, ...] = ()
    consents: tuple[str, ...] = ()
    detail: dict[str, str | int | float] = {}
    attached: Attachment | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in its place: the ``number``-th of its ``writer``, after the record whose hash is ``previous``."""

    writer: str
    number: int
    at: str
    previous: str
    entry: Entry
