"""A review by a person: an enterprise that was declined asks for one, and a strategy may refer by name.

The decision that was made stays as it is, with its evidence; what the reviewer concludes is beside it, in the history
and in the audit trail, under the reviewer's name. Whatever a person did can be counted, per thousand decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from credit301.applications import statements
from credit301.applications.changes import Cause, Change, Tenant
from credit301.applications.database import Database
from credit301.applications.outcome import package
from credit301.applications.records import OFFER_LASTS, Application, Kind, Step
from credit301.applications.states import Actor, Event, Mode, State, WrongState, impossible
from credit301.applications.store import ApplicationStore
from credit301.domain.money import CENT, RATE
from credit301.domain.product import HIGHEST_ANNUAL_RATE, Product
from credit301.domain.text import Refusal, Text
from credit301.domain.verdict import Outcome
from credit301.governance.masking import scrub

ASKED_WITHIN = timedelta(days=30)
"""How long after a decline a review may be asked for."""
REVIEWED_WITHIN = timedelta(days=30)
"""How long a review may take before the application expires."""
_PER = 1000


class Conclusion(StrEnum):
    """What a reviewer concludes."""

    APPROVE = "approve"
    DECLINE = "decline"


class Concluded(msgspec.Struct, frozen=True, kw_only=True):
    """What the reviewer called ``by`` concludes, and why.

    ``limit`` (yuan) and ``annual_rate`` (a share of one) are those of the offer, which only the platform makes: a bank
    that decides itself gets the package instead.
    """

    by: str
    conclusion: Conclusion
    note: str
    limit: Decimal | None = None
    annual_rate: Decimal | None = None


class ReviewRight(msgspec.Struct, frozen=True):
    """复核权 / whether a review may be asked for, until when, and since when one is asked for or was concluded"""

    possible: bool
    until: datetime | None = None
    asked_at: datetime | None = None
    concluded_at: datetime | None = None


def right(found: Application, history: Sequence[Step], now: datetime) -> ReviewRight:
    """The right to a review that ``found`` with its ``history`` gives at ``now``: once, of an automatic decline."""
    asked = next((step.at for step in history if step.event is Event.ASK_REVIEW), None)
    concluded = next((step.at for step in reversed(history) if step.actor is Actor.REVIEWER), None)
    if asked is not None or not _declined_by_the_platform(found, history):
        return ReviewRight(possible=False, asked_at=asked, concluded_at=concluded)
    until = history[-1].at + ASKED_WITHIN
    return ReviewRight(possible=now <= until, until=until, concluded_at=concluded)


class ReviewDesk:
    """The acts of those who ask for a review, and of those who make it.

    Args:
        store: where applications are.
    """

    def __init__(self, store: ApplicationStore) -> None:
        self._store = store

    async def ask(self, tenant: Tenant, number: UUID, reason: str = "") -> Application:
        """Refer a declined application to a person; again, it changes nothing.

        Raises:
            UnknownApplication: this tenant has none of this number.
            Refusal: there is no right to a review (any more).
        """
        found = await self._store.find(tenant, number)
        if found.state is State.REFERRED:
            return found
        now = datetime.now(UTC)
        if not right(found, await self._store.history(tenant, number), now).possible:
            raise _no_right(found)
        cause = Cause(Event.ASK_REVIEW, Actor.APPLICANT, tenant.name, {"reason": scrub(reason)} if reason else {})
        return await self._store.change(found, Change([cause], values={"expires_at": now + REVIEWED_WITHIN}))

    async def waiting(self, tenant: Tenant, most: int) -> list[Application]:
        """Applications that wait for a person, those that have waited longest first."""
        return await self._store.referred(tenant, most)

    @staticmethod
    def check(found: Application, concluded: Concluded, product: Product) -> None:
        """Insist that ``found`` may be ``concluded`` so, within the bounds of ``product``.

        Raises:
            Refusal: it waits for no person, or the offer is out of bounds; the field is named.
        """
        if found.state is not State.REFERRED:
            event = Event.DECLINE if concluded.conclusion is Conclusion.DECLINE else Event.OFFER
            raise impossible(found.state, event, found.mode)
        _require_offer(found, concluded, product)

    async def conclude(self, found: Application, concluded: Concluded) -> Application:
        """Write what was concluded on ``found``, which :meth:`check` let pass.

        Raises:
            Changed: it is not any more as it was found.
        """
        detail: dict[str, Any] = {"note": scrub(concluded.note)}
        if concluded.conclusion is Conclusion.DECLINE:
            return await self._store.change(found, Change([_by(concluded, Event.DECLINE, detail)]))
        if found.mode is Mode.STANDARD:
            messages = [(Kind.APPLICATION_PACKAGE, package(found, found.decision or {}))]
            return await self._store.change(found, Change([_by(concluded, Event.SCORE, detail)], messages=messages))
        offer = {"limit": concluded.limit, "annual_rate": concluded.annual_rate}
        values = {
            "credit_limit": concluded.limit,
            "annual_rate": concluded.annual_rate,
            "expires_at": datetime.now(UTC) + OFFER_LASTS,
        }
        cause = _by(concluded, Event.OFFER, detail | msgspec.to_builtins(offer))
        return await self._store.change(found, Change([cause], values=values))


class Touches(msgspec.Struct, frozen=True):
    """人工介入 / acts of persons: applications ``decided`` on, ``touched`` by a person, and per thousand"""

    decided: int
    touched: int
    per_thousand: float


async def touches(database: Database, workspace: str, since: datetime) -> Touches:
    """How many applications a person has touched, counted from the histories of those decided on ``since``.

    Raises:
        ApplicationsUnavailable: the database does not answer.
    """
    row: Any = await database.first(statements.TOUCHES, workspace=workspace, since=since)
    decided, touched = int(row["decided"]), int(row["touched"])
    return Touches(decided, touched, _PER * touched / decided if decided else 0.0)


def _by(concluded: Concluded, event: Event, detail: dict[str, Any]) -> Cause:
    return Cause(event, Actor.REVIEWER, concluded.by, detail)


def _declined_by_the_platform(found: Application, history: Sequence[Step]) -> bool:
    automatic = found.decision is not None and found.decision["outcome"] == Outcome.DECLINE.value
    return found.state is State.DECLINED and automatic and bool(history) and history[-1].actor is Actor.PLATFORM


def _no_right(found: Application) -> WrongState:
    return WrongState(
        "no_review",
        Text(
            zh="此申请不能申请人工复核：只有被自动拒绝、尚未复核且未超过 30 天的申请可以。",
            en="No review can be asked for: only of an automatic decline, once, within 30 days.",
        ),
        hint=Text(zh=f"当前状态：{found.state.value}。", en=f"It is {found.state.value}."),
    )


def _require_offer(found: Application, concluded: Concluded, product: Product) -> None:
    """That an offer is made where the platform makes it, within bounds, and nowhere else."""
    offered = concluded.conclusion is Conclusion.APPROVE and found.mode is Mode.PLATFORM
    for field, value in (("limit", concluded.limit), ("annual_rate", concluded.annual_rate)):
        if (value is not None) != offered:
            zh, en = ("须填写", "is needed") if offered else ("不能填写", "has no place here")
            raise Refusal(
                "offer_does_not_fit",
                Text(zh=f"字段 {field} {zh}。", en=f"{field} {en}."),
                field=field,
                hint=Text(
                    zh="平台审批且结论为 approve 时填写额度与利率，其余情形不填。",
                    en="Give both where the platform decides and the conclusion is approve, else neither.",
                ),
            )
    if concluded.limit is not None:
        _require_within("limit", concluded.limit, product.minimum_amount, found.details.amount, CENT)
    if concluded.annual_rate is not None:
        _require_within("annual_rate", concluded.annual_rate, RATE, HIGHEST_ANNUAL_RATE, RATE)


def _require_within(field: str, value: Decimal, least: Decimal, most: Decimal, step: Decimal) -> None:
    if value.is_finite() and least <= value <= most and value % step == 0:
        return
    raise Refusal(
        "offer_out_of_range",
        Text(
            zh=f"字段 {field} 须在 {least} 至 {most} 之间，且为 {step} 的整数倍。",
            en=f"{field} must be from {least} to {most}, a multiple of {step}.",
        ),
        field=field,
        hint=Text(
            zh="请在产品下限、申请金额与法定利率上限之内。",
            en="Stay within the product's minimum, what was asked for, and the highest rate that the law allows.",
        ),
    )
