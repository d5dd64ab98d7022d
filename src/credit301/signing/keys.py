"""Keys of the platform and of banks: what they are for, whose, and from when until when."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

from credit301.signing import encoding
from credit301.signing.encoding import Algorithm
from credit301.signing.errors import KeyUnusable, refused
from credit301.signing.sm2 import Sm2Key

__all__ = ["Algorithm", "KeyRing", "PrivateKey", "PublicKey"]

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class PrivateKey(msgspec.Struct, frozen=True):
    """A key of our own. It does not show itself in logs."""

    key_id: str
    algorithm: Algorithm
    native: Any

    @classmethod
    def load(cls, pem: str, key_id: str) -> PrivateKey:
        """The key in ``pem`` (PKCS #8, or SEC 1; no password).

        Raises:
            KeyUnusable: it holds no private key of a known algorithm.
        """
        return cls(_named(key_id), *encoding.load(pem.encode(), private=True))

    @classmethod
    def generate(cls, algorithm: Algorithm, key_id: str = "") -> PrivateKey:
        """A new key. Without ``key_id`` it is named by its :attr:`thumbprint`.

        Raises:
            KeyUnusable: this Python cannot make keys of ``algorithm``.
        """
        makers: dict[Algorithm, Any] = {
            Algorithm.ED25519: ed25519.Ed25519PrivateKey.generate,
            Algorithm.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
            Algorithm.SM2: Sm2Key.generate,
            Algorithm.X25519: x25519.X25519PrivateKey.generate,
        }
        made = cls("new", algorithm, makers[algorithm]())
        return msgspec.structs.replace(made, key_id=_named(key_id or made.thumbprint))

    def pem(self) -> str:
        """The private key in PKCS #8."""
        if isinstance(self.native, Sm2Key):
            return self.native.private_pem().decode("ascii")
        encoded: bytes = self.native.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return encoded.decode("ascii")

    def public_pem(self) -> str:
        """The public key, to be given away."""
        return encoding.public_pem(self.native if isinstance(self.native, Sm2Key) else self.native.public_key())

    def public(self, owner: str) -> PublicKey:
        """The public half, as ``owner``'s."""
        return PublicKey.load(self.public_pem(), self.key_id, owner)

    @property
    def thumbprint(self) -> str:
        """The beginning of the SHA-256 of the public key: 16 hexadecimal digits."""
        return encoding.thumbprint(self.public_pem())

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``, 64 bytes in every algorithm.

        Raises:
            KeyUnusable: the key is only for sealing.
        """
        match self.algorithm:
            case Algorithm.ED25519:
                return bytes(self.native.sign(data))
            case Algorithm.P256:
                return encoding.without_der(self.native.sign(data, ec.ECDSA(hashes.SHA256())))
            case Algorithm.SM2:
                return encoding.without_der(self.native.sign(data))
            case Algorithm.X25519:
                raise _cannot_sign(self.key_id)

    def __repr__(self) -> str:
        return f"PrivateKey({self.key_id!r}, {self.algorithm.value})"


class PublicKey(msgspec.Struct, frozen=True):
    """A key of a bank, or the public half of our own; usable from ``valid_from`` until before ``valid_until``."""

    key_id: str
    algorithm: Algorithm
    native: Any
    owner: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @classmethod
    def load(
        cls,
        pem: str,
        key_id: str,
        owner: str,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> PublicKey:
        """The key in ``pem`` (SubjectPublicKeyInfo).

        Raises:
            KeyUnusable: it holds no public key of a known algorithm, or the times are not a time span with zones.
        """
        for moment in (valid_from, valid_until):
            if moment is not None and moment.tzinfo is None:
                raise KeyUnusable(
                    f"The validity of key {key_id} has no time zone.", hint="Write 2027-01-01T00:00:00+08:00."
                )
        if valid_from and valid_until and valid_until <= valid_from:
            raise KeyUnusable(f"Key {key_id} is never valid: it ends before it begins.")
        return cls(_named(key_id), *encoding.load(pem.encode(), private=False), owner, valid_from, valid_until)

    @classmethod
    def read(
        cls, path: Path, owner: str, valid_from: datetime | None = None, valid_until: datetime | None = None
    ) -> PublicKey:
        """The key in the file ``path``; its id is the file's name without ``.pem``.

        Raises:
            KeyUnusable: as :meth:`load`, or there is no such file.
        """
        try:
            pem = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyUnusable(f"{path} cannot be read: {error}.") from error
        try:
            return cls.load(pem, path.stem, owner, valid_from, valid_until)
        except KeyUnusable as error:
            raise KeyUnusable(f"{path}: {error.message}", hint=error.hint) from error

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` is this key's of ``data``.

        Raises:
            KeyUnusable: the key is only for sealing.
        """
        match self.algorithm:
            case Algorithm.ED25519:
                return encoding.holds(lambda: self.native.verify(signature, data))
            case Algorithm.P256:
                der = encoding.with_der(signature)
                return der is not None and encoding.holds(
                    lambda: self.native.verify(der, data, ec.ECDSA(hashes.SHA256()))
                )
            case Algorithm.SM2:
                der = encoding.with_der(signature)
                return der is not None and bool(self.native.verifies(der, data))
            case Algorithm.X25519:
                raise _cannot_sign(self.key_id)

    def valid_at(self, moment: datetime) -> bool:
        """Whether the key is in use at ``moment``."""
        return (self.valid_from is None or self.valid_from <= moment) and (
            self.valid_until is None or moment < self.valid_until
        )

    def pem(self) -> str:
        """The key as SubjectPublicKeyInfo."""
        return encoding.public_pem(self.native)

    @property
    def thumbprint(self) -> str:
        """The beginning of the SHA-256 of the key, for comparison by telephone."""
        return encoding.thumbprint(self.pem())


class KeyRing:
    """Public keys by id. Two keys of one owner side by side are how keys are changed without a gap."""

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._keys: dict[str, PublicKey] = {}
        for key in keys:
            other = self._keys.get(key.key_id)
            if other is not None:
                raise KeyUnusable(
                    f"Key id {key.key_id} is there twice: of {other.owner} and of {key.owner}.",
                    hint="A key id names one key; name the file of one of them otherwise.",
                )
            self._keys[key.key_id] = key

    def __iter__(self) -> Iterator[PublicKey]:
        return iter(self._keys.values())

    def of(self, owner: str) -> tuple[PublicKey, ...]:
        """All keys of ``owner``."""
        return tuple(key for key in self if key.owner == owner)

    def current(self, key_id: str, moment: datetime) -> PublicKey:
        """The key called ``key_id``, if it is valid at ``moment`` and signs.

        Raises:
            SignatureRefused: there is none, it is not valid then, or is for sealing only.
        """
        key = self._keys.get(key_id)
        if key is None:
            raise refused(
                "unknown_key",
                f"未登记的密钥编号：{key_id[:40]!r}。",
                f"No key is registered as {key_id[:40]!r}.",
                hint_zh="请先登记公钥，再用它签名。",
                hint_en="Register the public key before you sign with it.",
            )
        if not key.valid_at(moment):
            raise refused(
                "key_not_valid",
                f"密钥 {key_id} 当前不在有效期内。",
                f"Key {key_id} is not valid at this time.",
                hint_zh="请改用有效的密钥。",
                hint_en="Sign with a key that is valid now.",
            )
        if not key.algorithm.signs:
            raise refused("wrong_algorithm", f"密钥 {key_id} 仅用于加密。", f"Key {key_id} is for encryption only.")
        return key

    def sealing(self, owner: str, algorithms: Collection[Algorithm], moment: datetime | None = None) -> PublicKey:
        """The key of ``owner`` to encrypt to now: of its valid ones of ``algorithms``, which seal, the one that lasts.

        Raises:
            KeyUnusable: there is none.
        """
        at = moment or datetime.now(UTC)
        usable = [key for key in self.of(owner) if key.algorithm in algorithms and key.valid_at(at)]
        if not usable:
            raise KeyUnusable(
                f"{owner} has no valid key to encrypt to. 没有可用于加密的有效公钥。",
                hint=f"Register a public key of it, of {' or '.join(algorithms)}.",
            )
        return max(usable, key=lambda key: key.valid_until or datetime.max.replace(tzinfo=UTC))


def _named(key_id: str) -> str:
    if not _KEY_ID.fullmatch(key_id):
        raise KeyUnusable(
            f"{key_id!r} is no key id.", hint="Letters, digits, dot, hyphen and underscore; at most 128 of them."
        )
    return key_id


def _cannot_sign(key_id: str) -> KeyUnusable:
    return KeyUnusable(f"Key {key_id} is for encryption only; it does not sign.")
