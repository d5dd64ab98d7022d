"""``POST /v1/oauth/token``: client credentials (RFC 6749, 4.4) for a short-lived token; and the keys to check one with.

A client proves who it is with its secret, in the header Authorization (client_secret_basic) or in the form
(client_secret_post), or by signing an assertion with a key of its own (private_key_jwt, RFC 7523), which is taken once.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote_plus

import jwt
import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from credit301.domain.text import Text
from serving.access.clients import ASSERTION_ALGORITHMS, Client
from serving.access.desk import Access
from serving.access.scopes import Scope, scopes_of
from serving.access.tokens import LIFETIME_SECONDS
from serving.features import OnlineStore
from serving.requests import read_body
from serving.wire import Command

log = logging.getLogger("credit301.serving")
PATH = "/v1/oauth/token"
JWKS_PATH = "/.well-known/jwks.json"
FORM = "application/x-www-form-urlencoded"
GRANT = "client_credentials"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_ASSERTION_SECONDS = 300
_MOST_FIELDS = 16
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_UNKNOWN_CLIENT = "The client is not known, or has not proved who it is."


class TokenAnswer(msgspec.Struct, frozen=True):
    """访问令牌 / an access token (RFC 6749, 5.1)."""

    access_token: Annotated[str, Meta(description="访问令牌（JWT） / the token, a JWT")]
    token_type: Annotated[str, Meta(description="固定为 Bearer / always Bearer")]
    expires_in: Annotated[int, Meta(description="有效期（秒） / seconds until it runs out")]
    scope: Annotated[str, Meta(description="获得的权限，以空格分隔 / the scopes granted, with spaces between")]


class TokenError(msgspec.Struct, frozen=True):
    """未签发令牌的原因 / why there is no token (RFC 6749, 5.2)."""

    error: Annotated[str, Meta(description="标准错误码 / the error's standard name")]
    error_description: Annotated[str, Meta(description="说明（英文） / what is wrong")]
    message: Annotated[Text, Meta(description="说明（双语） / the same, in both languages")]


class Jwks(msgspec.Struct, frozen=True):
    """校验令牌用的公钥 / public keys to check tokens with (RFC 7517)."""

    keys: Annotated[list[dict[str, str]], Meta(description="公钥，首个用于签名 / keys; the first signs")]


class _Refused(Exception):
    def __init__(self, error: str, zh: str, en: str, status: int = 400) -> None:
        super().__init__(error)
        self.body = TokenError(error, en, Text(zh=zh, en=en))
        self.status = status


def _invalid_client() -> _Refused:
    return _Refused("invalid_client", "客户未知，或未能证明身份。", _UNKNOWN_CLIENT, 401)


class TokenApi:
    """Gives out tokens.

    Args:
        access: knows the clients.
        take: takes one of the requests that a client may send; raises where there is none left.
        store: remembers which assertions were used.
        project: whose they are, in the store.
        failed: counts why there was no token.
    """

    def __init__(
        self,
        access: Access,
        take: Callable[[str], list[tuple[bytes, bytes]]],
        store: OnlineStore,
        project: str,
        failed: Callable[[str], None],
    ) -> None:
        self._access = access
        self._take = take
        self._store = store
        self._project = project
        self._failed = failed
        self._jwks = msgspec.json.encode(Jwks(access.tokens.keys.jwks()))

    async def jwks(self, _: Request) -> Response:
        """The public keys; a key that is to sign soon is published before it does."""
        headers = {"Cache-Control": f"public, max-age={LIFETIME_SECONDS}"}
        return Response(self._jwks, media_type="application/json", headers=headers)

    async def token(self, request: Request) -> Response:
        """A token for the client that proves who it is.

        Raises:
            ApiError: the form is too large or slow, or the client asks too often.
            StoreUnreachable: whether an assertion was used already cannot be known.
        """
        try:
            form = _form(request, await read_body(request))
            client = await self._client(request, form)
            said = self._take(client)
            granted = self._granted(client, form.get("scope"))
        except _Refused as refused:
            self._failed(refused.body.error)
            challenge = {"WWW-Authenticate": 'Basic realm="credit301"'} if refused.status == 401 else {}  # noqa: PLR2004
            return _answer(refused.body, refused.status, challenge)
        scope = " ".join(sorted(granted))
        log.info("a token for %s: %s", client, scope)
        token = self._access.tokens.issue(client, granted)
        response = _answer(TokenAnswer(token, "Bearer", LIFETIME_SECONDS, scope))
        response.raw_headers.extend(said)
        return response

    async def _client(self, request: Request, form: Mapping[str, str]) -> str:
        """Name of the client that proves itself in exactly one way."""
        authorization = request.headers.get("authorization")
        assertion = form.get("client_assertion")
        ways = (authorization is not None) + ("client_secret" in form) + (assertion is not None)
        if ways > 1:
            raise _Refused(
                "invalid_request", "只能使用一种客户认证方式。", "The client authenticates itself in two ways."
            )
        if authorization is not None:
            name, secret = _basic(authorization)
        elif assertion is not None:
            return await self._asserted(form, assertion)
        else:
            name, secret = form.get("client_id", ""), form.get("client_secret", "")
        known = self._access.keys.name_of(secret)
        if known is None or known != name or form.get("client_id", name) != name:
            raise _invalid_client()
        return known

    async def _asserted(self, form: Mapping[str, str], assertion: str) -> str:
        """Name of the client whose key has signed ``assertion``, which nobody has used before."""
        if form.get("client_assertion_type") != ASSERTION:
            raise _invalid_client()
        try:
            name = str(jwt.decode(assertion, options={"verify_signature": False}).get("sub"))
            client = self._access.clients.get(name)
            if client is None or form.get("client_id", name) != name:
                raise _invalid_client()
            claims = self._checked(client, name, assertion)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _invalid_client() from error
        if not await self._first_use(name, str(claims["jti"])):
            raise _invalid_client()
        return name

    def _checked(self, client: Client, name: str, assertion: str) -> dict[str, Any]:
        issuer = self._access.tokens.issuer
        wanted = jwt.get_unverified_header(assertion).get("kid")
        keys = [key for key in client.keys if wanted is None or key.get("kid") == wanted]
        for key in map(jwt.PyJWK.from_dict, keys):
            try:
                claims: dict[str, Any] = jwt.decode(
                    assertion,
                    key.key,
                    algorithms=[key.algorithm_name] if key.algorithm_name in ASSERTION_ALGORITHMS else [],
                    audience=[issuer, f"{issuer}{PATH}"],
                    issuer=name,
                    subject=name,
                    options={"require": ["iss", "sub", "aud", "exp", "jti"]},
                )
            except jwt.InvalidSignatureError:
                continue
            if claims["exp"] - time.time() > LONGEST_ASSERTION_SECONDS:
                raise _invalid_client()
            return claims
        raise _invalid_client()

    async def _first_use(self, client: str, number: str) -> bool:
        digest = hashlib.sha256(f"{client}\n{number}".encode("utf-8", "surrogatepass")).hexdigest()
        key = f"credit301:{self._project}:assertion:{digest}".encode()
        # Sent again after a broken connection, the command may find its own mark: the client makes another assertion.
        command = Command.of(key, b"SET", key, b"1", b"NX", b"EX", str(LONGEST_ASSERTION_SECONDS))
        return (await self._store.send([command]))[0] is not None

    def _granted(self, client: str, asked: str | None) -> frozenset[Scope]:
        allowed = scopes_of(self._access.clients[client].roles)
        if asked is None:
            return allowed
        wanted = set(asked.split())
        if not wanted or not wanted <= allowed:
            raise _Refused("invalid_scope", "申请的权限超出该客户的角色。", "A scope that the client does not have.")
        return frozenset(scope for scope in allowed if scope in wanted)


def _form(request: Request, body: bytes) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    no_form = _Refused("invalid_request", f"请求体须为 {FORM} 表单。", f"The body must be a form, {FORM}.")
    if kind != FORM:
        raise no_form
    try:
        fields = parse_qsl(body.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise no_form from error
    form = dict(fields)
    if len(form) != len(fields):
        raise _Refused("invalid_request", "表单字段重复。", "A field of the form comes twice.")
    if "grant_type" not in form:
        raise _Refused("invalid_request", "缺少 grant_type。", "grant_type is missing.")
    if form["grant_type"] != GRANT:
        raise _Refused("unsupported_grant_type", f"仅支持 {GRANT}。", f"Only {GRANT} is supported.")
    return form


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _invalid_client()
    try:
        name, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (Base64Error, ValueError) as error:
        raise _invalid_client() from error
    return unquote_plus(name), unquote_plus(secret)


def _answer(body: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers={**_NO_STORE, **(headers or {})},
    )
