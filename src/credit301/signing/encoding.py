"""Keys of the libraries: which algorithm is theirs, how they are read and written, how their signatures look."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from credit301.signing.errors import KeyUnusable
from credit301.signing.sm2 import CURVE_OID, Sm2Key

_BASE64 = re.compile(rb"-----BEGIN [^-]+-----([A-Za-z0-9+/=\s]+)-----END")
# Of r and of s: signatures on curves are written as both, without DER (RFC 9421, 3.3.4).
_COORDINATE = 32


class Algorithm(StrEnum):
    """What a key does, by its name in RFC 9421's registry where it has one."""

    ED25519 = "ed25519"
    P256 = "ecdsa-p256-sha256"
    SM2 = "sm2-sm3"
    X25519 = "x25519"

    @property
    def signs(self) -> bool:
        """Whether messages are signed with it."""
        return self is not Algorithm.X25519

    @property
    def seals(self) -> bool:
        """Whether messages are encrypted to it."""
        return self is not Algorithm.ED25519


def thumbprint(pem: str) -> str:
    """The beginning of the SHA-256 of a public key in DER: 16 hexadecimal digits."""
    return hashlib.sha256(_der(pem.encode())).hexdigest()[:16]


def _der(pem: bytes) -> bytes:
    try:
        return b"".join(base64.b64decode(block) for block in _BASE64.findall(pem))
    except ValueError:
        return b""


def load(pem: bytes, *, private: bool) -> tuple[Algorithm, Any]:
    """The key in ``pem``, and what it does.

    Raises:
        KeyUnusable: it holds no such key of a known algorithm.
    """
    if CURVE_OID in _der(pem):
        return Algorithm.SM2, Sm2Key.load(pem, private=private)
    try:
        native = serialization.load_pem_private_key(pem, None) if private else serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        kind = "private" if private else "public"
        raise KeyUnusable(f"This is no {kind} key in PEM form without a password.") from error
    match native:
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            return Algorithm.ED25519, native
        case x25519.X25519PrivateKey() | x25519.X25519PublicKey():
            return Algorithm.X25519, native
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey() if isinstance(native.curve, ec.SECP256R1):
            return Algorithm.P256, native
    raise KeyUnusable(
        f"A key of this kind is not used here: {type(native).__name__}.",
        hint=f"Known: {', '.join(item.value for item in Algorithm)}.",
    )


def public_pem(native: Any) -> str:
    """A public key as SubjectPublicKeyInfo; of an SM2 pair its public half."""
    if isinstance(native, Sm2Key):
        return native.public_pem().decode("ascii")
    encoded: bytes = native.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode("ascii")


def without_der(signature: bytes) -> bytes:
    """A signature in DER as *r* and *s*, 32 bytes each."""
    r, s = decode_dss_signature(signature)
    return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")


def with_der(signature: bytes) -> bytes | None:
    """The other way; none where the length is another."""
    if len(signature) != 2 * _COORDINATE:
        return None
    halves = signature[:_COORDINATE], signature[_COORDINATE:]
    return encode_dss_signature(*(int.from_bytes(half, "big") for half in halves))


def holds(check: Callable[[], object]) -> bool:
    """Whether ``check`` of `cryptography` finds a signature valid."""
    try:
        check()
    except InvalidSignature:
        return False
    return True
