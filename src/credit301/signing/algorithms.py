"""Our keys and digests in the form in which the signing library (`http-message-signatures`) takes them."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, ClassVar

from cryptography.hazmat.primitives import hashes
from http_message_signatures import HTTPSignatureAlgorithm, InvalidSignature
from http_message_signatures.digests import ContentDigest

from credit301.signing.keys import Algorithm, PrivateKey, PublicKey


class Sm3:
    """SM3 (GB/T 32905) as :mod:`hashlib` would have it, whose own is missing where OpenSSL was built without."""

    digest_size = 32

    def __init__(self, data: bytes = b"") -> None:
        self._hash = hashes.Hash(hashes.SM3())
        self._hash.update(data)

    def digest(self) -> bytes:
        """The digest of what was given."""
        return self._hash.copy().finalize()


class Digest(ContentDigest):
    """Content-Digest (RFC 9530) with SHA-256, SHA-512 and SM3; every digest that a message names must hold."""

    _hashers: ClassVar[dict[str, Any]] = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512, "sm3": Sm3}


class Sm3Digest(Digest):
    """The same; what is sent is digested by SM3."""

    algorithm = "sm3"


class _OfKey(HTTPSignatureAlgorithm):
    """Signs by a key of :mod:`credit301.signing.keys`, which knows its algorithm itself."""

    def __init__(self, public_key: PublicKey | None = None, private_key: PrivateKey | None = None) -> None:
        self._public, self._private = public_key, private_key

    def sign(self, message: bytes) -> bytes:
        assert self._private is not None  # noqa: S101 - the library gives it to signers
        return self._private.sign(message)

    def verify(self, signature: bytes, message: bytes) -> None:
        assert self._public is not None  # noqa: S101 - the library gives it to verifiers
        if not self._public.verifies(signature, message):
            raise InvalidSignature("The signature is not of this message and key")


@cache
def library_algorithm(algorithm: Algorithm) -> type[HTTPSignatureAlgorithm]:
    """The class by which the library signs and verifies with keys of ``algorithm``."""
    return type(f"{algorithm.name}OfKey", (_OfKey,), {"algorithm_id": algorithm.value})


def digest_for(algorithm: Algorithm) -> type[Digest]:
    """Who signs by SM2 digests by SM3; others by SHA-256."""
    return Sm3Digest if algorithm is Algorithm.SM2 else Digest
