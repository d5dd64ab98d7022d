"""API keys: the secret of each client. Only digests are kept in memory, and only names are ever logged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from credit301.errors import ConfigError
from credit301.settings import Profile, Settings

HEADER = "X-API-Key"
DEMO = "demo"
DIGEST = "sha256="
_SHORTEST = 16
_HEX = 64


class ApiKeys:
    """Known keys.

    Args:
        text: ``name:key,name:key``; a key may be given as ``sha256=`` and its digest in hexadecimal digits.

    Raises:
        ConfigError: it has another form, a name or a key twice, or a key shorter than 16 characters.
    """

    def __init__(self, text: str) -> None:
        self._names: dict[bytes, str] = {}
        for entry in text.split(","):
            name, _, key = entry.strip().partition(":")
            digest = _kept(key)
            if not name or digest is None or name in self._names.values() or digest in self._names:
                raise ConfigError(
                    "The API keys are not `name:key,name:key` with distinct names and keys of 16 characters or more.",
                    hint="Set CREDIT301_API_KEYS; `secrets.token_urlsafe(24)` in Python makes a good key.",
                )
            self._names[digest] = name

    @classmethod
    def from_settings(cls, settings: Settings, clients: Iterable[str] = (DEMO,)) -> ApiKeys:
        """The keys of the profile: one generated for each of ``clients`` in the embedded one, else
        ``CREDIT301_API_KEYS``.
        """  # noqa: D205
        if settings.profile is Profile.EMBEDDED:
            return cls(",".join(f"{name}:{settings.secret(secret_of(name))}" for name in clients))
        return cls(settings.secret("api_keys"))

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody who has a key."""
        return tuple(self._names.values())

    def name_of(self, key: str | None) -> str | None:
        """Name of the caller whose key this is, ``None`` where it is nobody's.

        The time it takes says something of the key's digest at most, which is of no use to somebody who guesses keys.
        """
        return self._names.get(_digest(key or ""))


def secret_of(client: str) -> str:
    """Name of the secret that the embedded profile makes for ``client``."""
    return "api_key" if client == DEMO else f"client_{client}"


def _kept(key: str) -> bytes | None:
    if key.startswith(DIGEST):
        digits = key.removeprefix(DIGEST)
        try:
            return bytes.fromhex(digits) if len(digits) == _HEX else None
        except ValueError:
            return None
    return _digest(key) if len(key) >= _SHORTEST else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
