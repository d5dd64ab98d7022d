"""The exchange: a city's records over HTTP, as a government data exchange and a bank would serve them."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from credit301.errors import SourceError
from simulator.city import clock_of, read_manifest
from simulator.faults import Faults, Transient
from simulator.pages import START, Page, cursor_text, read_cursor, serve
from simulator.schema import OWNERS
from simulator.store import Stream

if TYPE_CHECKING:
    from starlette.requests import Request

DEFAULT_LIMIT = 5_000
LARGEST_LIMIT = 10_000
RETRY_AFTER_SECONDS = 1

_MESSAGES: dict[str, tuple[int, str, str]] = {
    "unauthorized": (401, "缺少访问令牌或令牌不正确。", "The access token is missing or wrong."),
    "unknown_source": (404, "没有这个数据源。", "There is no such source."),
    "bad_limit": (
        400, f"limit 应为 1 到 {LARGEST_LIMIT} 的整数。", f"limit must be a whole number from 1 to {LARGEST_LIMIT}."
    ),
    "bad_cursor": (
        400, "游标不属于本数据源，请从头拉取。", "The cursor does not belong to this source: pull it from the start."
    ),
    "bad_clock": (
        400, "as_of 应为 ISO 时间，例如 2026-09-30T00:00:00。", "as_of must be an ISO time such as 2026-09-30T00:00:00."
    ),
    "too_many_requests": (429, "请求过于频繁，请稍后再试。", "Too many requests, try again later."),
    "internal": (500, "交换平台内部错误，请重试。", "The exchange failed, try again."),
    "timeout": (504, "上游超时，请重试。", "An upstream system timed out, try again."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tokens:
    """Bearer tokens of the government, of the bank with its platform, and of whoever may move the clock."""

    government: str
    bank: str
    admin: str


@dataclass(slots=True)
class Exchange:
    """The state behind the routes: streams, clock, and how often each request failed in a row.

    `as_of` (local time) holds the clock elsewhere than where the city's own is.
    """

    directory: Path
    tokens: Tokens
    faults: Faults = field(default_factory=Faults)
    as_of: datetime | None = None
    clock: int = 0
    city: str = ""
    days: int = 0
    streams: dict[str, Stream] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the city. Raises NotFound where there is none."""
        manifest = read_manifest(self.directory)
        self.city = manifest["fingerprint"]
        self.clock = _seconds(self.as_of or clock_of(self.directory))
        self.days = round(manifest["config"]["months"] * 30.44)
        self.streams = {name: Stream(self.directory / f"{name}.parquet") for names in OWNERS.values() for name in names}

    @property
    def served_through(self) -> str:
        """The clock as ISO time."""
        return str(np.datetime64(self.clock, "s"))

    async def records(self, request: Request) -> Response:
        """One page of a source, or one of the faults that are due."""
        owner = request.path_params["owner"]
        token = self.tokens.government if owner == "government" else self.tokens.bank
        if not _authorised(request, token):
            return _error("unauthorized")
        source = request.path_params["source"]
        if source not in OWNERS.get(owner, ()):
            return _error("unknown_source")
        cursor = request.query_params.get("cursor", "")
        limit = request.query_params.get("limit", str(DEFAULT_LIMIT))
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= LARGEST_LIMIT:
            return _error("bad_limit")
        try:
            place = read_cursor(cursor, source, self.city) if cursor else START
        except SourceError:
            return _error("bad_cursor")
        fault = self._fault(f"{source}?{cursor}&{limit}")
        if fault is Transient.TIMEOUT:
            await _hold(request, self.faults.hold_seconds)
        if fault is not None:
            return _FAULTS[fault]()
        stream, clock = self.streams[source], self.clock
        page = await run_in_threadpool(serve, source, stream, self.faults, self.days, place, int(limit), clock)
        return Response(self._body(source, page), media_type="application/json")

    def _body(self, source: str, page: Page) -> str:
        cursor = cursor_text(page.place, source, self.city)
        more = "true" if page.has_more else "false"
        records = ",".join(page.records)
        return (
            f'{{"records":[{records}],"next_cursor":"{cursor}","has_more":{more},'
            f'"served_through":"{self.served_through}"}}'
        )

    def _fault(self, request: str) -> Transient | None:
        attempt = self.failures.get(request, 0)
        fault = self.faults.transient(request, attempt)
        if fault is None:
            self.failures.pop(request, None)
        else:
            self.failures[request] = attempt + 1
        return fault

    async def set_clock(self, request: Request) -> Response:
        """Move the clock: POST {"as_of": "<ISO time>"} with the admin token."""
        if not _authorised(request, self.tokens.admin):
            return _error("unauthorized")
        try:
            wanted = msgspec.json.decode(await request.body(), type=dict[str, datetime])["as_of"]
            self.clock = _seconds(wanted)
        except (msgspec.DecodeError, KeyError, UnicodeDecodeError):
            return _error("bad_clock")
        return _json({"served_through": self.served_through})

    async def health(self, _: Request) -> Response:
        """Whether the exchange serves, and until when."""
        return _json({"status": "ok", "city": self.city, "served_through": self.served_through})


def create_app(
    directory: Path, tokens: Tokens, faults: Faults | None = None, as_of: datetime | None = None
) -> Starlette:
    """The ASGI application that serves the city in `directory`.

    Routes: GET /{government|bank|platform}/v1/{source}/records, POST /admin/clock, GET /healthz. Raises NotFound
    where there is no city.
    """
    exchange = Exchange(directory, tokens, faults or Faults(), as_of)
    return Starlette(
        routes=[
            Route("/{owner:str}/v1/{source:str}/records", exchange.records, methods=["GET"]),
            Route("/admin/clock", exchange.set_clock, methods=["POST"]),
            Route("/healthz", exchange.health, methods=["GET"]),
        ]
    )


def _authorised(request: Request, token: str) -> bool:
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def _seconds(moment: datetime) -> int:
    """Seconds since 1970-01-01 on the city's own clock: a time zone, if given, is dropped."""
    return int(np.datetime64(moment.replace(tzinfo=None), "s").astype(np.int64))


async def _hold(request: Request, seconds: float) -> None:
    """Keep a client waiting until it goes away, at most `seconds`."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds)
    except TimeoutError:
        return


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def _error(code: str, headers: dict[str, str] | None = None) -> Response:
    status, zh, en = _MESSAGES[code]
    return _json({"error": {"code": code, "message": {"zh": zh, "en": en}}}, status, headers)


def _garbage() -> Response:
    # What a proxy in between makes of an answer: cut off, and still called JSON.
    return Response('{"records":[{"uscc":"91420', media_type="application/json")


_FAULTS = {
    Transient.TOO_MANY: lambda: _error("too_many_requests", {"Retry-After": str(RETRY_AFTER_SECONDS)}),
    Transient.BROKEN: lambda: _error("internal"),
    Transient.TIMEOUT: lambda: _error("timeout"),
    Transient.GARBAGE: _garbage,
}
