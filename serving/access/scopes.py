"""Roles, the scopes that each has, and the scope that each route asks for: the one place that says so.

A route that is not in :data:`ROUTES` does not start: nothing is open because somebody forgot to say that it is closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from credit301.domain.text import Text
from credit301.errors import ConfigError


class Scope(StrEnum):
    """What a token lets its holder do."""

    DECISIONS_WRITE = "decisions:write"
    CONSENTS_WRITE = "consents:write"
    CONSENTS_READ = "consents:read"
    APPLICATIONS_WRITE = "applications:write"
    APPLICATIONS_READ = "applications:read"
    APPLICATIONS_REVIEW = "applications:review"
    EVENTS_WRITE = "events:write"
    EVIDENCE_READ = "evidence:read"
    STATUS_READ = "status:read"
    METRICS_READ = "metrics:read"


SCOPE_TITLES: Mapping[Scope, Text] = {
    Scope.DECISIONS_WRITE: Text(zh="请求授信决策", en="ask for decisions"),
    Scope.CONSENTS_WRITE: Text(zh="登记与撤回授权", en="record and withdraw consents"),
    Scope.CONSENTS_READ: Text(zh="查询授权", en="read consents"),
    Scope.APPLICATIONS_WRITE: Text(zh="办理申请", en="bring applications forward"),
    Scope.APPLICATIONS_READ: Text(zh="查询申请", en="read applications"),
    Scope.APPLICATIONS_REVIEW: Text(zh="人工复核申请", en="review applications"),
    Scope.EVENTS_WRITE: Text(zh="提交行为事件", en="post events"),
    Scope.EVIDENCE_READ: Text(zh="查阅决策证据", en="read the evidence of decisions"),
    Scope.STATUS_READ: Text(zh="查询当前模型与策略", en="see the model and the strategies in use"),
    Scope.METRICS_READ: Text(zh="读取监控指标", en="read the metrics"),
}


class Role(StrEnum):
    """What a client is."""

    BANK = "bank"
    PARTNER = "partner"
    REVIEWER = "reviewer"
    AUDITOR = "auditor"
    OPERATOR = "operator"


ROLES: Mapping[Role, frozenset[Scope]] = {
    Role.BANK: frozenset(
        {
            Scope.DECISIONS_WRITE,
            Scope.CONSENTS_WRITE,
            Scope.CONSENTS_READ,
            Scope.APPLICATIONS_WRITE,
            Scope.APPLICATIONS_READ,
            Scope.STATUS_READ,
        }
    ),
    Role.PARTNER: frozenset({Scope.EVENTS_WRITE}),
    Role.REVIEWER: frozenset({Scope.APPLICATIONS_READ, Scope.APPLICATIONS_REVIEW}),
    Role.AUDITOR: frozenset({Scope.EVIDENCE_READ}),
    Role.OPERATOR: frozenset({Scope.STATUS_READ, Scope.METRICS_READ}),
}


class Principal(msgspec.Struct, frozen=True):
    """Who asks: a ``client``, for the bank ``tenant`` whose data it sees, and what it may do."""

    client: str
    tenant: str
    scopes: frozenset[Scope]


PUBLIC = None
"""Marks a route that anybody may ask."""

_APPLICATION = "/v1/applications/{application_id}"
ROUTES: Mapping[tuple[str, str], Scope | None] = {
    ("POST", "/v1/decisions"): Scope.DECISIONS_WRITE,
    ("POST", "/v1/consents"): Scope.CONSENTS_WRITE,
    ("POST", "/v1/consents/withdrawals"): Scope.CONSENTS_WRITE,
    ("POST", "/v1/consents/queries"): Scope.CONSENTS_READ,
    ("POST", "/v1/events/{source}"): Scope.EVENTS_WRITE,
    ("POST", "/v1/applications"): Scope.APPLICATIONS_WRITE,
    ("GET", _APPLICATION): Scope.APPLICATIONS_READ,
    ("PATCH", _APPLICATION): Scope.APPLICATIONS_WRITE,
    ("POST", f"{_APPLICATION}/consent"): Scope.CONSENTS_WRITE,
    ("POST", f"{_APPLICATION}/identity/phone"): Scope.APPLICATIONS_WRITE,
    ("POST", f"{_APPLICATION}/identity/phone/code"): Scope.APPLICATIONS_WRITE,
    ("POST", f"{_APPLICATION}/identity/face"): Scope.APPLICATIONS_WRITE,
    ("GET", f"{_APPLICATION}/prefill"): Scope.APPLICATIONS_READ,
    ("POST", f"{_APPLICATION}/submit"): Scope.APPLICATIONS_WRITE,
    ("POST", f"{_APPLICATION}/accept"): Scope.APPLICATIONS_WRITE,
    ("POST", f"{_APPLICATION}/withdraw"): Scope.APPLICATIONS_WRITE,
    ("GET", f"{_APPLICATION}/explanation"): Scope.APPLICATIONS_READ,
    ("POST", f"{_APPLICATION}/review"): Scope.APPLICATIONS_WRITE,
    ("GET", "/v1/reviews"): Scope.APPLICATIONS_REVIEW,
    ("POST", "/v1/reviews/{application_id}"): Scope.APPLICATIONS_REVIEW,
    # A bank's message is believed by its signature, not by a token; the schemas are published.
    ("POST", "/v1/partners/messages"): PUBLIC,
    ("GET", "/v1/schemas/{name}"): PUBLIC,
    ("GET", "/v1/model"): Scope.STATUS_READ,
    ("GET", "/metrics"): Scope.METRICS_READ,
    # Tokens are what nobody has yet who asks for one; the endpoint authenticates the client itself.
    ("POST", "/v1/oauth/token"): PUBLIC,
    ("GET", "/.well-known/jwks.json"): PUBLIC,
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/docs/static"): PUBLIC,
    ("GET", "/"): PUBLIC,
}
_EVENTS = "/v1/events/"


def required(method: str, path: str) -> Scope | None:
    """The scope that the route asks for; ``PUBLIC`` where it asks for none.

    Raises:
        ConfigError: nobody has said.
    """
    template = f"{_EVENTS}{{source}}" if path.startswith(_EVENTS) else path
    try:
        return ROUTES[method, template]
    except KeyError as error:
        raise ConfigError(
            f"The route {method} {path} has neither a scope nor the mark that it is public.",
            hint="Add it to ROUTES in serving/access/scopes.py.",
        ) from error


def scopes_of(roles: tuple[Role, ...]) -> frozenset[Scope]:
    """What somebody with all of ``roles`` may do."""
    return frozenset().union(*(ROLES[role] for role in roles))
