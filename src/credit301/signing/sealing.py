"""Bodies that only the receiver can read: JWE (RFC 7516) in its compact form.

For x25519 and P-256 keys ``ECDH-ES+A256KW`` with ``A256GCM``. For SM2 keys the same form with two algorithms that JOSE
does not have: ``SM2`` encrypts the content key (in the ASN.1 form of GM/T 0009), ``SM4-GCM`` the content.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from credit301.signing.errors import KeyUnusable, SignatureRefused, refused
from credit301.signing.keys import Algorithm, PrivateKey, PublicKey

CONTENT_TYPE = "application/jose"
_AGREED = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM"}
_NATIONAL = {"alg": "SM2", "enc": "SM4-GCM"}
_KEY_BYTES, _IV_BYTES, _TAG_BYTES = 16, 12, 16
_PARTS = 5


class _Limits(jwe.JWERegistry):
    """Only what is used here; a package of an application is larger than the library's 64 KiB."""

    max_ciphertext_length = 16 * 2**20


_REGISTRY = _Limits(algorithms=list(_AGREED.values()))


def seal(body: bytes, to: PublicKey) -> bytes:
    """``body``, so that only the owner of ``to`` can read it.

    Raises:
        KeyUnusable: the key only signs.
    """
    if not to.algorithm.seals:
        raise _cannot_seal(to.key_id)
    if to.algorithm is Algorithm.SM2:
        return _sealed_by_sm(body, to)
    protected = {**_AGREED, "kid": to.key_id}
    return jwe.encrypt_compact(protected, body, _jwk(to), registry=_REGISTRY).encode("ascii")


def open_sealed(body: bytes, key: PrivateKey) -> bytes:
    """What was sealed to ``key``. The key says by which algorithms, not the message.

    Raises:
        KeyUnusable: the key only signs.
        SignatureRefused: it is not sealed to this key, or is damaged: ``unsealable``.
    """
    if not key.algorithm.seals:
        raise _cannot_seal(key.key_id)
    if key.algorithm is Algorithm.SM2:
        return _opened_by_sm(body, key)
    try:
        opened = jwe.decrypt_compact(body, _jwk(key), registry=_REGISTRY)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _unsealable(key.key_id) from error
    if opened.plaintext is None:
        raise _unsealable(key.key_id)
    return opened.plaintext


def open_by_any(body: bytes, keys: Sequence[PrivateKey]) -> bytes:
    """What was sealed to one of ``keys``: two while one is changed for the other.

    Raises:
        ValueError: there is no key.
        KeyUnusable: one of them only signs.
        SignatureRefused: as :func:`open_sealed`, of the first of them.
    """
    refusals = []
    for key in keys:
        try:
            return open_sealed(body, key)
        except SignatureRefused as error:
            refusals.append(error)
    if not refusals:
        raise ValueError("there is no key to open it with")
    raise refusals[0]


def _jwk(key: PublicKey | PrivateKey) -> Any:
    return (OKPKey if key.algorithm is Algorithm.X25519 else ECKey).import_key(key.pem())


def _sealed_by_sm(body: bytes, to: PublicKey) -> bytes:
    content_key, iv = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_IV_BYTES)
    header = _encoded(json.dumps({**_NATIONAL, "kid": to.key_id}, separators=(",", ":")).encode())
    cipher = Cipher(algorithms.SM4(content_key), modes.GCM(iv)).encryptor()
    cipher.authenticate_additional_data(header)
    content = cipher.update(body) + cipher.finalize()
    wrapped = to.native.encrypt(content_key)
    return b".".join((header, *(_encoded(part) for part in (wrapped, iv, content, cipher.tag))))


def _opened_by_sm(body: bytes, key: PrivateKey) -> bytes:
    parts = body.split(b".")
    if len(parts) != _PARTS:
        raise _unsealable(key.key_id)
    try:
        header, wrapped, iv, content, tag = (_decoded(part) for part in parts)
        said = json.loads(header)
        if {name: said[name] for name in _NATIONAL} != _NATIONAL or len(iv) != _IV_BYTES or len(tag) != _TAG_BYTES:
            raise _unsealable(key.key_id)
        cipher = Cipher(algorithms.SM4(key.native.decrypt(wrapped)), modes.GCM(iv, tag)).decryptor()
        cipher.authenticate_additional_data(parts[0])
        return cipher.update(content) + cipher.finalize()
    except (ValueError, TypeError, KeyError, RecursionError, InvalidTag, KeyUnusable) as error:
        raise _unsealable(key.key_id) from error


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    # One way to write each message: characters that decoding overlooks are refused.
    if _encoded(data) != text:
        raise ValueError("not base64url")
    return data


def _cannot_seal(key_id: str) -> KeyUnusable:
    return KeyUnusable(
        f"Key {key_id} only signs. 密钥 {key_id} 只能用于签名。", hint="Use an x25519, P-256 or SM2 key for encryption."
    )


def _unsealable(key_id: str) -> SignatureRefused:
    return refused(
        "unsealable",
        f"正文无法用密钥 {key_id} 解密。",
        f"The body cannot be opened with key {key_id}.",
        hint_zh="请用该密钥的公钥重新加密。",
        hint_en="Encrypt it to the public half of this key.",
    )
