"""API keys: who may ask for decisions. Only digests are kept in memory, and only names are ever logged."""

from __future__ import annotations

import hashlib
import hmac

from credit301.errors import ConfigError
from credit301.settings import Profile, Settings

HEADER = "X-API-Key"
DEMO = "demo"
_SHORTEST = 16


class ApiKeys:
    """Known keys.

    Args:
        text: ``name:key,name:key``.

    Raises:
        ConfigError: it has another form, a name twice, or a key shorter than 16 characters.
    """

    def __init__(self, text: str) -> None:
        self._digests: dict[str, bytes] = {}
        for entry in text.split(","):
            name, _, key = entry.strip().partition(":")
            if not name or len(key) < _SHORTEST or name in self._digests:
                raise ConfigError(
                    "The API keys are not `name:key,name:key` with distinct names and keys of 16 characters or more.",
                    hint="Set CREDIT301_API_KEYS; `secrets.token_urlsafe(24)` in Python makes a good key.",
                )
            self._digests[name] = _digest(key)

    @classmethod
    def from_settings(cls, settings: Settings) -> ApiKeys:
        """The keys of the profile: one generated, named ``demo``, in the embedded one, else ``CREDIT301_API_KEYS``."""
        if settings.profile is Profile.EMBEDDED:
            return cls(f"{DEMO}:{settings.secret('api_key')}")
        return cls(settings.secret("api_keys"))

    def name_of(self, key: str | None) -> str | None:
        """Name of the caller whose key this is, ``None`` where it is nobody's. Takes the same time for every key."""
        digest = _digest(key or "")
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
