"""A bank and the platform, as the tests of signing need them."""

from __future__ import annotations

import asyncio
from datetime import datetime

from credit301.signing.keys import Algorithm, KeyRing, PrivateKey, PublicKey
from credit301.signing.message import HttpAnswer, HttpMessage
from credit301.signing.nonces import MemoryNonces
from credit301.signing.signer import Signer
from credit301.signing.verifier import Verified, Verifier

NOW = 1_790_000_000
SIGNING = tuple(algorithm for algorithm in Algorithm if algorithm.signs)
SEALING = tuple(algorithm for algorithm in Algorithm if algorithm.seals)
# Made once: what is tested is not how keys are made.
KEYS = {algorithm: PrivateKey.generate(algorithm, f"bank-{algorithm.name.lower()}") for algorithm in Algorithm}
REQUEST = HttpMessage(
    "POST",
    "https://bank.example/v1/packages?mode=standard&n=1",
    {"content-type": "application/json", "user-agent": "credit301"},
    b'{"application":"A-1","amount":"200000.00"}',
)


def public(
    key: PrivateKey,
    owner: str = "bank",
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
) -> PublicKey:
    """The public half of ``key``."""
    return PublicKey.load(key.public_pem(), key.key_id, owner, valid_from, valid_until)


def signed(message: HttpMessage, key: PrivateKey, message_id: str = "m-1", at: float = NOW) -> HttpMessage:
    """``message`` with its signature."""
    headers = Signer(key, clock=lambda: at).sign(message, message_id)
    return HttpMessage(message.method, message.url, {**message.headers, **headers}, message.body)


def answered(request: HttpMessage, key: PrivateKey, body: bytes = b"{}", status: int = 200) -> HttpAnswer:
    """A signed answer to ``request``."""
    bare = HttpAnswer(status, {"content-type": "application/json"}, body, request)
    headers = Signer(key, clock=lambda: NOW).sign_answer(bare, "a-1")
    return HttpAnswer(status, {**bare.headers, **headers}, body, request)


def verifier(*keys: PublicKey, at: float = NOW) -> Verifier:
    """Who believes ``keys``, and has seen nothing yet."""
    return Verifier(KeyRing(keys), MemoryNonces(), clock=lambda: at)


def verified(message: HttpMessage, *keys: PublicKey, at: float = NOW) -> Verified:
    """What a verifier that has seen nothing says of ``message``."""
    return asyncio.run(verifier(*keys, at=at).verify(message))
