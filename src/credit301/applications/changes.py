"""What may be asked to become of an application: the moves, other values, and messages that are caused or cause it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from credit301.applications.records import Kind
from credit301.applications.states import Actor, Event, State


@dataclass(frozen=True)
class Tenant:
    """For whom the store is asked: no query is made without one. ``name`` is that of the API's client."""

    name: str


@dataclass(frozen=True)
class Received:
    """A message from elsewhere that causes a change: of each ``id`` that ``consumer`` is told, one change."""

    consumer: str
    id: str


@dataclass(frozen=True)
class Cause:
    """One move: the event, who causes it, ``by`` which name, and what else the history says of it."""

    event: Event
    actor: Actor
    by: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """What is to become of an application.

    Args:
        causes: moves in turn; none, if only its values change.
        values: columns that get another value.
        messages: kind and payload of each message that is caused.
        received: the message that causes it.
    """

    causes: Sequence[Cause] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    messages: Sequence[tuple[Kind, Mapping[str, Any]]] = ()
    received: Received | None = None


def steps_of(causes: Sequence[Cause], states: Sequence[State | None]) -> list[dict[str, Any]]:
    """Lines of the history: ``states`` are those before, between and after the moves."""
    return [
        {
            "place": place,
            "event": cause.event,
            "from_state": states[place],
            "to_state": states[place + 1],
            "actor": cause.actor,
            "by": cause.by,
            "detail": cause.detail,
        }
        for place, cause in enumerate(causes)
    ]
