"""Who applies: ports for phone-number verification and face recognition, and an adapter for a provider over HTTP.

A telephone number, an identity number and a capture of a face go to the provider and are forgotten; what is kept of
them are keyed hashes, the provider's reference and what it said.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, stop_never, wait_exponential_jitter

from credit301.errors import ConfigError

if TYPE_CHECKING:
    from credit301.settings import Settings

TOKEN = "identity_token"  # noqa: S105 - the secret's name
DEADLINE_SECONDS = 6.0
MOST_TRIALS = 5
"""Codes that may be tried for one that was sent, and faces for one application."""


class Kind(StrEnum):
    """What is verified."""

    PHONE = "phone"
    FACE = "face"


class Outcome(StrEnum):
    """What a provider says.

    ``pending``: a code was sent, and not confirmed yet. ``retry``: the applicant may try again (a wrong or expired
    code, a capture that is too dark). ``unavailable``: the provider does not answer; nothing is said of the applicant.
    """

    PENDING = "pending"
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    RETRY = "retry"
    UNAVAILABLE = "unavailable"


class Person(msgspec.Struct, frozen=True):
    """Whom the provider shall recognise; never kept, never logged."""

    name: str
    id_number: str

    def __repr__(self) -> str:
        return "Person(...)"


class Check(msgspec.Struct, frozen=True):
    """An answer: ``score`` where there is one (0 to 1), the provider's ``reference``, ``reason`` as a stable word."""

    outcome: Outcome
    reference: str = ""
    score: float | None = None
    reason: str = ""


class PhoneVerification(Protocol):
    """Whether a telephone is in the applicant's hand, and registered to them."""

    async def send(self, person: Person, phone: str) -> Check:
        """Send a code to ``phone``: pending with a reference, or fail where the number is another person's."""

    async def confirm(self, reference: str, code: str) -> Check:
        """Whether ``code`` is the one that was sent."""


class FaceRecognition(Protocol):
    """Whether the face before the camera is alive, and that of the identity document."""

    async def compare(self, person: Person, capture: str) -> Check:
        """Compare ``capture``, the token of what the provider's own program took on the applicant's device."""


class HttpIdentityProvider:
    """A provider of both over HTTP. What fails on the way is tried again until the deadline, then ``unavailable``.

    Args:
        address: base URL.
        token: bearer token.
        deadline: seconds for one call with all its trials.
    """

    def __init__(self, address: str, token: str, deadline: float) -> None:
        self._deadline = deadline
        limits = httpx.Limits(max_connections=32)
        self._client = httpx.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=deadline / 2,
            trust_env=False,
            limits=limits,
        )

    @classmethod
    def of(cls, settings: Settings) -> HttpIdentityProvider:
        """The provider that the settings name.

        Raises:
            ConfigError: outside the embedded profile, where ``CREDIT301_IDENTITY_URL`` or its token is not set.
        """
        return cls(settings.identity_address(), settings.secret(TOKEN), DEADLINE_SECONDS)

    async def send(self, person: Person, phone: str) -> Check:
        """As :class:`PhoneVerification`."""
        return await self._ask("/v1/phone-codes", {"phone": phone, **msgspec.to_builtins(person)})

    async def confirm(self, reference: str, code: str) -> Check:
        """As :class:`PhoneVerification`."""
        return await self._ask("/v1/phone-codes/confirmations", {"reference": reference, "code": code})

    async def compare(self, person: Person, capture: str) -> Check:
        """As :class:`FaceRecognition`."""
        return await self._ask("/v1/faces", {"capture": capture, **msgspec.to_builtins(person)})

    async def _ask(self, path: str, body: dict[str, Any]) -> Check:
        trying = AsyncRetrying(
            retry=retry_if_exception_type((httpx.HTTPError, _Unwell)),
            wait=wait_exponential_jitter(initial=0.1, max=1.0),
            stop=stop_never,
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._deadline):
                return await trying(self._once, path, body)
        except TimeoutError:
            return Check(Outcome.UNAVAILABLE, reason="no_answer")

    async def _once(self, path: str, body: dict[str, Any]) -> Check:
        response = await self._client.post(path, json=body)
        if response.status_code in {401, 403}:
            raise ConfigError("The identity provider refuses the token.", hint="Set CREDIT301_IDENTITY_TOKEN.")
        if not response.is_success:
            raise _Unwell(str(response.status_code))
        try:
            return msgspec.json.decode(response.content, type=Check)
        except msgspec.MsgspecError as error:
            raise _Unwell("an answer that is none") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class _Unwell(Exception):
    """The provider answers, and not with what was asked for."""
