"""Access tokens: JWTs of RFC 9068, signed with Ed25519 (EdDSA), short-lived, checked once by each worker."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt.algorithms import OKPAlgorithm

from credit301.errors import ConfigError
from serving.access.scopes import Principal, Scope

if TYPE_CHECKING:
    from credit301.workspace import Workspace

LIFETIME_SECONDS = 300
LEEWAY_SECONDS = 5
LONGEST_TOKEN = 4096
REMEMBERED = 10_000
_ALGORITHM = "EdDSA"
_TYPE = "at+jwt"
_SHORTEST = 32
_CLAIMS = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"]
_INFO = b"credit301 access tokens, Ed25519, 1"


class InvalidToken(Exception):
    """The token is none of ours, has run out, or is of a client that there is not any more."""


class TokenKeys:
    """The keys that tokens are signed and checked with.

    Args:
        secrets: of 32 characters or more; tokens are signed with a key derived from the first, and checked with all.

    Raises:
        ConfigError: there is none, or one is shorter.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or any(len(secret) < _SHORTEST for secret in secrets):
            raise ConfigError(
                "The keys of access tokens are not one or more secrets of 32 characters or more.",
                hint="Set CREDIT301_TOKEN_KEYS to `NEW` or `NEW,OLD`; `secrets.token_urlsafe(24)` makes a good one.",
            )
        keys = [_derived(secret) for secret in secrets]
        self._signing = keys[0]
        self._public = {_key_id(key.public_key()): key.public_key() for key in keys}
        self._signing_id = next(iter(self._public))

    @classmethod
    def from_settings(cls, text: str) -> TokenKeys:
        """The keys of ``CREDIT301_TOKEN_KEYS``."""
        return cls([part.strip() for part in text.split(",")])

    def jwks(self) -> list[dict[str, str]]:
        """The public keys as JWKs (RFC 8037)."""
        return [{**_jwk(key), "kid": name, "use": "sig", "alg": _ALGORITHM} for name, key in self._public.items()]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """``claims`` as a token."""
        headers = {"kid": self._signing_id, "typ": _TYPE}
        return jwt.encode(dict(claims), self._signing, algorithm=_ALGORITHM, headers=headers)

    def verified(self, token: str, *, issuer: str, audience: str) -> dict[str, Any]:
        """The claims of ``token``.

        Raises:
            InvalidToken: it is none of ours, for somebody else, or has run out.
        """
        try:
            header = jwt.get_unverified_header(token)
            key = self._public.get(str(header.get("kid")))
            if key is None or str(header.get("typ")).lower() != _TYPE:
                raise InvalidToken
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                issuer=issuer,
                audience=audience,
                leeway=LEEWAY_SECONDS,
                options={"require": _CLAIMS},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidToken from error
        return claims


class Tokens:
    """Gives out tokens and says whose one is; a token that was checked is remembered until it runs out.

    Args:
        keys: sign and check.
        issuer: of the tokens, the address of the API.
        audience: for whom they are.
        principals: every client by name.
    """

    def __init__(self, keys: TokenKeys, *, issuer: str, audience: str, principals: Mapping[str, Principal]) -> None:
        self.keys = keys
        self.issuer = issuer
        self._audience = audience
        self._principals = principals
        self._checked: dict[bytes, tuple[Principal, float]] = {}

    @classmethod
    def of(cls, workspace: Workspace, principals: Mapping[str, Principal]) -> Tokens:
        """Those of the workspace's API.

        Raises:
            ConfigError: outside the embedded profile, where no key is set.
        """
        settings = workspace.settings
        keys = TokenKeys.from_settings(settings.secret("token_keys"))
        audience = f"urn:credit301:{workspace.name}"
        return cls(keys, issuer=settings.public_address(), audience=audience, principals=principals)

    def issue(self, client: str, scopes: Iterable[Scope]) -> str:
        """A token of ``client`` for ``scopes``."""
        now = int(time.time())
        return self.keys.sign(
            {
                "iss": self.issuer,
                "aud": self._audience,
                "sub": client,
                "client_id": client,
                "iat": now,
                "exp": now + LIFETIME_SECONDS,
                "jti": str(uuid.uuid4()),
                "scope": " ".join(sorted(scopes)),
            }
        )

    def principal(self, token: str) -> Principal:
        """Whose ``token`` it is, with what it allows of what its client may still do.

        Raises:
            InvalidToken: it allows nothing.
        """
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._checked.get(digest)
        if known is not None:
            if known[1] > time.time():
                return known[0]
            del self._checked[digest]
            raise InvalidToken
        claims = self.keys.verified(token, issuer=self.issuer, audience=self._audience)
        client = self._principals.get(str(claims["client_id"]))
        if client is None or claims["sub"] != client.client:
            raise InvalidToken
        granted = frozenset(scope for scope in client.scopes if scope in str(claims["scope"]).split())
        principal = Principal(client.client, client.tenant, granted)
        self._remember(digest, principal, float(claims["exp"]) + LEEWAY_SECONDS)
        return principal

    def _remember(self, digest: bytes, principal: Principal, until: float) -> None:
        if len(self._checked) >= REMEMBERED:
            now = time.time()
            self._checked = {key: found for key, found in self._checked.items() if found[1] > now}
            if len(self._checked) >= REMEMBERED:
                self._checked.clear()
        self._checked[digest] = (principal, until)


def _derived(secret: str) -> Ed25519PrivateKey:
    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(secret.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


def _jwk(key: Ed25519PublicKey) -> dict[str, str]:
    found: dict[str, str] = OKPAlgorithm.to_jwk(key, as_dict=True)
    return found


def _key_id(key: Ed25519PublicKey) -> str:
    """The key's thumbprint (RFC 7638): its required members in their order, hashed."""
    found = _jwk(key)
    text = json.dumps({name: found[name] for name in ("crv", "kty", "x")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
