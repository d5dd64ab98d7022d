"""The application: routes, keys, errors and metrics around the decision flow."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from http import HTTPStatus
from importlib.metadata import version as package_version
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from credit301.errors import Credit301Error
from credit301.features.freshness import FreshnessBook
from credit301.features.windows.definition import window_sets
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.desk import ConsentDesk
from credit301.governance.masking import scrub
from credit301.identity import uscc
from credit301.model import promotions, stewardship
from credit301.model.stewardship import Alias, Stewardship
from credit301.workspace import Workspace
from serving import errors, openapi, status
from serving.applications import ApplicationApi
from serving.auth import HEADER, ApiKeys
from serving.consents import ConsentApi
from serving.decide import Caller, DecisionFlow
from serving.errors import ApiError, Problem
from serving.events import EventApi, subjects_type
from serving.features import OnlineStore
from serving.lane import Lane
from serving.lane_ledger import LaneLedger
from serving.metrics import Metrics
from serving.models import Follower, ModelHolder
from serving.permission import ConsentGate
from serving.requests import ApplicationReader
from serving.rules import RulesFollower
from serving.shadow import Shadow
from serving.strategies import StrategyBook
from serving.wire import Command

log = logging.getLogger("credit301.serving")
Handler = Callable[[Request], Awaitable[Response]]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
EXAMPLE_USCC = "91110000600037341L"
_PAGE = """<!DOCTYPE html>
<html lang="zh-CN">
<head><meta charset="utf-8"><title>Credit301 API</title>
<link rel="stylesheet" href="/docs/static/swagger-ui.css"><link rel="icon" href="/docs/static/favicon-32x32.png"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/static/swagger-ui-bundle.js" charset="utf-8"></script>
<script>SwaggerUIBundle({url: "/docs/openapi.json", dom_id: "#swagger-ui", validatorUrl: null, tryItOutEnabled: true,
  persistAuthorization: false, presets: [SwaggerUIBundle.presets.apis]});</script></body>
