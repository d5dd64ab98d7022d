"""A simulated bank: a real HTTP service that verifies what it is sent, answers as late and fails as often as banks do.

It takes a package (and decides), an instruction (and pays), an acceptance (and pays) or a withdrawal, and says later,
by messages of its own that it signs, what became of it. Some of these it says twice. Messages that it is sent again
are known again: its books show what came how often, and that it paid once.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from credit301.partners.messages import FromBank, Receipt, ToBank
from credit301.signing.errors import SignatureRefused
from credit301.signing.keys import KeyRing, PrivateKey, PublicKey
from credit301.signing.message import HttpAnswer, HttpMessage
from credit301.signing.nonces import MemoryNonces
from credit301.signing.sealing import CONTENT_TYPE, open_sealed, seal
from credit301.signing.signer import Signer
from credit301.signing.verifier import Verifier
from simulator.bank_books import Books

log = logging.getLogger("credit301.simulator")
JSON = "application/json"
_ATTEMPTS = 60
_LONGEST_PAUSE = 5.0
_DECODER: msgspec.json.Decoder[ToBank] = msgspec.json.Decoder(ToBank)
_encode = msgspec.json.Encoder().encode


class Habits(msgspec.Struct, frozen=True):
    """How the bank behaves.

    ``median_ms`` and ``spread`` (of the logarithm) of the delay of a receipt; shares of requests that fail with 503,
    before anything was kept (``failures``) or after (``lost``), and whose connection drops (``drops``), after it was
    kept; of packages and instructions that it turns down; of its messages that it says twice; of loans that stop
    paying. ``answer_seconds``: how long it thinks before it says what became of something.
    """

    median_ms: float = 120.0
    spread: float = 0.6
    failures: float = 0.03
    lost: float = 0.02
    drops: float = 0.01
    refusals: float = 0.05
    duplicates: float = 0.1
    defaults: float = 0.05
    answer_seconds: float = 1.0

    @classmethod
    def perfect(cls) -> Habits:
        """At once, without any failure or refusal."""
        nothing = dict.fromkeys(("failures", "lost", "drops", "refusals", "duplicates", "defaults"), 0.0)
        return cls(median_ms=0.0, answer_seconds=0.0, **nothing)


class _Outage(msgspec.Struct):
    seconds: float


@dataclass
class SimulatedBank:
    """The state behind the routes.

    Args:
        name: the bank's, the platform's client of this name.
        key: it signs with, and opens what is sealed to it with.
        platform: the platform's public keys.
        inbox: URL that it sends its messages to.
        token: the bearer token of the endpoints of the simulation.
        habits: how it behaves.
        seed: of its lots.
        seals_to: the platform's key that its messages are sealed to; ``None``: they are not.
    """

    name: str
    key: PrivateKey
    platform: KeyRing
    inbox: str
    token: str
    habits: Habits = field(default_factory=Habits)
    seed: int = 301
    seals_to: PublicKey | None = None
    away_until: float = 0.0
    refused: int = 0

    def __post_init__(self) -> None:
        """Open the books and seed the lots."""
        self.lots = random.Random(self.seed)  # noqa: S311 - lots of a simulation
        self.books = Books(self.name, self.seed, self.habits.refusals, self.habits.defaults)
        self._signer = Signer(self.key)
        self._verifier = Verifier(self.platform, MemoryNonces())
        self._saying: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None
        self._turns: dict[UUID, asyncio.Lock] = {}
        self.told: list[tuple[str, int]] = []

    def app(self) -> Starlette:
        """The service."""
        return Starlette(
            routes=[
                Route("/healthz", self._health, methods=["GET"]),
                Route("/v1/messages", self._receive, methods=["POST"]),
                Route("/simulated/books", self._show, methods=["GET"]),
                Route("/simulated/month", self._month, methods=["POST"]),
                Route("/simulated/outage", self._outage, methods=["POST"]),
            ],
            lifespan=self._lifespan,
        )

    def say(self, message: FromBank) -> None:
        """Have ``message`` sent to the platform, and again until it is taken."""
        task = asyncio.create_task(self._in_turn(message))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
            self._client = client
            yield
            for task in self._saying:
                task.cancel()
            await asyncio.gather(*self._saying, return_exceptions=True)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _receive(self, request: Request) -> Response:
        body = await request.body()
        if asyncio.get_running_loop().time() < self.away_until:
            return JSONResponse({}, status_code=503, headers={"Retry-After": "1"})
        asked = HttpMessage(request.method, str(request.url), dict(request.headers), body)
        try:
            verified = await self._verifier.verify(asked)
            sealed = asked.headers.get("content-type") == CONTENT_TYPE
            message = _DECODER.decode(open_sealed(body, self.key) if sealed else body)
        except SignatureRefused as error:
            self.refused += 1
            return JSONResponse({"code": error.code}, status_code=401)
        except msgspec.MsgspecError as error:
            return JSONResponse({"code": "invalid", "message": str(error)}, status_code=422)
        if message.recipient != self.name or str(message.message_id) != verified.message_id:
            return JSONResponse({"code": "not_ours"}, status_code=422)
        return await self._answered(asked, message)

    async def _answered(self, asked: HttpMessage, message: ToBank) -> Response:
        habits, lot = self.habits, self.lots.random()
        if habits.median_ms:
            await asyncio.sleep(self.lots.lognormvariate(math.log(habits.median_ms / 1000), habits.spread))
        if lot < habits.failures:
            return JSONResponse({}, status_code=503)
        known, answers = self.books.take(message)
        for answer in answers:
            self.say(answer)
            if self.lots.random() < habits.duplicates:
                self.say(answer)
        if lot < habits.failures + habits.lost:
            return JSONResponse({}, status_code=503)
        if lot < habits.failures + habits.lost + habits.drops:
            return StreamingResponse(_nothing_more(), media_type=JSON)
        number = str(message.message_id)
        receipt = _encode(Receipt(message_id=number, received_at=datetime.now(UTC), duplicate=known))
        signed = self._signer.sign_answer(HttpAnswer(200, {"content-type": JSON}, receipt, asked), number)
        return Response(receipt, headers={"content-type": JSON} | signed)

    async def _in_turn(self, message: FromBank) -> None:
        # What a bank says of one application it says in order: after "closed" there are no instalments.
        async with self._turns.setdefault(message.application_id, asyncio.Lock()):
            await self._say(message)

    async def _say(self, message: FromBank) -> None:
        await asyncio.sleep(self.habits.answer_seconds * (0.5 + self.lots.random()))
        body, kind, pause = _encode(message), JSON, 0.1
        if self.seals_to is not None:
            body, kind = seal(body, self.seals_to), CONTENT_TYPE
        for _ in range(_ATTEMPTS):
            asked = HttpMessage("POST", self.inbox, {"content-type": kind}, body)
            # A signature is good once: each attempt has its own, and the message keeps its number.
            headers = asked.headers | self._signer.sign(asked, message.message_id)
            try:
                assert self._client is not None  # noqa: S101 - the service runs
                answer = await self._client.post(self.inbox, content=body, headers=headers)
            except httpx.HTTPError:
                status = 0
            else:
                status = answer.status_code
                self.told.append((message.message_id, status))
            # A conflict may be about the order in which messages come.
            if status and status < httpx.codes.INTERNAL_SERVER_ERROR and status not in {401, 409, 429}:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        log.warning("%s gave up message %s", self.name, message.message_id)

    async def _show(self, request: Request) -> Response:
        if not self._authorised(request):
            return JSONResponse({}, status_code=401)
        return JSONResponse({**self.books.shown(), "refused": self.refused, "told": self.told})

    async def _month(self, request: Request) -> Response:
        if not self._authorised(request):
            return JSONResponse({}, status_code=401)
        said = self.books.month()
        for message in said:
            self.say(message)
        return JSONResponse({"messages": len(said)})

    async def _outage(self, request: Request) -> Response:
        if not self._authorised(request):
            return JSONResponse({}, status_code=401)
        try:
            seconds = msgspec.json.decode(await request.body(), type=_Outage).seconds
        except msgspec.MsgspecError:
            return JSONResponse({}, status_code=422)
        self.away_until = asyncio.get_running_loop().time() + seconds
        return JSONResponse({"seconds": seconds})

    def _authorised(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {self.token}".encode())


async def _nothing_more() -> AsyncIterator[bytes]:
    """The beginning of an answer, after which the connection is gone."""
    yield b"{"
    raise ConnectionAbortedError
