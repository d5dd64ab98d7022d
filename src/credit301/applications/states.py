"""The states of an application and the moves between them, as one table; nothing here does input or output.

A move is caused by an event, which only some may cause. Whatever is not in the table is refused by name: the store asks
:func:`move` before it writes, so that no other way leads from one state to another.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType

import msgspec

from credit301.domain.text import Refusal, Text


class State(StrEnum):
    """Where an application stands."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    CONSENT_VERIFIED = "consent_verified"
    IDENTITY_VERIFIED = "identity_verified"
    ADMITTED = "admitted"
    FRAUD_CLEARED = "fraud_cleared"
    SCORED = "scored"
    OFFERED = "offered"
    ACCEPTED = "accepted"
    DISBURSEMENT_INSTRUCTED = "disbursement_instructed"
    DISBURSED = "disbursed"
    MONITORED = "monitored"
    CLOSED = "closed"
    DECLINED = "declined"
    REFERRED = "referred"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Event(StrEnum):
    """What moves an application from one state to another."""

    CREATE = "create"
    SUBMIT = "submit"
    RETURN = "return"
    VERIFY_CONSENT = "verify_consent"
    VERIFY_IDENTITY = "verify_identity"
    ADMIT = "admit"
    CLEAR_FRAUD = "clear_fraud"
    SCORE = "score"
    OFFER = "offer"
    REFER = "refer"
    DECLINE = "decline"
    ACCEPT = "accept"
    INSTRUCT_DISBURSEMENT = "instruct_disbursement"
    CONFIRM_DISBURSEMENT = "confirm_disbursement"
    REFUSE_DISBURSEMENT = "refuse_disbursement"
    MONITOR = "monitor"
    REPORT_REPAYMENT = "report_repayment"
    CLOSE = "close"
    ASK_REVIEW = "ask_review"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"


class Actor(StrEnum):
    """Who causes an event."""

    APPLICANT = "applicant"
    PLATFORM = "platform"
    BANK = "bank"
    REVIEWER = "reviewer"
    CLOCK = "clock"


class Mode(StrEnum):
    """Who decides: the bank, to which an application package goes, or the platform, which instructs the bank to pay."""

    STANDARD = "standard"
    PLATFORM = "platform"


class Move(msgspec.Struct, frozen=True):
    """One row of the table: ``event`` leads from ``origin`` to ``target`` where one of ``actors`` causes it."""

    event: Event
    origin: State
    target: State
    actors: frozenset[Actor]
    modes: frozenset[Mode]


TITLES: MappingProxyType[State, Text] = MappingProxyType(
    {
        State.DRAFT: Text(zh="草稿", en="draft"),
        State.SUBMITTED: Text(zh="已提交", en="submitted"),
        State.CONSENT_VERIFIED: Text(zh="授权已核验", en="consent verified"),
        State.IDENTITY_VERIFIED: Text(zh="身份已核验", en="identity verified"),
        State.ADMITTED: Text(zh="通过准入", en="admitted"),
        State.FRAUD_CLEARED: Text(zh="通过反欺诈", en="cleared of fraud"),
        State.SCORED: Text(zh="已评分", en="scored"),
        State.OFFERED: Text(zh="已出具授信方案", en="offered"),
        State.ACCEPTED: Text(zh="已接受", en="accepted"),
        State.DISBURSEMENT_INSTRUCTED: Text(zh="已发放款指令", en="disbursement instructed"),
        State.DISBURSED: Text(zh="已放款", en="disbursed"),
        State.MONITORED: Text(zh="贷后监测中", en="monitored"),
        State.CLOSED: Text(zh="已结清", en="closed"),
        State.DECLINED: Text(zh="已拒绝", en="declined"),
        State.REFERRED: Text(zh="转人工", en="referred to a person"),
        State.WITHDRAWN: Text(zh="已撤回", en="withdrawn"),
        State.EXPIRED: Text(zh="已过期", en="expired"),
    }
)
TERMINAL = frozenset({State.CLOSED, State.WITHDRAWN, State.EXPIRED})
DECIDING = (State.SUBMITTED, State.CONSENT_VERIFIED, State.IDENTITY_VERIFIED, State.ADMITTED, State.FRAUD_CLEARED)
"""States between a submission and its decision."""
WAITING = (State.DRAFT, *DECIDING, State.SCORED, State.REFERRED, State.OFFERED)
"""States that an application may be withdrawn from, and that end by themselves after a time."""

_BOTH = frozenset(Mode)
_PLATFORM, _STANDARD = frozenset({Mode.PLATFORM}), frozenset({Mode.STANDARD})
_S, _E, _A = State, Event, Actor


def _rows(
    event: Event, origins: Iterable[State], target: State, *actors: Actor, modes: frozenset[Mode] = _BOTH
) -> list[Move]:
    return [Move(event, origin, target, frozenset(actors), modes) for origin in origins]


