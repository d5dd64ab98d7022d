"""Verifying who applies: a code to the telephone, a face before the camera; what is kept of it names nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from credit301.applications.changes import Tenant
from credit301.applications.desk import ApplicationDesk
from credit301.applications.identity import (
    MOST_TRIALS,
    Check,
    FaceRecognition,
    Kind,
    Outcome,
    Person,
    PhoneVerification,
)
from credit301.applications.store import ApplicationStore
from credit301.domain.text import Refusal, Text
from credit301.errors import Credit301Error
from credit301.identity.keyed_hash import KeyedHash


class IdentityUnavailable(Credit301Error):
    """The identity provider does not answer; nothing was said of the applicant."""


class Verified(msgspec.Struct, frozen=True):
    """What came of a step: ``check`` is its number, ``trials`` how often the applicant may try again."""

    check: UUID
    kind: Kind
    outcome: Outcome
    reason: str
    trials: int


class VerificationDesk:
    """Verifies applicants.

    Args:
        desk: where facts of an application are noted.
        store: where checks are kept.
        phones: verifies telephones.
        faces: recognises faces.
        hashed: the keyed hash of numbers of persons.
    """

    def __init__(
        self,
        desk: ApplicationDesk,
        store: ApplicationStore,
        phones: PhoneVerification,
        faces: FaceRecognition,
        hashed: KeyedHash,
    ) -> None:
        self._desk = desk
        self._store = store
        self._phones = phones
        self._faces = faces
        self._hash = hashed

    async def start_phone(self, tenant: Tenant, number: UUID, person: Person, phone: str) -> Verified:
        """Send a code to ``phone``.

        Raises:
            Refusal: no draft any more, too many codes were sent, or another person was verified before.
            IdentityUnavailable: the provider does not answer.
        """
        before = await self._before(tenant, number, Kind.PHONE, person)
        check = _said(await self._phones.send(person, phone))
        kept = await self._kept(tenant, number, Kind.PHONE, person, check, phone)
        return Verified(kept["id"], Kind.PHONE, check.outcome, check.reason, MOST_TRIALS - before - 1)

    async def confirm_phone(self, tenant: Tenant, number: UUID, check: UUID, code: str) -> Verified:
        """Whether ``code`` is the one that was sent; it may be tried a few times. Raises as :meth:`start_phone`.

        A check that is finished says again what came of it: whoever had no answer may ask once more.
        """
        await self._desk.current(tenant, number)
        tried = await self._store.try_check(tenant, number, check)
        if tried is None and (done := await self._finished(tenant, number, check)) is not None:
            return Verified(check, Kind.PHONE, Outcome(done["outcome"]), "", MOST_TRIALS - done["trials"])
        if tried is None or tried["trials"] > MOST_TRIALS:
            raise Refusal(
                "no_code_to_confirm",
                Text(
                    zh="没有待确认的验证码，或尝试次数已用完。", en="There is no code to confirm, or no trial is left."
                ),
                field="check",
                hint=Text(zh="请重新发送验证码。", en="Have a new code sent."),
            )
        said = _said(await self._phones.confirm(tried["reference"], code))
        if said.outcome is Outcome.PASS:
            await self._desk.note(tenant, number, phone_verified_at=datetime.now(UTC))
        if said.outcome is not Outcome.RETRY:
            await self._store.finish_check(tenant, number, check, said.outcome.value, said.score)
        return Verified(check, Kind.PHONE, said.outcome, said.reason, MOST_TRIALS - tried["trials"])

    async def _finished(self, tenant: Tenant, number: UUID, check: UUID) -> Any | None:
        """The check of a telephone that is finished; ``None`` where there is none of this number."""
        checks = await self._store.checks(tenant, number)
        return next((item for item in checks if item["id"] == check and item["kind"] == Kind.PHONE), None)

    async def face(self, tenant: Tenant, number: UUID, person: Person, capture: str) -> Verified:
        """Compare a face with that of the identity document. Raises as :meth:`start_phone`."""
        before = await self._before(tenant, number, Kind.FACE, person)
        check = _said(await self._faces.compare(person, capture))
        kept = await self._kept(tenant, number, Kind.FACE, person, check)
        if check.outcome is Outcome.PASS:
            await self._desk.note(tenant, number, face_verified_at=datetime.now(UTC))
        return Verified(kept["id"], Kind.FACE, check.outcome, check.reason, MOST_TRIALS - before - 1)

    async def _before(self, tenant: Tenant, number: UUID, kind: Kind, person: Person) -> int:
        """How often this was tried, after checking that it may be tried once more, for the person it was before."""
        found = await self._desk.current(tenant, number)
        checks = await self._store.checks(tenant, number)
        tried = len([check for check in checks if check["kind"] == kind])
        self._desk.require_draft(found)
        if tried >= MOST_TRIALS:
            raise Refusal(
                "no_trial_left",
                Text(zh="核验次数已用完。", en="No trial is left."),
                hint=Text(zh="请新建申请。", en="Begin a new application."),
            )
        if _others(checks, self._hash(person.id_number)):
            raise Refusal(
                "another_person",
                Text(zh="此前通过核验的是另一个人。", en="Another person was verified for this application before."),
                field="id_number",
            )
        return tried

    async def _kept(
        self, tenant: Tenant, number: UUID, kind: Kind, person: Person, check: Check, phone: str = ""
    ) -> Any:
        now = datetime.now(UTC)
        return await self._store.add_check(
            tenant,
            number,
            kind=kind.value,
            person=self._hash(person.id_number),
            phone=self._hash(phone) if phone else None,
            reference=check.reference,
            outcome=check.outcome.value,
            score=check.score,
            trials=0,
            started_at=now,
            finished_at=None if check.outcome is Outcome.PENDING else now,
        )


def _others(checks: Sequence[Any], person: str) -> bool:
    return any(check["outcome"] == Outcome.PASS and check["person"] != person for check in checks)


def _said(check: Check) -> Check:
    if check.outcome is Outcome.UNAVAILABLE:
        raise IdentityUnavailable("The identity provider does not answer.", hint="Try again later.")
    return check
