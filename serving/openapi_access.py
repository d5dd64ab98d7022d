"""The part of the OpenAPI document that says who may ask: derived from the table of scopes."""

from __future__ import annotations

from typing import Any

from serving import openapi_parts as parts
from serving.access import token_api
from serving.access.scopes import PUBLIC, SCOPE_TITLES, required
from serving.access.token_api import Jwks, TokenAnswer, TokenError
from serving.auth import HEADER
from serving.deadlines import HEADER as DEADLINE
from serving.deadlines import LONGEST_MS

Json = dict[str, Any]
TYPES = (TokenAnswer, TokenError, Jwks)
OAUTH, KEY = "oauth2", "apiKey"
REFUSALS = (401, 403, 429)
"""Statuses that every route with a scope may answer with."""


def schemes() -> Json:
    """How a client says who it is."""
    scopes = {str(scope): f"{title.zh} / {title.en}" for scope, title in SCOPE_TITLES.items()}
    return {
        KEY: {"type": "apiKey", "in": "header", "name": HEADER, "description": "接口密钥 / API key"},
        OAUTH: {
            "type": "oauth2",
            "description": "客户端凭证换取短期令牌 / a short-lived token for the client's credentials",
            "flows": {"clientCredentials": {"tokenUrl": token_api.PATH, "scopes": scopes}},
        },
    }


def security(method: str, path: str) -> list[Json]:
    """What the route asks for: one of the entries; none where anybody may ask.

    Raises:
        ConfigError: the table of scopes does not know the route.
    """
    scope = required(method, path)
    return [] if scope is PUBLIC else [{OAUTH: [str(scope)]}, {KEY: []}]


def deadline() -> Json:
    """The header by which a sender says how long it waits."""
    return {
        "name": DEADLINE,
        "in": "header",
        "required": False,
        "description": (
            "毫秒；超过仍未开始处理则放弃（也可用 Prefer: wait=秒） / "
            "milliseconds; work that has not begun by then is not begun (or Prefer: wait=seconds)"
        ),
        "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_MS},
    }


def token() -> Json:
    """The operation that gives out a token."""
    operation = parts.operation(
        "token",
        "以客户端凭证换取访问令牌",
        "A short-lived access token for the client's credentials (RFC 6749, 4.4)",
        token_api.TokenAnswer,
        (408, 413, 429, 503),
        tag="access",
    )
    for status, meaning in (("400", "表单不正确 / the form is not right"), ("401", "客户认证失败 / not authenticated")):
        operation["responses"][status] = {"description": meaning, "content": parts.content(token_api.TokenError)}
    operation["requestBody"] = _token_form()
    return operation


def jwks() -> Json:
    """The operation that publishes the keys."""
    return parts.operation(
        "jwks", "校验令牌的公钥", "Public keys to check tokens with", token_api.Jwks, (), tag="access"
    )


def _token_form() -> Json:
    """The form of a request for a token."""
    texts = {
        "client_id": "客户名称（未用 Authorization 请求头时） / the client's name, where not in Authorization",
        "client_secret": "客户密钥 / the client's secret",
        "client_assertion": "客户签名的 JWT（RFC 7523） / a JWT that the client has signed",
        "scope": "申请的权限，以空格分隔；缺省为全部 / scopes, with spaces between; all of the client's by default",
    }
    properties: Json = {name: {"type": "string", "description": text} for name, text in texts.items()}
    properties["grant_type"] = {"const": token_api.GRANT, "description": "授权方式 / the grant"}
    properties["client_assertion_type"] = {"const": token_api.ASSERTION, "description": "签名方式 / kind of assertion"}
    return {
        "required": True,
        "content": {
            token_api.FORM: {"schema": {"type": "object", "required": ["grant_type"], "properties": properties}}
        },
    }
