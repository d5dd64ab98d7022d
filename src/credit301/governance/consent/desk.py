"""Granting, withdrawing and looking up consent: the ledger first, then the online store; a failure shows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from credit301.contracts.model import Purpose
from credit301.domain.text import Refusal, Text
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.consent.ledger import Ledger, ledger_of
from credit301.governance.consent.online import OnlineConsents
from credit301.governance.consent.records import Consent, Record, Standing, consents, standing
from credit301.governance.masking import scrub
from credit301.identity.entity_key import KeyForm, normalise
from credit301.identity.keyed_hash import KeyedHash

if TYPE_CHECKING:
    from credit301.governance.audit.writer import AuditWriter
    from credit301.workspace import Workspace

LONGEST = timedelta(days=5 * 366)
LONGEST_NOTE = 200


class ConsentDesk:
    """What there is to do about consents, each of it recorded in the audit trail.

    Args:
        ledger: the record of truth.
        online: the copy that decisions read.
        form: the form of an enterprise's key.
        hashed: the keyed hash.
        sources: names that a consent may name.
        audit: where each act is recorded.
    """

    def __init__(
        self,
        ledger: Ledger,
        online: OnlineConsents,
        form: KeyForm,
        hashed: KeyedHash,
        sources: Iterable[str],
        audit: AuditWriter,
    ) -> None:
        self._ledger = ledger
        self._online = online
        self._form = form
        self._hash = hashed
        self._sources = tuple(sources)
        self._audit = audit

    @classmethod
    def of(cls, workspace: Workspace, audit: AuditWriter) -> ConsentDesk:
        """The desk of ``workspace``."""
        hashed = KeyedHash.from_settings(workspace.settings)
        online = OnlineConsents.of(workspace)
        return cls(ledger_of(workspace), online, workspace.entity, hashed, workspace.sources, audit)

    def grant(
        self,
        entity: str,
        grantee: str,
        *,
        by: str,
        sources: Sequence[str] = (),
        purposes: Sequence[str] = (Purpose.CREDIT_DECISION,),
        valid_from: datetime | None = None,
        valid_until: datetime,
        note: str = "",
    ) -> Consent:
        """Record that the enterprise ``entity`` lets ``grantee`` read ``sources`` (all of the workspace by default).

        Raises:
            Refusal: a source or purpose is not known, or the time is none that a consent can have.
            ConsentUnavailable: it is not recorded, or the online store did not take it; the message says which.
        """
        now = datetime.now(UTC)
        named = self._hash(normalise(self._form, entity))
        start = valid_from or now
        self._check(sources, purposes, start, valid_until, now)
        record = Record(
            kind="grant",
            consent_id=str(uuid.uuid4()),
            entity=named,
            grantee=grantee,
            sources=tuple(sources) or self._sources,
            purposes=tuple(str(Purpose(item)) for item in purposes),
            valid_from=start,
            valid_until=valid_until,
            recorded_at=now,
            recorded_by=by,
            note=scrub(note)[:LONGEST_NOTE],
        )
        self._record(record)
        return consents([record])[0]

    def withdraw(
        self, entity: str, consent_id: str, *, by: str, grantee: str | None = None, reason: str = ""
    ) -> Consent:
        """Record that a consent of ``entity`` is withdrawn; the next decision no longer reads by it.

        Withdrawing again changes nothing. ``grantee`` limits it to consents given to that one.

        Raises:
            Refusal: ``entity`` has given no such consent.
            ConsentUnavailable: it is not recorded, or the online store did not take it; the message says which.
        """
        named = self._hash(normalise(self._form, entity))
        with self._ledger.opened(named) as page:
            there = {item.consent_id: item for item in consents(page.records)}
            consent = there.get(consent_id)
            if consent is None or (grantee is not None and consent.grantee != grantee):
                raise Refusal(
                    "unknown_consent",
                    Text(zh="该企业没有此编号的授权。", en="This enterprise has given no consent of this number."),
                    field="consent_id",
                )
            if consent.withdrawn_at is None:
                page.append(_withdrawal(named, consent, by, reason))
                self._tell(Event.CONSENT_WITHDRAWN, named, consent, by)
            self._online.publish(named, standing(page.records))
            return next(item for item in consents(page.records) if item.consent_id == consent_id)

    def withdraw_all(self, named: str, *, by: str, reason: str) -> int:
        """Withdraw whatever still stands of the enterprise whose keyed hash is ``named``; how many that were."""
        with self._ledger.opened(named) as page:
            left = [item for item in consents(page.records) if item.withdrawn_at is None]
            for consent in left:
                page.append(_withdrawal(named, consent, by, reason))
                self._tell(Event.CONSENT_WITHDRAWN, named, consent, by)
            self._online.publish(named, ())
        return len(left)

    def show(self, entity: str, grantee: str | None = None) -> list[Consent]:
        """Every consent that ``entity`` has given (to ``grantee``), whatever became of it."""
        found = consents(self._ledger.records(self._hash(normalise(self._form, entity))))
        return [item for item in found if grantee is None or item.grantee == grantee]

    def standing(self, entity: str) -> tuple[Standing, ...]:
        """What stands by the ledger, for whoever reads where there is no online store."""
        return standing(self._ledger.records(self._hash(entity)))

    def sync(self) -> int:
        """Publish everything in the ledger anew; how many enterprises that were."""
        entities = self._ledger.entities()
        for named in entities:
            with self._ledger.opened(named) as page:
                self._online.publish(named, standing(page.records))
        return len(entities)

    def _record(self, record: Record) -> None:
        with self._ledger.opened(record.entity) as page:
            page.append(record)
            self._tell(Event.CONSENT_GRANTED, record.entity, record, record.recorded_by)
            self._online.publish(record.entity, standing(page.records))

    def _tell(self, event: Event, named: str, consent: Consent | Record, by: str) -> None:
        self._audit.append(
            Entry(
                event=event,
                who=by,
                entity=named,
                sources=consent.sources,
                purpose=",".join(consent.purposes),
                consents=(consent.consent_id,),
            )
        )

    def _check(
        self, sources: Sequence[str], purposes: Sequence[str], start: datetime, end: datetime, now: datetime
    ) -> None:
        for field, given, known in (("sources", sources, self._sources), ("purposes", purposes, tuple(Purpose))):
            if not set(given) <= set(known) or (field == "purposes" and not given):
                raise Refusal(
                    f"unknown_{field.rstrip('s')}",
                    Text(zh=f"{field} 含有未知取值。", en=f"{field} has a value that is not known."),
                    field=field,
                    hint=Text(zh=f"可用：{'、'.join(known)}。", en=f"Known: {', '.join(known)}."),
                )
        if end <= start or end <= now or end - start > LONGEST:
            raise Refusal(
                "invalid_validity",
                Text(
                    zh="授权期限须在将来结束，且不超过五年。",
                    en="A consent must end in the future, after it begins, and within five years.",
                ),
                field="valid_until",
            )


def _withdrawal(named: str, consent: Consent, by: str, reason: str) -> Record:
    kept = {name: getattr(consent, name) for name in ("grantee", "sources", "purposes", "valid_from", "valid_until")}
    return msgspec.convert(
        {
            **kept,
            "kind": "withdrawal",
            "consent_id": consent.consent_id,
            "entity": named,
            "recorded_at": datetime.now(UTC),
            "recorded_by": by,
            "note": scrub(reason)[:LONGEST_NOTE],
        },
        Record,
    )
