"""What stands before each route: who asks, whether it may, how often, whether there is room; one shape of errors."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from credit301.errors import Credit301Error
from credit301.governance.masking import scrub
from credit301.telemetry import Tracing
from serving import errors, refusals
from serving.access.acting import acting
from serving.access.authenticate import Authenticator
from serving.access.limits import Allowance
from serving.access.scopes import PUBLIC, SCOPE_TITLES, Principal, required
from serving.access.scopes import Scope as Permission
from serving.admission import Admission, Deadline
from serving.deadlines import budget_of
from serving.errors import ApiError, Problem
from serving.metrics import Metrics
from serving.requests import read_body

log = logging.getLogger("credit301.serving")
PRINCIPAL = "credit301.principal"
Handler = Callable[[Request], Awaitable[Response]]
Guarded = Callable[[Request, str, str], Awaitable[Response]]
"""Answers a request with its number, for the bank by the name that is given."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLACE = "the-number-of-the-request"
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class Guard:
    """Makes the handlers of routes.

    Args:
        authenticator: says who asks.
        allowances: of each client.
        metrics: count what is refused.
        key: name of the entity's key, which problems name.
        tracing: makes a span of each request; ``None``: nothing is traced.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        allowances: Mapping[str, Allowance],
        metrics: Metrics,
        key: str,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._authenticator = authenticator
        self._allowances = allowances
        self._metrics = metrics
        self._key = key

    def route(self, method: str, path: str, handler: Guarded, door: Admission | None = None) -> Route:
        """A route that asks for the scope that the table says; ``door``: where it waits for a place.

        Raises:
            ConfigError: the table does not know the route, or says that it is public.
        """
        scope = required(method, path)
        if scope is PUBLIC:
            raise AssertionError(f"{path} is public")

        async def guarded(request: Request) -> Response:
            arrived = time.monotonic()
            request_id = request_id_of(request.headers.get("x-request-id"))
            said: list[tuple[bytes, bytes]] = []
            try:
                principal = self._allowed(request, scope)
                said = self.take(principal.client)
                request.scope[PRINCIPAL] = principal
                acting.set(principal)
                if door is None:
                    response = await handler(request, request_id, principal.tenant)
                else:
                    response = await self._through(door, arrived, handler, request, request_id, principal.tenant)
            except (ApiError, Credit301Error) as error:
                response = self.failure(error, request_id)
            response.raw_headers.extend(said)
            return response

        return Route(path, self._traced(method, path, guarded), methods=[method])

    def public(self, method: str, path: str, handler: Handler) -> Route:
        """A route that anybody may ask.

        Raises:
            ConfigError: the table does not say so.
        """
        if required(method, path) is not PUBLIC:
            raise AssertionError(f"{path} is not public")

        async def open_to_all(request: Request) -> Response:
            try:
                return await handler(request)
            except (ApiError, Credit301Error) as error:
                return self.failure(error, request_id_of(request.headers.get("x-request-id")))

        return Route(path, self._traced(method, path, open_to_all), methods=[method])

    def failure(self, error: Exception, request_id: str) -> Response:
        """``error`` as an answer, counted."""
        problem = errors.of(error, self._key)
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("%s %s: %s", request_id, problem.code, error)
        return self.refuse(problem, request_id)

    def refuse(self, problem: Problem, request_id: str) -> Response:
        """``problem`` as an answer, counted."""
        self._metrics.failed(problem.code)
        return errors.response(problem, request_id)

    def take(self, client: str) -> list[tuple[bytes, bytes]]:
        """Take one of the requests that ``client`` may send; the headers that say what is left.

        Raises:
            ApiError: there is none left.
        """
        allowance = self._allowances.get(client)
        if allowance is None:
            # A bank that signs its messages need not be a client as well.
            return []
        if (wait := allowance.bucket.take()) > 0:
            self._metrics.limited(client)
            raise ApiError(refusals.rate_limited(wait))
        return allowance.headers()

    def _traced(self, method: str, path: str, handler: Handler) -> Handler:
        tracing = self._tracing
        if tracing is None:
            return handler
        fixed = {"http.request.method": method, "http.route": path}

        async def traced(request: Request) -> Response:
            with tracing.serving(f"{method} {path}", request.headers, fixed) as told:
                response = await handler(request)
                told.status = response.status_code
                told.attributes["credit301.request_id"] = response.headers.get("x-request-id", "")
                return response

        return traced

    def _allowed(self, request: Request, scope: Permission) -> Principal:
        principal = self._authenticator.principal(request.headers)
        if scope not in principal.scopes:
            raise ApiError(refusals.forbidden(scope, SCOPE_TITLES[scope]))
        return principal

    @staticmethod
    async def _through(
        door: Admission, arrived: float, handler: Guarded, request: Request, request_id: str, tenant: str
    ) -> Response:
        # The body is here before a place is taken: nobody keeps one by sending slowly.
        if request.method not in ("GET", "HEAD"):
            await read_body(request)
        await door.enter(Deadline(arrived, budget_of(request.headers)))
        try:
            return await handler(request, request_id, tenant)
        finally:
            door.leave()


class FrontDoor:
    """Before everything else: refuses decisions at once while there are too many, and marks each answer.

    A refusal is the more useful the less it costs: all of it but its number is made beforehand.

    Args:
        app: what is behind it.
        path: where decisions are asked for.
        door: knows whether there are too many.
        failed: counts refusals by code.
    """

    def __init__(self, app: ASGIApp, *, path: str, door: Admission, failed: Callable[[str], None]) -> None:
        self._app = app
        self._path = path
        self._door = door
        self._failed = failed
        problem = refusals.OVERLOADED
        before, _, after = bytes(errors.response(problem, _PLACE).body).partition(_PLACE.encode())
        self._body = before, after
        self._code = problem.code
        self._headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        self._headers += [(b"content-type", b"application/json"), _NOSNIFF]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == self._path and self._door.refuses():
            await self._refuse(scope, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append(_NOSNIFF)
            await send(message)

        await self._app(scope, receive, marked)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        self._door.refused()
        self._failed(self._code)
        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        number = request_id_of(sent.decode("latin-1")).encode()
        before, after = self._body
        body = before + number + after
        headers = [*self._headers, (b"x-request-id", number), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": refusals.OVERLOADED.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def request_id_of(sent: str | None) -> str:
    """The sender's number of its request if it is harmless and nobody's own number, else a new one."""
    if sent and _REQUEST_ID.fullmatch(sent) and scrub(sent) == sent:
        return sent
    return uuid.uuid4().hex