</html>"""


class Service:
    """One application's parts; :meth:`app` is what a server runs.

    Args:
        workspace: who is decided on, and where run files are.
        bundle: a bundle's directory to decide with; ``None`` follows the registry's champion.
        poll_interval: seconds between two looks at the registry.
        shared_metrics: whether several workers answer ``/metrics`` together.

    Raises:
        ConfigError: an address or the API keys are not set.
        ModelError: ``bundle`` does not verify or load.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        bundle: Path | None = None,
        poll_interval: float = 2.0,
        shared_metrics: bool = False,
    ) -> None:
        settings = workspace.settings
        key = workspace.entity.key
        self._key = key
        self._keys = ApiKeys.from_settings(settings)
        self._metrics = Metrics(shared=shared_metrics)
        windows = window_sets(workspace)
        self._store = OnlineStore(settings.redis_address(), ConsentGate.of(workspace), windows=windows)
        self._events = EventApi(workspace, self._store, self._metrics)
        self._freshness = FreshnessBook.of(workspace)
        self._audit = AuditWriter.of(workspace)
        self._workspace = workspace
        self._strategies = StrategyBook(workspace, self._metrics, poll_interval)
        self._rules = RulesFollower(workspace, self._metrics, poll_interval)
        hashed = self._store.gate.named
        self._models = ModelHolder(self._metrics, key, self._rules.rules.traffic, hashed.key)
        self._followers: dict[Alias, Follower] = {}
        if bundle is not None:
            self._models.use_directory(bundle)
        else:
            self._followers = {
                alias: Follower(
                    self._models,
                    self._metrics,
                    mlflow_url=settings.mlflow_address(),
                    name=f"{workspace.name}-ensemble",
                    folder=workspace.paths.bundles,
                    interval=poll_interval,
                    alias=alias,
                    approved=partial(self._may_decide, alias),
                )
                for alias in stewardship.ALIASES
            }
        self._shadow = Shadow(self._audit, self._metrics)
        self._lane = Lane(self._rules.rules.accept_lane, hashed, LaneLedger.of(workspace), self._metrics)
        self._flow = DecisionFlow(
            workspace, self._store, self._models, self._strategies, self._audit, self._lane, self._shadow
        )
        example = EXAMPLE_USCC if workspace.entity.format == "uscc" else "E1"
        self._reader = ApplicationReader(key, example, subjects_type(windows, key))
        consents = ConsentDesk.of(workspace, self._audit)
        self._consents = ConsentApi(consents, key, example)
        self._applications = ApplicationApi(
            workspace, self._store, self._flow, consents, self._audit, self._metrics, example
        )
        self._encode = msgspec.json.Encoder().encode
        title = f"{workspace.title.zh} {workspace.title.en}"
        document = openapi.document(
            package_version("credit301"),
            title,
            self._reader.type,
            self._consents.types,
            self._events.types,
            self._applications.endpoints,
        )
        self._document = self._encode(document)
        self._page_document = self._encode(openapi.for_page(document))

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/decisions", self._guard(self._decide), methods=["POST"]),
                *(
                    Route(path, self._guard(self._consent(handler, status_code)), methods=["POST"])
                    for path, (handler, status_code) in self._consents.routes.items()
                ),
                *(
                    Route(path, self._guard(self._consent(handler, 200)), methods=["POST"])
                    for path, handler in self._events.routes.items()
                ),
                *(
                    Route(item.path, self._guard(self._consent(item.handler, item.status)), methods=[item.method])
                    for item in self._applications.endpoints
                ),
                Route("/v1/model", self._guard(self._model), methods=["GET"]),
                Route("/healthz", self._health, methods=["GET"]),
                Route("/readyz", self._ready, methods=["GET"]),
                Route("/metrics", self._prometheus, methods=["GET"]),
                Route("/openapi.json", self._openapi, methods=["GET"]),
                Route("/docs/openapi.json", self._openapi_for_page, methods=["GET"]),
                Route("/docs", self._docs, methods=["GET"]),
                Mount("/docs/static", StaticFiles(directory=str(swagger_ui_path))),
                Route("/", self._root, methods=["GET"]),
            ],
            exception_handlers={HTTPException: self._on_status, Exception: self._on_error},
            lifespan=self._lifespan,
        )

    def _may_decide(self, alias: Alias, number: str, digest: str) -> bool:
        """Whether the version has the approval that the rules in use want of ``alias``."""
        return not self._rules.rules.needs_approval(alias) or promotions.is_approved(self._workspace, number, digest)

    def _apply(self, rules: Stewardship) -> None:
        self._models.traffic = rules.traffic
        self._lane.rules = rules.accept_lane

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        beside = [asyncio.create_task(follower.run()) for follower in self._followers.values()]
        beside.append(asyncio.create_task(self._shadow.run()))
        beside.append(asyncio.create_task(self._rules.run(self._apply)))
        beside.append(asyncio.create_task(self._strategies.run()))
        beside.append(asyncio.create_task(self._applications.run()))
        try:
            yield
        finally:
            await self._shadow.finish()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._store.close()
            await self._applications.close()
            self._events.close()
            self._audit.close()

    def _guard(self, handler: Callable[[Request, str, str], Awaitable[Response]]) -> Handler:
        """``handler`` behind the API key, every foreseen error told in the one shape and counted."""

        async def guarded(request: Request) -> Response:
            request_id = _request_id(request)
            caller = self._keys.name_of(request.headers.get(HEADER))
            if caller is None:
                return self._refuse(errors.UNAUTHORISED, request_id)
            try:
                return await handler(request, request_id, caller)
            except (ApiError, Credit301Error) as error:
                problem = errors.of(error, self._key)
                if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    log.warning("%s %s: %s", request_id, problem.code, error)
                return self._refuse(problem, request_id)

        return guarded

    def _refuse(self, problem: Problem, request_id: str) -> Response:
        self._metrics.failed(problem.code)
        return errors.response(problem, request_id)

    async def _decide(self, request: Request, request_id: str, caller: str) -> Response:
        decision = await self._flow.decide(await self._reader.read(request), Caller(caller, scrub(request_id)))
        self._metrics.decided(decision)
        log.info(
            "%s %s %s %s %s us",
            request_id,
            caller,
            uscc.mask(decision.entity),
            decision.outcome.value,
            decision.timings_us.total,
        )
        return self._json(decision, request_id)

    def _consent(
        self, handler: Callable[[Request, str], Awaitable[msgspec.Struct]], status_code: int
    ) -> Callable[[Request, str, str], Awaitable[Response]]:
        async def answer(request: Request, request_id: str, caller: str) -> Response:
            return self._json(await handler(request, caller), request_id, status_code)

        return answer

    async def _model(self, _: Request, request_id: str, __: str) -> Response:
        champion = self._followers.get(stewardship.CHAMPION)
        return self._json(
            status.model_status(self._models, champion, self._rules.status, self._strategies.status), request_id
        )

    async def _health(self, request: Request) -> Response:
        return self._json(status.Health("ok"), _request_id(request))

    async def _ready(self, request: Request) -> Response:
        answer = await status.readiness(self._store, self._models)
        return self._json(answer, _request_id(request), status_code=200 if answer.ready else 503)

    async def _prometheus(self, _: Request) -> Response:
        with contextlib.suppress(Credit301Error, TimeoutError):
            # A store that does not answer is told by /readyz; the other metrics are wanted all the more then.
            command = Command.of(self._freshness.key, b"HGETALL", self._freshness.key)
            self._metrics.fresh(self._freshness.read((await self._store.send([command]))[0]))
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, _: Request) -> Response:
        return Response(self._document, media_type="application/json")

    async def _openapi_for_page(self, _: Request) -> Response:
        return Response(self._page_document, media_type="application/json")

    async def _docs(self, _: Request) -> Response:
        return HTMLResponse(_PAGE)

    async def _root(self, _: Request) -> Response:
        return RedirectResponse("/docs")

    async def _on_status(self, request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        response = self._refuse(errors.for_status(code), _request_id(request))
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    async def _on_error(self, request: Request, error: Exception) -> Response:
        # The server logs its trace after this answer.
        return self._refuse(errors.of(error, self._key), _request_id(request))

    def _json(self, body: msgspec.Struct, request_id: str, status_code: int = 200) -> Response:
        return Response(
            self._encode(body),
            status_code=status_code,
            media_type="application/json",
            headers={"X-Request-ID": request_id},
        )


def _request_id(request: Request) -> str:
    sent = request.headers.get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
