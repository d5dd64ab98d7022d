"""The keyed hash by which whom a record is about is known where the key itself must not stand."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credit301.settings import Settings

SECRET = "identity_key"  # noqa: S105 - the secret's name
LENGTH = 32


class KeyedHash:
    """HMAC-SHA256 under a secret key, cut to 128 bits: 32 hex digits, the same for the same text.

    Without the key nobody can tell whose a hash is, not even by trying every code there is.

    Args:
        key: the secret.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode("utf-8")

    @classmethod
    def from_settings(cls, settings: Settings) -> KeyedHash:
        """With the platform's own key.

        Raises:
            ConfigError: outside the embedded profile, when ``CREDIT301_IDENTITY_KEY`` is not set.
        """
        return cls(settings.secret(SECRET))

    def __call__(self, text: str) -> str:
        """The hash of ``text``."""
        return hmac.digest(self._key, text.encode("utf-8"), "sha256").hex()[:LENGTH]

    @property
    def key(self) -> bytes:
        """The secret, for an engine that hashes whole columns by itself."""
        return self._key
