"""SM2 (GB/T 32918) signature and encryption by the OpenSSL that Python itself stands on.

`cryptography` has SM3 and SM4, but no SM2; the packages that have are unmaintained or of unknown hands (ADR 27). Every
OpenSSL since 3.0 has it, unless it was built without.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from credit301.signing.errors import KeyUnusable

# The signer's name that goes into ZA with the curve and the public key; by GM/T 0009 where nothing else is agreed.
USER_ID = b"1234567812345678"
# DER of 1.2.156.10197.1.301, by which a key says that it is on this curve.
CURVE_OID = bytes.fromhex("06082a811ccf5501822d")

_POINTER, _BYTES, _SIZE, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int
_LENGTH = ctypes.POINTER(ctypes.c_size_t)
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "BIO_free": (_INT, (_POINTER,)),
    "BIO_new": (_POINTER, (_POINTER,)),
    "BIO_new_mem_buf": (_POINTER, (_BYTES, _INT)),
    "BIO_read": (_INT, (_POINTER, _POINTER, _INT)),
    "BIO_s_mem": (_POINTER, ()),
    "ERR_clear_error": (None, ()),
    "EVP_DigestSign": (_INT, (_POINTER, _POINTER, _LENGTH, _BYTES, _SIZE)),
    "EVP_DigestSignInit": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER)),
    "EVP_DigestVerify": (_INT, (_POINTER, _BYTES, _SIZE, _BYTES, _SIZE)),
    "EVP_DigestVerifyInit": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER)),
    "EVP_MD_CTX_free": (None, (_POINTER,)),
    "EVP_MD_CTX_new": (_POINTER, ()),
    "EVP_MD_CTX_set_pkey_ctx": (None, (_POINTER, _POINTER)),
    "EVP_PKEY_CTX_free": (None, (_POINTER,)),
    "EVP_PKEY_CTX_new": (_POINTER, (_POINTER, _POINTER)),
    "EVP_PKEY_CTX_new_from_name": (_POINTER, (_POINTER, _BYTES, _BYTES)),
    "EVP_PKEY_CTX_set1_id": (_INT, (_POINTER, _BYTES, _SIZE)),
    "EVP_PKEY_decrypt": (_INT, (_POINTER, _POINTER, _LENGTH, _BYTES, _SIZE)),
    "EVP_PKEY_decrypt_init": (_INT, (_POINTER,)),
    "EVP_PKEY_encrypt": (_INT, (_POINTER, _POINTER, _LENGTH, _BYTES, _SIZE)),
    "EVP_PKEY_encrypt_init": (_INT, (_POINTER,)),
    "EVP_PKEY_free": (None, (_POINTER,)),
    "EVP_PKEY_generate": (_INT, (_POINTER, ctypes.POINTER(_POINTER))),
    "EVP_PKEY_is_a": (_INT, (_POINTER, _BYTES)),
    "EVP_PKEY_keygen_init": (_INT, (_POINTER,)),
    "EVP_sm3": (_POINTER, ()),
    "PEM_read_bio_PUBKEY": (_POINTER, (_POINTER, _POINTER, _POINTER, _BYTES)),
    "PEM_read_bio_PrivateKey": (_POINTER, (_POINTER, _POINTER, _POINTER, _BYTES)),
    "PEM_write_bio_PKCS8PrivateKey": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER, _INT, _POINTER, _POINTER)),
    "PEM_write_bio_PUBKEY": (_INT, (_POINTER, _POINTER)),
}
_KIND = b"SM2"


@lru_cache(maxsize=1)
def _openssl() -> ctypes.CDLL:
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            for function, (result, arguments) in _FUNCTIONS.items():
                found = getattr(library, function)
                found.restype, found.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        # A build without SM2 has the functions, but not the algorithm.
        if context := library.EVP_PKEY_CTX_new_from_name(None, _KIND, None):
            library.EVP_PKEY_CTX_free(context)
            return library
        library.ERR_clear_error()
    raise KeyUnusable(
        "No OpenSSL with SM2 was found beside this Python. 未找到支持 SM2 的 OpenSSL。",
        hint="Use a Python that is linked with OpenSSL 3 or newer, built with SM2 (Debian, Ubuntu and openEuler are), "
        "or agree on ed25519 with the bank.",
    )


def _candidates() -> list[str]:
    # Through the extension module that hashlib uses, the very library is found that Python is linked with.
    import _hashlib

    names = (getattr(_hashlib, "__file__", None), ctypes.util.find_library("crypto"))
    return [name for name in names if name]


class Sm2Key:
    """A key on the SM2 curve: a public one, or a pair."""

    def __init__(self, pointer: int) -> None:
        self._library = _openssl()
        self._pointer = pointer
        weakref.finalize(self, self._library.EVP_PKEY_free, pointer)

    @classmethod
    def generate(cls) -> Sm2Key:
        """A new pair.

        Raises:
            KeyUnusable: this Python's OpenSSL has no SM2.
        """
        library = _openssl()
        context = library.EVP_PKEY_CTX_new_from_name(None, _KIND, None)
        made = _POINTER()
        try:
            if library.EVP_PKEY_keygen_init(context) == 1:
                library.EVP_PKEY_generate(context, ctypes.byref(made))
        finally:
            library.EVP_PKEY_CTX_free(context)
            library.ERR_clear_error()
        if not made.value:
            raise KeyUnusable("OpenSSL could not make an SM2 key.")
        return cls(made.value)

    @classmethod
    def load(cls, pem: bytes, *, private: bool) -> Sm2Key:
        """The key in ``pem``: PKCS #8 or SEC 1 without a password, or SubjectPublicKeyInfo.

        Raises:
            KeyUnusable: it holds none, or one of another curve; or this Python's OpenSSL has no SM2.
        """
        library = _openssl()
        source = library.BIO_new_mem_buf(pem, len(pem))
        read = library.PEM_read_bio_PrivateKey if private else library.PEM_read_bio_PUBKEY
        try:
            # The empty password stands for none: without it OpenSSL would ask at the terminal.
            pointer = read(source, None, None, b"")
        finally:
            library.BIO_free(source)
            library.ERR_clear_error()
        if not pointer:
            raise KeyUnusable("This is no SM2 key in PEM form. 不是 PEM 格式的 SM2 密钥。")
        key = cls(pointer)
        if library.EVP_PKEY_is_a(pointer, _KIND) != 1:
            raise KeyUnusable("This key is not on the SM2 curve. 不是 SM2 曲线上的密钥。")
        return key

    def private_pem(self) -> bytes:
        """The pair in PKCS #8, not encrypted."""
        return self._written("PEM_write_bio_PKCS8PrivateKey", None, None, 0, None, None)

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo."""
        return self._written("PEM_write_bio_PUBKEY")

    def _written(self, function: str, *more: Any) -> bytes:
        library = self._library
        sink = library.BIO_new(library.BIO_s_mem())
        buffer = ctypes.create_string_buffer(4096)
        try:
            if getattr(library, function)(sink, self._pointer, *more) != 1:
                raise KeyUnusable("OpenSSL could not write the key.")
            size = library.BIO_read(sink, buffer, len(buffer))
            return buffer.raw[: max(0, size)]
        finally:
            library.BIO_free(sink)
            library.ERR_clear_error()
            ctypes.memset(buffer, 0, len(buffer))

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data`` with SM3 and :data:`USER_ID`, in DER."""
        with self._digest("EVP_DigestSignInit") as context:
            size = _SIZE()
            self._library.EVP_DigestSign(context, None, ctypes.byref(size), data, len(data))
            buffer = ctypes.create_string_buffer(size.value)
            if self._library.EVP_DigestSign(context, buffer, ctypes.byref(size), data, len(data)) != 1:
                raise KeyUnusable("OpenSSL could not sign with this SM2 key; is it a private one?")
            return buffer.raw[: size.value]

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` (DER) is this key's of ``data``."""
        with self._digest("EVP_DigestVerifyInit") as context:
            return bool(self._library.EVP_DigestVerify(context, signature, len(signature), data, len(data)) == 1)

    @contextmanager
    def _digest(self, begin: str) -> Iterator[int]:
        library = self._library
        context = library.EVP_MD_CTX_new()
        key_context = library.EVP_PKEY_CTX_new(self._pointer, None)
        library.EVP_MD_CTX_set_pkey_ctx(context, key_context)
        try:
            if (
                library.EVP_PKEY_CTX_set1_id(key_context, USER_ID, len(USER_ID)) != 1
                or getattr(library, begin)(context, None, library.EVP_sm3(), None, self._pointer) != 1
            ):
                raise KeyUnusable("OpenSSL refuses to use this key with SM3.")
            yield context
        finally:
            library.EVP_MD_CTX_free(context)
            library.EVP_PKEY_CTX_free(key_context)
            library.ERR_clear_error()

    def encrypt(self, data: bytes) -> bytes:
        """``data`` for the owner of this key, in the ASN.1 form of GM/T 0009 (C1, C3, C2)."""
        return self._crypted("encrypt", data)

    def decrypt(self, data: bytes) -> bytes:
        """What was encrypted.

        Raises:
            KeyUnusable: it was not for this key, or is damaged; which, is not told.
        """
        return self._crypted("decrypt", data)

    def _crypted(self, way: str, data: bytes) -> bytes:
        library = self._library
        crypt = getattr(library, f"EVP_PKEY_{way}")
        context = library.EVP_PKEY_CTX_new(self._pointer, None)
        size = _SIZE()
        try:
            # A failing decryption is one error, whatever its cause.
            if getattr(library, f"EVP_PKEY_{way}_init")(context) == 1 and (
                crypt(context, None, ctypes.byref(size), data, len(data)) == 1
            ):
                buffer = ctypes.create_string_buffer(max(1, size.value))
                if crypt(context, buffer, ctypes.byref(size), data, len(data)) == 1:
                    return buffer.raw[: size.value]
        finally:
            library.EVP_PKEY_CTX_free(context)
            library.ERR_clear_error()
        raise KeyUnusable(f"SM2 could not {way} with this key.")
