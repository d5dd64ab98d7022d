"""What there is to do about an application, from the draft to the instruction to pay; no web framework in it.

A decision is made between two transactions. The first one submits, reserves the decision's number and claims the
application for a short time; the second one is made only by whoever holds the claim still. A process that dies between
them leaves an application that anybody may take over when the claim has run out: it ends with one decision.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from credit301.applications.changes import Cause, Change, Tenant
from credit301.applications.outcome import PLATFORM, settled
from credit301.applications.records import CLAIM_LASTS, DRAFT_LASTS, Application, Details, Kind, new_id
from credit301.applications.states import DECIDING, TITLES, WAITING, Actor, Event, Mode, State, WrongState, impossible
from credit301.applications.store import ApplicationStore, Changed
from credit301.domain.decision import Decision
from credit301.domain.text import Refusal, Text
from credit301.errors import Credit301Error

log = logging.getLogger("credit301.applications")
CLOCK = "clock"
_PAID = frozenset({State.ACCEPTED, State.DISBURSEMENT_INSTRUCTED, State.DISBURSED, State.MONITORED, State.CLOSED})


class CannotDecide(Exception):
    """The application must be mended before it can be decided on; ``cause`` says what is wrong, ``code`` its name."""

    def __init__(self, cause: Exception, code: str) -> None:
        super().__init__(code)
        self.cause = cause
        self.code = code


class BeingDecided(Credit301Error):
    """Somebody decides on the application at this moment."""


class Decide(Protocol):
    """Makes a decision on an application whose ``decision_id`` is reserved.

    Raises:
        CannotDecide: it must be mended first. Any other error: it may be tried again as it is.
    """

    async def __call__(self, application: Application) -> Decision:
        """The decision."""


class Recorded(Protocol):
    """Knows what was decided already under an application's ``decision_id`` and not kept with the application."""

    async def __call__(self, application: Application) -> Decision | None:
        """The decision on record, ``None`` where there is none."""


class ApplicationDesk:
    """The acts of applicants (through their bank), of the platform and of the clock.

    Args:
        store: where applications are.
        decide: makes decisions.
        recorded: what was decided by a process that died before it kept the decision; it is not decided on anew.
    """

    def __init__(self, store: ApplicationStore, decide: Decide, recorded: Recorded | None = None) -> None:
        self._store = store
        self._decide = decide
        self._recorded = recorded

    async def current(self, tenant: Tenant, number: UUID) -> Application:
        """The application as it stands now: one whose time is over says so.

        Raises:
            UnknownApplication: this tenant has none of this number.
        """
        found = await self._store.find(tenant, number)
        if found.state in WAITING and found.expires_at <= datetime.now(UTC):
            with contextlib.suppress(Changed):
                return await self._store.change(found, _EXPIRED)
            found = await self._store.find(tenant, number)
        return found

    @staticmethod
    def require_draft(found: Application) -> None:
        """Insist that what ``found`` says may still be changed.

        Raises:
            WrongState: it is no draft any more.
        """
        if found.state is not State.DRAFT:
            raise WrongState(
                "no_draft_any_more",
                Text(
                    zh=f"申请已是“{TITLES[found.state].zh}”（{found.state.value}），只有草稿可以修改。",
                    en=f"The application is {TITLES[found.state].en} ({found.state.value}): only a draft is changed.",
                ),
            )

    async def amend(self, tenant: Tenant, number: UUID, details: Callable[[Details], Details]) -> Application:
        """Change what a draft says.

        Raises:
            WrongState: it is no draft any more.
        """
        found = await self.current(tenant, number)
        self.require_draft(found)
        return await self._store.change(found, Change(values=msgspec.structs.asdict(details(found.details))))

    async def note(self, tenant: Tenant, number: UUID, **values: Any) -> Application:
        """Keep a fact of an application that is not decided yet: a consent, a verification."""
        while True:
            found = await self.current(tenant, number)
            self.require_draft(found)
            with contextlib.suppress(Changed):
                return await self._store.change(found, Change(values=values))

    async def submit(self, tenant: Tenant, number: UUID) -> Application:
        """Submit and decide; again, it changes nothing and gives what was decided.

        Raises:
            Refusal: identity was not verified, or the application cannot be submitted from where it stands, or what it
                asks for cannot be decided on: it is a draft again then.
            BeingDecided: another request is deciding.
            Exception: what the decision raised; the platform goes on by itself where nothing needs mending.
        """
        found = await self.current(tenant, number)
        if found.decision is not None:
            return found
        if found.state is State.SUBMITTED:
            return await self.go_on(found)
        if found.state is State.DRAFT:
            _require_identity(found)
        try:
            return await self._settle(await self._store.change(found, _submitted(found)))
        except Changed as error:
            return await self._decided_by_another(found, error)

    async def go_on(self, found: Application) -> Application:
        """Decide on what was submitted, if nobody does at this moment. Raises as :meth:`submit`."""
        now = datetime.now(UTC)
        if found.claimed_until is not None and found.claimed_until > now:
            raise _being_decided()
        try:
            claimed = await self._store.change(found, Change(values={"claimed_until": now + CLAIM_LASTS}))
            return await self._settle(claimed, again=True)
        except Changed as error:
            return await self._decided_by_another(found, error)

    async def accept(self, tenant: Tenant, number: UUID) -> Application:
        """Accept the offer; again, it changes nothing. The bank is told: by the instruction to pay, or that it may."""
        found = await self.current(tenant, number)
        if found.state in _PAID:
            return found
        causes = [Cause(Event.ACCEPT, Actor.APPLICANT, tenant.name)]
        if found.mode is Mode.STANDARD:
            told = Change(causes, messages=[(Kind.ACCEPTANCE, _accepted(found))])
            return await self._once_more(self._store.change(found, told), found, self.accept)
        causes.append(Cause(Event.INSTRUCT_DISBURSEMENT, Actor.PLATFORM, PLATFORM))
        change = Change(causes, messages=[(Kind.DISBURSEMENT_INSTRUCTION, _instruction(found))])
        return await self._once_more(self._store.change(found, change), found, self.accept)

    async def withdraw(self, tenant: Tenant, number: UUID, reason: str = "") -> Application:
        """Withdraw; again, it changes nothing. A bank that has the package is told."""
        found = await self.current(tenant, number)
        if found.state is State.WITHDRAWN:
            return found
        told = found.mode is Mode.STANDARD and found.state in {State.SCORED, State.OFFERED}
        messages = [(Kind.WITHDRAWAL, {"application_id": found.id})] if told else []
        cause = Cause(Event.WITHDRAW, Actor.APPLICANT, tenant.name, {"reason": reason} if reason else {})
        return await self._store.change(found, Change([cause], messages=messages))

    async def resume(self) -> int:
        """Decide on what was submitted and left by whoever was deciding; how many ended.

        Raises:
            ApplicationsUnavailable: the database does not answer.
        """
        ended = 0
        for number, tenant in await self._store.undecided(datetime.now(UTC)):
            try:
                found = await self._store.find(tenant, number)
                if found.state is State.SUBMITTED:
                    await self.go_on(found)
                    ended += 1
            except Exception as error:  # noqa: BLE001 - one that cannot be decided on does not keep the others waiting
                log.warning("application %s is not decided yet: %s", number, type(error).__name__)
        return ended

    async def _settle(self, claimed: Application, *, again: bool = False) -> Application:
        try:
            decision = await self._recorded(claimed) if again and self._recorded is not None else None
            if decision is None:
                decision = await self._decide(claimed)
        except CannotDecide as error:
            cause = Cause(Event.RETURN, Actor.PLATFORM, PLATFORM, {"reason": error.code})
            await self._store.change(claimed, Change([cause]))
            raise error.cause from error
        except Exception:
            # Whoever goes on need not wait for the claim to run out.
            with contextlib.suppress(Credit301Error):
                await self._store.change(claimed, Change(values={"claimed_until": datetime.now(UTC)}))
            raise
        return await self._store.change(claimed, settled(claimed, decision, datetime.now(UTC)))

    async def _decided_by_another(self, found: Application, error: Changed) -> Application:
        now = await self.current(Tenant(found.tenant), found.id)
        if now.decision is not None:
            return now
        if now.state in DECIDING:
            raise _being_decided() from error
        raise impossible(now.state, Event.SUBMIT, now.mode) from error

    async def _once_more(
        self,
        changing: Awaitable[Application],
        found: Application,
        again: Callable[[Tenant, UUID], Awaitable[Application]],
    ) -> Application:
        """What ``changing`` gives; where another change came first, ``again``, which finds that done or impossible."""
        try:
            return await changing
        except Changed:
            return await again(Tenant(found.tenant), found.id)


