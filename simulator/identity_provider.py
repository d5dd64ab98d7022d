"""A simulated provider that verifies telephones and recognises faces: a real HTTP service, its people made up.

It answers as late and fails as often as such services do, by lots that a seed draws. Who asks decides what it finds: a
telephone that ends in ``0000`` is registered to somebody else, a capture that begins with ``other-`` shows another
face, one with ``dark-`` nothing that can be recognised. The telephone can be looked at, as its owner would.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import random
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

REGISTERED_TO_ANOTHER = "0000"
ANOTHER_FACE, TOO_DARK = "other-", "dark-"


class Behaviour(msgspec.Struct, frozen=True):
    """How it answers.

    ``median_ms`` and ``spread`` (of the logarithm) of the delay; shares of calls that fail with 503 and that hang for
    ``hang_seconds``; shares of live faces that are taken for another's, and that are too dark; how long a code holds.
    """

    median_ms: float = 180.0
    spread: float = 0.6
    failures: float = 0.02
    hangs: float = 0.002
    hang_seconds: float = 30.0
    mismatches: float = 0.01
    dark: float = 0.03
    code_seconds: float = 120.0

    @classmethod
    def perfect(cls) -> Behaviour:
        """At once, and without any failure."""
        return cls(median_ms=0.0, failures=0.0, hangs=0.0, mismatches=0.0, dark=0.0)


class _PhoneCode(msgspec.Struct):
    phone: str
    name: str
    id_number: str


class _Confirmation(msgspec.Struct):
    reference: str
    code: str


class _Face(msgspec.Struct):
    capture: str
    name: str
    id_number: str


class _Phone(msgspec.Struct):
    phone: str


@dataclass
class _Sent:
    phone: str
    code: str
    until: float


@dataclass
class Provider:
    """The state behind the routes.

    Args:
        token: the bearer token that callers must have.
        behaviour: how it answers.
        seed: of its lots and codes.
    """

    token: str
    behaviour: Behaviour = field(default_factory=Behaviour)
    seed: int = 301
    sent: dict[str, _Sent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Seed the lots."""
        self.lots = random.Random(self.seed)  # noqa: S311 - lots of a simulation

    def app(self) -> Starlette:
        """The service."""
        return Starlette(
            routes=[
                Route("/healthz", self._health, methods=["GET"]),
                Route("/v1/phone-codes", self._send, methods=["POST"]),
                Route("/v1/phone-codes/confirmations", self._confirm, methods=["POST"]),
                Route("/v1/faces", self._compare, methods=["POST"]),
                Route("/simulated/phone", self._look_at_phone, methods=["POST"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _send(self, request: Request) -> Response:
        body = await self._admitted(request, _PhoneCode)
        if isinstance(body, Response):
            return body
        if body.phone.endswith(REGISTERED_TO_ANOTHER):
            return _said("fail", reason="registered_to_another")
        reference = f"phone-{self.lots.getrandbits(64):016x}"
        digest = hmac.digest(str(self.seed).encode(), reference.encode(), "sha256")
        code = f"{int.from_bytes(digest[:8], 'big') % 1_000_000:06d}"
        self.sent[reference] = _Sent(body.phone, code, time.monotonic() + self.behaviour.code_seconds)
        return _said("pending", reference)

    async def _confirm(self, request: Request) -> Response:
        body = await self._admitted(request, _Confirmation)
        if isinstance(body, Response):
            return body
        sent = self.sent.get(body.reference)
        if sent is None or time.monotonic() > sent.until:
            return _said("retry", body.reference, reason="expired_code")
        if body.code != sent.code:
            return _said("retry", body.reference, reason="wrong_code")
        return _said("pass", body.reference, score=1.0)

    async def _compare(self, request: Request) -> Response:
        body = await self._admitted(request, _Face)
        if isinstance(body, Response):
            return body
        reference = f"face-{self.lots.getrandbits(64):016x}"
        if body.capture.startswith(TOO_DARK) or self.lots.random() < self.behaviour.dark:
            return _said("retry", reference, reason="too_dark")
        if body.capture.startswith(ANOTHER_FACE) or self.lots.random() < self.behaviour.mismatches:
            return _said("fail", reference, score=self.lots.betavariate(4, 8), reason="another_face")
        return _said("pass", reference, score=self.lots.betavariate(60, 3))

    async def _look_at_phone(self, request: Request) -> Response:
        if not self._authorised(request):
            return JSONResponse({}, status_code=401)
        phone = msgspec.json.decode(await request.body(), type=_Phone).phone
        return JSONResponse({"codes": [sent.code for sent in self.sent.values() if sent.phone == phone]})

    async def _admitted(self, request: Request, kind: type[msgspec.Struct]) -> Any | Response:
        """The body of ``request`` after the delay that is due, or the answer that it gets instead."""
        if not self._authorised(request):
            return JSONResponse({}, status_code=401)
        try:
            body = msgspec.json.decode(await request.body(), type=kind)
        except msgspec.MsgspecError:
            return JSONResponse({}, status_code=422)
        if self.behaviour.median_ms:
            await asyncio.sleep(
                self.lots.lognormvariate(math.log(self.behaviour.median_ms / 1000), self.behaviour.spread)
            )
        lot = self.lots.random()
        if lot < self.behaviour.hangs:
            await asyncio.sleep(self.behaviour.hang_seconds)
        if lot < self.behaviour.hangs + self.behaviour.failures:
            return JSONResponse({}, status_code=503)
        return body

    def _authorised(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {self.token}".encode())


def _said(outcome: str, reference: str = "", *, score: float | None = None, reason: str = "") -> Response:
    return JSONResponse({"outcome": outcome, "reference": reference, "score": score, "reason": reason})
