"""One route of the API as a value: what the routes, their guard and the published document are made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from starlette.requests import Request

Handler = Callable[[Request, str], Awaitable[msgspec.Struct]]


@dataclass(frozen=True)
class Endpoint:
    """One route: what is read (``None``: no body) and answered, and with which status.

    Its scope is in :data:`serving.access.scopes.ROUTES`.
    """

    method: str
    path: str
    handler: Handler
    body: type[msgspec.Struct] | None
    answer: type[msgspec.Struct]
    status: int = HTTPStatus.OK