async def expire_overdue(store: ApplicationStore, now: datetime | None = None) -> int:
    """End every application whose time is over; how many those were."""
    moment, ended = now or datetime.now(UTC), 0
    while overdue := await store.overdue(moment):
        before = ended
        for number, tenant in overdue:
            found = await store.find(tenant, number)
            if found.state in WAITING and found.expires_at <= moment:
                with contextlib.suppress(Changed):
                    await store.change(found, _EXPIRED)
                    ended += 1
        if ended == before:
            break
    return ended


_EXPIRED = Change([Cause(Event.EXPIRE, Actor.CLOCK, CLOCK)])


def _submitted(found: Application) -> Change:
    now = datetime.now(UTC)
    return Change(
        [Cause(Event.SUBMIT, Actor.APPLICANT, found.tenant)],
        values={
            "decision_id": found.decision_id or new_id(),
            "claimed_until": now + CLAIM_LASTS,
            "expires_at": now + DRAFT_LASTS,
        },
    )


def _instruction(found: Application) -> dict[str, Any]:
    """What the bank is told to pay."""
    return {
        "application_id": found.id,
        "decision_id": found.decision_id,
        "entity": found.entity,
        "product": found.details.product,
        "amount": found.limit,
        "annual_rate": found.annual_rate,
        "term_months": found.details.term_months,
    }


def _accepted(found: Application) -> dict[str, Any]:
    """What the bank that made the offer is told of its acceptance."""
    return {
        "application_id": found.id,
        "amount": found.limit,
        "annual_rate": found.annual_rate,
        "term_months": found.details.term_months,
    }


def _require_identity(found: Application) -> None:
    if found.identity_verified:
        return
    missing = [("phone", "手机号", found.phone_verified_at), ("face", "人脸", found.face_verified_at)]
    names = [(en, zh) for en, zh, at in missing if at is None]
    raise Refusal(
        "identity_not_verified",
        Text(
            zh="尚未完成身份核验：" + "、".join(zh for _, zh in names) + "。",
            en="Identity is not verified yet: " + ", ".join(en for en, _ in names) + ".",
        ),
        hint=Text(
            zh="请先完成 /identity/phone 与 /identity/face。", en="Complete /identity/phone and /identity/face first."
        ),
    )


def _being_decided() -> BeingDecided:
    return BeingDecided("Another request is deciding on the application.", hint="Ask again in a second.")
