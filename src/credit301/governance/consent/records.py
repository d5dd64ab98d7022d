"""Consent records, as they are kept for ever, and what they amount to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was recorded: a grant, or the withdrawal of one. Records are added, never changed or removed.

    ``entity`` is the keyed hash of the enterprise's key. ``note`` names the evidence of a grant (such as the number of
    the signed form) or the reason of a withdrawal. Times are instants.
    """

    kind: Literal["grant", "withdrawal"]
    consent_id: str
    entity: str
    grantee: str
    sources: tuple[str, ...]
    purposes: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime
    recorded_at: datetime
    recorded_by: str
    note: str = ""


class Status(StrEnum):
    """Where a consent stands now."""

    VALID = "valid"
    NOT_YET = "not_yet"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """授权 / one consent, with its withdrawal if there was one."""

    consent_id: Annotated[str, Meta(description="授权编号 / identifies this consent")]
    grantee: Annotated[str, Meta(description="被授权方 / who may read")]
    sources: Annotated[tuple[str, ...], Meta(description="可查询的数据源 / sources that may be read")]
    purposes: Annotated[tuple[str, ...], Meta(description="用途 / what for")]
    valid_from: Annotated[datetime, Meta(description="生效时间 / from when")]
    valid_until: Annotated[datetime, Meta(description="失效时间 / until when")]
    granted_at: Annotated[datetime, Meta(description="登记时间 / when it was recorded")]
    withdrawn_at: Annotated[datetime | None, Meta(description="撤回时间，未撤回为空 / when withdrawn; null if not")]
    note: Annotated[str, Meta(description="授权凭证 / what proves it")]

    def status_at(self, now: datetime) -> Status:
        """Where it stands at ``now``."""
        if self.withdrawn_at is not None:
            return Status.WITHDRAWN
        if now < self.valid_from:
            return Status.NOT_YET
        return Status.VALID if now < self.valid_until else Status.EXPIRED


def consents(records: Iterable[Record]) -> list[Consent]:
    """The consents that ``records`` of one enterprise amount to, in the order in which they were granted."""
    found: dict[str, Consent] = {}
    for record in records:
        if record.kind == "grant":
            found[record.consent_id] = Consent(
                consent_id=record.consent_id,
                grantee=record.grantee,
                sources=record.sources,
                purposes=record.purposes,
                valid_from=record.valid_from,
                valid_until=record.valid_until,
                granted_at=record.recorded_at,
                withdrawn_at=None,
                note=record.note,
            )
        elif record.consent_id in found and found[record.consent_id].withdrawn_at is None:
            withdrawn = msgspec.structs.replace(found[record.consent_id], withdrawn_at=record.recorded_at)
            found[record.consent_id] = withdrawn
    return list(found.values())


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """A consent that is not withdrawn, as the online store keeps it; times in microseconds since 1970 (UTC)."""

    consent_id: str
    grantee: str
    sources: tuple[str, ...]
    purposes: tuple[str, ...]
    valid_from: int
    valid_until: int


_MICROSECONDS = 1_000_000


def microseconds(moment: datetime) -> int:
    """``moment`` in microseconds since 1970 (UTC)."""
    return round(moment.timestamp() * _MICROSECONDS)


def standing(records: Iterable[Record], now: datetime | None = None) -> tuple[Standing, ...]:
    """What still stands of ``records`` at ``now``: neither withdrawn nor expired; it may start later."""
    moment = now or datetime.now(UTC)
    return tuple(
        Standing(
            item.consent_id,
            item.grantee,
            item.sources,
            item.purposes,
            microseconds(item.valid_from),
            microseconds(item.valid_until),
        )
        for item in consents(records)
        if item.status_at(moment) in {Status.VALID, Status.NOT_YET}
    )