MOVES: tuple[Move, ...] = (
    *_rows(_E.SUBMIT, [_S.DRAFT], _S.SUBMITTED, _A.APPLICANT),
    # What is submitted and cannot be decided on as it is goes back to be mended, with the reason.
    *_rows(_E.RETURN, [_S.SUBMITTED], _S.DRAFT, _A.PLATFORM),
    *_rows(_E.VERIFY_CONSENT, [_S.SUBMITTED], _S.CONSENT_VERIFIED, _A.PLATFORM),
    *_rows(_E.VERIFY_IDENTITY, [_S.CONSENT_VERIFIED], _S.IDENTITY_VERIFIED, _A.PLATFORM),
    *_rows(_E.ADMIT, [_S.IDENTITY_VERIFIED], _S.ADMITTED, _A.PLATFORM),
    *_rows(_E.CLEAR_FRAUD, [_S.ADMITTED], _S.FRAUD_CLEARED, _A.PLATFORM),
    *_rows(_E.SCORE, [_S.FRAUD_CLEARED], _S.SCORED, _A.PLATFORM),
    *_rows(_E.DECLINE, [_S.IDENTITY_VERIFIED, _S.ADMITTED, _S.FRAUD_CLEARED], _S.DECLINED, _A.PLATFORM),
    *_rows(_E.DECLINE, [_S.SCORED], _S.DECLINED, _A.PLATFORM, modes=_PLATFORM),
    *_rows(_E.DECLINE, [_S.SCORED], _S.DECLINED, _A.PLATFORM, _A.BANK, modes=_STANDARD),
    *_rows(_E.OFFER, [_S.SCORED], _S.OFFERED, _A.PLATFORM, modes=_PLATFORM),
    *_rows(_E.OFFER, [_S.SCORED], _S.OFFERED, _A.BANK, modes=_STANDARD),
    *_rows(_E.REFER, [_S.IDENTITY_VERIFIED, _S.ADMITTED, _S.SCORED], _S.REFERRED, _A.PLATFORM),
    # Of an automatic decline, once: see :mod:`credit301.applications.review`.
    *_rows(_E.ASK_REVIEW, [_S.DECLINED], _S.REFERRED, _A.APPLICANT),
    *_rows(_E.OFFER, [_S.REFERRED], _S.OFFERED, _A.REVIEWER, modes=_PLATFORM),
    *_rows(_E.SCORE, [_S.REFERRED], _S.SCORED, _A.REVIEWER, modes=_STANDARD),
    *_rows(_E.DECLINE, [_S.REFERRED], _S.DECLINED, _A.REVIEWER),
    *_rows(_E.ACCEPT, [_S.OFFERED], _S.ACCEPTED, _A.APPLICANT),
    *_rows(_E.INSTRUCT_DISBURSEMENT, [_S.ACCEPTED], _S.DISBURSEMENT_INSTRUCTED, _A.PLATFORM, modes=_PLATFORM),
    *_rows(_E.CONFIRM_DISBURSEMENT, [_S.DISBURSEMENT_INSTRUCTED], _S.DISBURSED, _A.BANK, modes=_PLATFORM),
    *_rows(_E.REFUSE_DISBURSEMENT, [_S.DISBURSEMENT_INSTRUCTED], _S.DECLINED, _A.BANK, modes=_PLATFORM),
    *_rows(_E.CONFIRM_DISBURSEMENT, [_S.ACCEPTED], _S.DISBURSED, _A.BANK, modes=_STANDARD),
    *_rows(_E.REFUSE_DISBURSEMENT, [_S.ACCEPTED], _S.DECLINED, _A.BANK, modes=_STANDARD),
    *_rows(_E.MONITOR, [_S.DISBURSED], _S.MONITORED, _A.PLATFORM),
    *_rows(_E.REPORT_REPAYMENT, [_S.DISBURSED, _S.MONITORED], _S.MONITORED, _A.BANK),
    *_rows(_E.CLOSE, [_S.DISBURSED, _S.MONITORED], _S.CLOSED, _A.BANK),
    *_rows(_E.WITHDRAW, WAITING, _S.WITHDRAWN, _A.APPLICANT),
    *_rows(_E.EXPIRE, WAITING, _S.EXPIRED, _A.CLOCK),
)
_TABLE = {(row.event, row.origin, mode): row for row in MOVES for mode in row.modes}


def allowed(state: State, mode: Mode) -> tuple[Event, ...]:
    """Events that lead on from ``state``."""
    return tuple(event for event, origin, its_mode in _TABLE if origin is state and its_mode is mode)


def move(state: State, event: Event, *, mode: Mode, actor: Actor) -> State:
    """The state that ``event``, caused by ``actor``, leads to from ``state``.

    Raises:
        WrongState: it leads nowhere from there in this mode, or not when this one causes it.
    """
    row = _TABLE.get((event, state, mode))
    if row is None or actor not in row.actors:
        raise impossible(state, event, mode, actor if row is not None else None)
    return row.target


def walk(state: State, events: Iterable[tuple[Event, Actor]], *, mode: Mode) -> tuple[State, ...]:
    """The states that ``events``, each with who causes it, lead to in turn.

    Raises:
        WrongState: as :func:`move`; none of them counts then.
    """
    passed = []
    for event, actor in events:
        state = move(state, event, mode=mode, actor=actor)
        passed.append(state)
    return tuple(passed)


class WrongState(Refusal):
    """What was asked for is not possible from where the application stands."""


def impossible(state: State, event: Event, mode: Mode, actor: Actor | None = None) -> WrongState:
    """That ``event`` does not lead on from ``state``; ``actor`` where it is only not this one's to cause."""
    title = TITLES[state]
    who = "" if actor is None else f" when {actor.value} causes it"
    by = "" if actor is None else f"，且不能由 {actor.value} 触发"
    possible = allowed(state, mode)
    left = ", ".join(possible)
    return WrongState(
        "impossible_in_this_state",
        Text(
            zh=f"申请处于“{title.zh}”（{state.value}），不能执行 {event.value}{by}。",
            en=f"The application is {title.en} ({state.value}): {event.value} is not possible{who}.",
        ),
        hint=Text(zh=f"此状态下可执行：{left}。", en=f"Possible from here: {left}.")
        if possible
        else Text(zh="申请已经终结。", en="It has ended."),
    )
