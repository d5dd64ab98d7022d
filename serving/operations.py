"""What the service says of itself: alive, ready, the model in use, the metrics, the published document."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from credit301.errors import Credit301Error
from credit301.features.freshness import FreshnessBook
from serving import openapi, status
from serving.features import OnlineStore
from serving.guard import request_id_of
from serving.metrics import Metrics
from serving.models import ModelHolder
from serving.status import ModelStatus
from serving.wire import Command

_JSON = "application/json"
_encode = msgspec.json.Encoder().encode


class Operations:
    """The handlers of these routes.

    Args:
        store: the online store.
        models: holds the model in use.
        freshness: how old each view of the store is.
        metrics: what is counted.
        model_status: says what decides now.
        document: the published one.
    """

    def __init__(
        self,
        store: OnlineStore,
        models: ModelHolder,
        freshness: FreshnessBook,
        metrics: Metrics,
        model_status: Callable[[], ModelStatus],
        document: openapi.Json,
    ) -> None:
        self._store = store
        self._models = models
        self._freshness = freshness
        self._metrics = metrics
        self._model_status = model_status
        self._document = _encode(document)
        self._page_document = _encode(openapi.for_page(document))

    async def model(self, _: Request, request_id: str, __: str) -> Response:
        """The model and the strategies in use."""
        return answer(self._model_status(), request_id)

    async def health(self, request: Request) -> Response:
        """That the process is alive."""
        return answer(status.Health("ok"), _number(request))

    async def ready(self, request: Request) -> Response:
        """Whether it can decide."""
        found = await status.readiness(self._store, self._models)
        return answer(found, _number(request), 200 if found.ready else 503)

    async def prometheus(self, _: Request, request_id: str, __: str) -> Response:
        """The metrics."""
        with contextlib.suppress(Credit301Error, TimeoutError):
            # A store that does not answer is told by /readyz; the other metrics are wanted all the more then.
            command = Command.of(self._freshness.key, b"HGETALL", self._freshness.key)
            self._metrics.fresh(self._freshness.read((await self._store.send([command]))[0]))
        return Response(
            self._metrics.text(),
            media_type="text/plain; version=0.0.4; charset=utf-8",
            headers={"X-Request-ID": request_id},
        )

    async def openapi(self, _: Request) -> Response:
        """The document."""
        return Response(self._document, media_type=_JSON)

    async def openapi_for_page(self, _: Request) -> Response:
        """The document as the page reads it."""
        return Response(self._page_document, media_type=_JSON)


def answer(body: msgspec.Struct, request_id: str, status_code: int = 200) -> Response:
    """``body`` as JSON; nobody on the way keeps it."""
    return Response(
        _encode(body),
        status_code=status_code,
        media_type=_JSON,
        headers={"X-Request-ID": request_id, "Cache-Control": "no-store"},
    )


def _number(request: Request) -> str:
    return request_id_of(request.headers.get("x-request-id"))
