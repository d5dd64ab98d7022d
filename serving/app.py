"""The application: its parts put together, its routes, and its life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib.metadata import version as package_version
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from credit301.features.freshness import FreshnessBook
from credit301.features.windows.definition import window_sets
from credit301.governance.consent.desk import ConsentDesk
from credit301.governance.masking import scrub
from credit301.identity import uscc
from credit301.model import promotions, stewardship
from credit301.model.stewardship import Alias, Stewardship
from credit301.telemetry import Tracing
from credit301.workspace import Workspace
from serving import errors, openapi, pages, status
from serving.access import limits, token_api
from serving.access.acting import ClientTrail
from serving.access.desk import Access
from serving.access.scopes import PUBLIC, required
from serving.access.token_api import TokenApi
from serving.admission import Admission, Rules
from serving.applications import ApplicationApi
from serving.consents import ConsentApi
from serving.decide import Caller, DecisionFlow
from serving.events import EventApi, subjects_type
from serving.features import OnlineStore
from serving.guard import FrontDoor, Guard, Guarded, request_id_of
from serving.identity import IdentityApi
from serving.lane import Lane
from serving.lane_ledger import LaneLedger
from serving.metrics import Metrics
from serving.models import Follower, ModelHolder
from serving.operations import Operations, answer
from serving.partners import PLACE as PARTNERS
from serving.partners import SCHEMA, PartnerApi
from serving.permission import ConsentGate
from serving.requests import ApplicationReader
from serving.reviews import ReviewApi
from serving.rules import RulesFollower
from serving.shadow import Shadow
from serving.strategies import StrategyBook
from serving.traces import Decides, TracedDecisions

log = logging.getLogger("credit301.serving")
EXAMPLE_USCC = "91110000600037341L"
DECISIONS = "/v1/decisions"
OTHERS_AT_ONCE = 64
"""Requests other than decisions that a worker has in hand at once: they wait for a database, a disk or a provider."""


class Service:
    """One application's parts; :meth:`app` is what a server runs.

    Args:
        workspace: who is decided on, and where run files are.
        bundle: a bundle's directory to decide with; ``None`` follows the registry's champion.
        poll_interval: seconds between two looks at the registry.
        shared_metrics: whether several workers answer ``/metrics`` together.
        workers: how many of them share each client's rate.

    Raises:
        ConfigError: an address, the API keys or those of tokens are not set.
        ModelError: ``bundle`` does not verify or load.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        bundle: Path | None = None,
        poll_interval: float = 2.0,
        shared_metrics: bool = False,
        workers: int = 1,
    ) -> None:
        settings = workspace.settings
        key = workspace.entity.key
        self._metrics = Metrics(shared=shared_metrics)
        access = Access.of(workspace)
        self._tracing = Tracing.from_environment("credit301-serving")
        allowances = limits.allowances(access.clients, workers)
        self._guard = Guard(access.authenticator, allowances, self._metrics, key, self._tracing)
        rules = Rules(at_once=settings.serving_at_once, wait=settings.serving_wait_ms / 1000)
        self.door = Admission("decisions", rules, self._metrics)
        self._side_door = Admission("others", msgspec.structs.replace(rules, at_once=OTHERS_AT_ONCE), self._metrics)
        windows = window_sets(workspace)
        self._store = OnlineStore(settings.redis_address(), ConsentGate.of(workspace), windows=windows)
        self._tokens = TokenApi(access, self._guard.take, self._store, workspace.name, self._metrics.failed)
        example = EXAMPLE_USCC if workspace.entity.format == "uscc" else "E1"
        self._events = EventApi(workspace, self._store, self._metrics, example)
        self._audit = ClientTrail.of(workspace)
        self._workspace = workspace
        self._strategies = StrategyBook(workspace, self._metrics, poll_interval)
        self._rules = RulesFollower(workspace, self._metrics, poll_interval)
        hashed = self._store.gate.named
        self._models = ModelHolder(self._metrics, key, self._rules.rules.traffic, hashed.key)
        self._followers: dict[Alias, Follower] = {}
        if bundle is not None:
            self._models.use_directory(bundle)
        else:
            self._followers = {alias: self._follower(alias, poll_interval) for alias in stewardship.ALIASES}
        self._shadow = Shadow(self._audit, self._metrics)
        self._lane = Lane(self._rules.rules.accept_lane, hashed, LaneLedger.of(workspace), self._metrics)
        flow: Decides = DecisionFlow(
            workspace, self._store, self._models, self._strategies, self._audit, self._lane, self._shadow
        )
        self._flow = flow if self._tracing is None else TracedDecisions(flow, self._tracing)
        self._reader = ApplicationReader(key, example, subjects_type(windows, key))
        consents = ConsentDesk.of(workspace, self._audit)
        self._consents = ConsentApi(consents, key, example)
        self._applications = ApplicationApi(
            workspace, self._store, self._flow, consents, self._audit, self._metrics, example
        )
        store = self._applications.store
        self._identity = IdentityApi(workspace, self._applications.desk, store)
        self._reviews = ReviewApi(workspace, store, self._strategies, self._audit)
        # In the published document as on the way: whoever applies is known before anything is filled in.
        begin, decided = self._applications.beginning, self._applications.deciding
        self._endpoints = (*begin, *self._identity.endpoints, *decided, *self._reviews.endpoints)
        self._partners = PartnerApi(workspace, self._guard.take)
        self._operations = Operations(
            self._store,
            self._models,
            FreshnessBook.of(workspace),
            self._metrics,
            self._model_status,
            openapi.document(
                package_version("credit301"),
                f"{workspace.title.zh} {workspace.title.en}",
                self._reader.type,
                self._consents.types,
                self._events.types,
                self._endpoints,
                banks=True,
            ),
        )

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=self._routes(),
            exception_handlers={HTTPException: self._on_status, Exception: self._on_error},
            middleware=[Middleware(FrontDoor, path=DECISIONS, door=self.door, failed=self._metrics.failed)],
            lifespan=self._lifespan,
        )

    def _routes(self) -> list[BaseRoute]:
        route, public = self._guard.route, self._guard.public
        operations, door = self._operations, self._side_door
        static = "/docs/static"
        if required("GET", static) is not PUBLIC:
            raise AssertionError(f"{static} is not public")
        return [
            route("POST", DECISIONS, self._decide, self.door),
            *(
                route("POST", path, _told(handler, status_code), door)
                for path, (handler, status_code) in self._consents.routes.items()
            ),
            *(route("POST", path, _told(handler), door) for path, handler in self._events.routes.items()),
            *(route(item.method, item.path, _told(item.handler, item.status), door) for item in self._endpoints),
            public("POST", PARTNERS, self._partners.receive),
            public("GET", SCHEMA, self._partners.schema),
            # How the service is doing is told however much there is to do: these wait at no door.
            route("GET", "/v1/model", operations.model),
            route("GET", "/metrics", operations.prometheus),
            public("GET", "/healthz", operations.health),
            public("GET", "/readyz", operations.ready),
            public("POST", token_api.PATH, self._tokens.token),
            public("GET", token_api.JWKS_PATH, self._tokens.jwks),
            public("GET", "/openapi.json", operations.openapi),
            public("GET", "/docs/openapi.json", operations.openapi_for_page),
            public("GET", "/docs", pages.docs),
            Mount(static, StaticFiles(directory=str(swagger_ui_path))),
            public("GET", "/", pages.root),
        ]

    def _follower(self, alias: Alias, interval: float) -> Follower:
        workspace = self._workspace
        return Follower(
            self._models,
            self._metrics,
            mlflow_url=workspace.settings.mlflow_address(),
            name=f"{workspace.name}-ensemble",
            folder=workspace.paths.bundles,
            interval=interval,
            alias=alias,
            approved=partial(self._may_decide, alias),
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
            await self._identity.close()
            await self._partners.close()
            self._events.close()
            self._audit.close()
            if self._tracing is not None:
                await asyncio.to_thread(self._tracing.close)

    async def _decide(self, request: Request, request_id: str, tenant: str) -> Response:
        decision = await self._flow.decide(await self._reader.read(request), Caller(tenant, scrub(request_id)))
        self._metrics.decided(decision)
        log.info(
            "%s %s %s %s %s us",
            request_id,
            tenant,
            uscc.mask(decision.entity),
            decision.outcome.value,
            decision.timings_us.total,
            extra={
                "request_id": request_id,
                "client": tenant,
                "decision_id": decision.decision_id,
                "outcome": decision.outcome.value,
                "microseconds": decision.timings_us.total,
            },
        )
        return answer(decision, request_id)

    def _model_status(self) -> status.ModelStatus:
        champion = self._followers.get(stewardship.CHAMPION)
        return status.model_status(self._models, champion, self._rules.status, self._strategies.status)

    async def _on_status(self, request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        response = self._guard.refuse(errors.for_status(code), _number(request))
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    async def _on_error(self, request: Request, error: Exception) -> Response:
        # The server logs its trace after this answer.
        return self._guard.failure(error, _number(request))


def _told(handler: Callable[[Request, str], Awaitable[msgspec.Struct]], status_code: int = 200) -> Guarded:
    """``handler``, whose struct becomes the answer."""

    async def told(request: Request, request_id: str, tenant: str) -> Response:
        return answer(await handler(request, tenant), request_id, status_code)

    return told


def _number(request: Request) -> str:
    return request_id_of(request.headers.get("x-request-id"))
