"""What a decision makes of an application: the states that it passes, what is kept, and the message that it causes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from credit301.applications.changes import Cause, Change
from credit301.applications.records import OFFER_LASTS, Application, Kind
from credit301.applications.states import Actor, Event, Mode
from credit301.domain.decision import Decision
from credit301.domain.verdict import Outcome

PLATFORM = "platform"
VERIFIED = (Event.VERIFY_CONSENT, Event.VERIFY_IDENTITY)
SCORED = (*VERIFIED, Event.ADMIT, Event.CLEAR_FRAUD, Event.SCORE)
# What was passed before the stage that spoke against it.
_BEFORE = {"admission": VERIFIED, "fraud": (*VERIFIED, Event.ADMIT), "": SCORED}
_BY_RULE = "rule."


def settled(application: Application, decision: Decision, now: datetime) -> Change:
    """What becomes of ``application`` by ``decision``.

    A decline ends it in both modes: the strategy is the bank's own. Otherwise it is offered where the platform decides,
    and where the bank does it waits, scored, for the bank, which gets the package.
    """
    events = _events(application.mode, decision)
    detail = {"decision_id": decision.decision_id, "outcome": decision.outcome.value}
    last = len(events) - 1
    causes = [
        Cause(event, Actor.PLATFORM, PLATFORM, detail if place == last else {}) for place, event in enumerate(events)
    ]
    values: dict[str, Any] = {
        "decision_id": UUID(decision.decision_id),
        "decision": decision,
        "credit_limit": decision.limit,
        "annual_rate": decision.annual_rate,
    }
    if events[-1] is Event.OFFER:
        values["expires_at"] = now + OFFER_LASTS
    waits_for_the_bank = application.mode is Mode.STANDARD and events[-1] is Event.SCORE
    packed = package(application, msgspec.to_builtins(decision))
    messages = [(Kind.APPLICATION_PACKAGE, packed)] if waits_for_the_bank else []
    return Change(causes, values=values, messages=messages)


def _events(mode: Mode, decision: Decision) -> tuple[Event, ...]:
    if decision.outcome is Outcome.APPROVE:
        return SCORED if mode is Mode.STANDARD else (*SCORED, Event.OFFER)
    ended = Event.REFER if decision.outcome is Outcome.REFER else Event.DECLINE
    return (*_BEFORE[_stopped_at(decision)], ended)


def _stopped_at(decision: Decision) -> str:
    """The first stage whose rules spoke against it; empty where none did, but the score or the policy."""
    stages: dict[str, str] = {f"{_BY_RULE}{rule.said.get('code')}": rule.stage for rule in decision.rules if rule.hit}
    found = {stages.get(cause.code, "admission") for cause in decision.causes if cause.code.startswith(_BY_RULE)}
    return next((stage for stage in ("admission", "fraud") if stage in found), "")


def package(application: Application, decision: Mapping[str, Any]) -> dict[str, Any]:
    """What the bank gets of an application that it decides on itself."""
    return {
        "application_id": application.id,
        "entity": application.entity,
        "details": application.details,
        "consent_id": application.consent_id,
        "phone_verified_at": application.phone_verified_at,
        "face_verified_at": application.face_verified_at,
        "decision": decision,
    }
