"""Asking the endpoint for a decision over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from credit301.errors import ConfigError, ModelError, NotFound, SourceError
from credit301.settings import Profile
from credit301.workspace import Workspace
from serving.auth import DIGEST, HEADER


def ask(workspace: Workspace, entity: str, amount: str, term: int, port: int) -> dict[str, Any]:
    """One decision from the endpoint that runs on this machine, as its JSON says it.

    Raises:
        SourceError: the endpoint does not answer, or not with JSON.
        NotFound: it has no data on the entity.
        ModelError: it refused otherwise; the message is the endpoint's own, in both languages.
    """
    return _post(workspace, port, "decisions", {"amount": amount, "term_months": term}, entity)


def grant(workspace: Workspace, entity: str, port: int, days: int = 365) -> dict[str, Any]:
    """Record at the endpoint that the entity lets this client read everything for a decision, for ``days`` days.

    Raises:
        SourceError: the endpoint does not answer, or not with JSON.
        ModelError: it refused; the message is the endpoint's own, in both languages.
    """
    until = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    return _post(workspace, port, "consents", {"valid_until": until, "note": "demonstration"}, entity)


def _post(workspace: Workspace, port: int, path: str, body: dict[str, Any], entity: str) -> dict[str, Any]:
    settings = workspace.settings
    embedded = settings.profile is Profile.EMBEDDED
    # The first key of several, without its name, is as good as any: it is this platform's own.
    key = settings.secret("api_key") if embedded else settings.secret("api_keys").split(",")[0].partition(":")[2]
    if key.startswith(DIGEST):
        raise ConfigError(
            "The first key of CREDIT301_API_KEYS is a digest, which nobody can ask with.",
            hint="Put a client of this platform's own, with its key, first.",
        )
    address = f"http://{settings.host}:{port}/v1/{path}"
    body = {workspace.entity.key: entity, **body}
    try:
        answer = httpx.post(address, json=body, headers={HEADER: key}, timeout=10.0, trust_env=False)
        data: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise SourceError(
            f"The endpoint at {address} does not answer ({type(error).__name__}).", hint="Start it: credit301 serve."
        ) from error
    if answer.is_success:
        return data
    detail = data["error"]
    kind = NotFound if answer.status_code == httpx.codes.NOT_FOUND else ModelError
    raise kind(
        f"{detail['message']['zh']} {detail['message']['en']} [{detail['code']}]",
        hint=f"{detail['hint']['zh']} {detail['hint']['en']}",
    )
