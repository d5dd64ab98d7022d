"""Delivering a message to a bank over HTTPS: signed, sealed where the bank asks, the bank's signed receipt checked."""

from __future__ import annotations

import email.utils
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
import msgspec

from credit301.applications.outbox import Again, Delivered, Never, Outcome
from credit301.applications.records import Message
from credit301.errors import ConfigError
from credit301.partners.bank import Bank
from credit301.partners.keys import SEALED_BY
from credit301.partners.known import ConsentGone
from credit301.partners.messages import Receipt, ToBank
from credit301.partners.metrics import RelayMetrics
from credit301.settings import PREFIX
from credit301.signing.errors import SignatureRefused
from credit301.signing.message import HttpAnswer, HttpMessage
from credit301.signing.sealing import CONTENT_TYPE, seal
from credit301.signing.signer import Signer
from credit301.signing.tls import client_context
from credit301.signing.verifier import Verifier
from credit301.telemetry import Tracing

if TYPE_CHECKING:
    from credit301.settings import Settings

PATH = "/v1/messages"
JSON = "application/json"
_LARGEST_RECEIPT = 64 * 1024
_LONGEST_WAIT = 3600.0
_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_encode = msgspec.json.Encoder().encode
_RECEIPT = msgspec.json.Decoder(Receipt)
Prepare = Callable[[Bank, Message], Awaitable[ToBank]]


class HttpDelivery:
    """Delivers messages to one bank.

    Args:
        bank: the bank.
        address: base URL of its API.
        prepare: makes what the bank gets of a message.
        signer: signs with the platform's key.
        verifier: knows the banks' public keys.
        client: for requests to this bank only.
        metrics: count deliveries.
        tracing: makes a span of each attempt, which the bank may go on with; ``None``: nothing is traced.
    """

    def __init__(
        self,
        bank: Bank,
        address: str,
        prepare: Prepare,
        signer: Signer,
        verifier: Verifier,
        client: httpx.AsyncClient,
        metrics: RelayMetrics,
        tracing: Tracing | None = None,
    ) -> None:
        self._bank = bank
        self._url = f"{address}{PATH}"
        self._prepare = prepare
        self._signer = signer
        self._verifier = verifier
        self._client = client
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, message: Message) -> Outcome:
        """Try to deliver ``message``.

        A 2xx with a receipt that the bank signed is a delivery. 408, 425, 429, 5xx, and no answer are tried again, and
        so is a receipt that is not to be believed, which is counted for an alarm. Any other answer is a refusal.
        """
        began = time.monotonic()
        outcome = await self._traced(message)
        self._metrics.tried(self._bank.name, message.kind, outcome, time.monotonic() - began)
        return outcome

    async def _traced(self, message: Message) -> Outcome:
        if self._tracing is None:
            return await self._tried(message, {})
        trace: dict[str, str] = {}
        about = {"credit301.bank": self._bank.name, "credit301.message_id": str(message.id)}
        with self._tracing.calling(f"deliver {message.kind.value}", about, trace) as told:
            outcome = await self._tried(message, trace)
            told.attributes["credit301.outcome"] = type(outcome).__name__.lower()
            return outcome

    async def _tried(self, message: Message, trace: dict[str, str]) -> Outcome:
        try:
            body = _encode(await self._prepare(self._bank, message))
        except ConsentGone as error:
            return Never(error.message)
        headers = {"content-type": JSON}
        if self._bank.encryption != "none":
            body = seal(body, self._verifier.keys.sealing(self._bank.name, SEALED_BY[self._bank.encryption]))
            headers["content-type"] = CONTENT_TYPE
        request = HttpMessage("POST", self._url, headers, body)
        signed = msgspec.structs.replace(request, headers=headers | self._signer.sign(request, str(message.id)))
        try:
            answer = await self._client.post(self._url, content=body, headers=signed.headers | trace)
        except httpx.HTTPError as error:
            return Again(type(error).__name__)
        if answer.is_success:
            return self._receipt(message, signed, answer)
        said = f"{self._bank.name} answered {answer.status_code}"
        if answer.is_server_error or answer.status_code in _LATER:
            return Again(said, retry_after(answer.headers.get("retry-after", "")))
        return Never(f"{said}: {answer.text[:200]}")

    def _receipt(self, message: Message, request: HttpMessage, answer: httpx.Response) -> Outcome:
        if len(answer.content) > _LARGEST_RECEIPT:
            return self._distrusted("it is too large")
        told = HttpAnswer(answer.status_code, dict(answer.headers), answer.content, request)
        try:
            verified = self._verifier.verify_answer(told)
            receipt = _RECEIPT.decode(answer.content)
        except SignatureRefused as error:
            return self._distrusted(error.code)
        except msgspec.MsgspecError:
            return self._distrusted("it is no receipt")
        if verified.owner != self._bank.name:
            return self._distrusted("another bank signed it")
        if receipt.message_id != str(message.id):
            return self._distrusted("it is for another message")
        return Delivered()

    def _distrusted(self, why: str) -> Again:
        self._metrics.distrusted(self._bank.name)
        return Again(f"The receipt of {self._bank.name} is not believed: {why}")


def retry_after(text: str) -> float:
    """Seconds that a header ``Retry-After`` asks to wait, at most an hour; 0 where it says nothing of use."""
    if text.isdecimal():
        return min(float(text[:9]), _LONGEST_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((aware - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)


def client_for(bank: Bank, settings: Settings) -> httpx.AsyncClient:
    """A client with a pool of its own, so that one bank's slowness costs the others no connection.

    Raises:
        ConfigError: the bank wants mutual TLS, and the platform has no certificate.
    """
    limits = httpx.Limits(max_connections=bank.at_once, max_keepalive_connections=bank.at_once, keepalive_expiry=30)
    timeout = httpx.Timeout(bank.timeouts.answer, connect=bank.timeouts.connect, pool=bank.timeouts.answer)
    verify: ssl.SSLContext | bool = tls_context(bank, settings) if bank.mutual_tls or settings.partner_ca else True
    return httpx.AsyncClient(limits=limits, timeout=timeout, verify=verify, trust_env=False, follow_redirects=False)


def tls_context(bank: Bank, settings: Settings) -> ssl.SSLContext:
    """How connections to ``bank`` are made: whom to trust, and with mutual TLS who the platform is.

    Raises:
        ConfigError: a file is missing or not set.
    """
    if not bank.mutual_tls:
        return client_context(settings.partner_ca)
    if settings.partner_certificate is None or settings.partner_certificate_key is None:
        raise ConfigError(
            f"The bank {bank.name} wants mutual TLS, and the platform's certificate is not set.",
            hint=f"Set {PREFIX}PARTNER_CERTIFICATE and {PREFIX}PARTNER_CERTIFICATE_KEY.",
        )
    return client_context(settings.partner_ca, settings.partner_certificate, settings.partner_certificate_key)
