"""Refusals before the work begins: who may not ask, who asks too often, and what there is no room for."""

from __future__ import annotations

import math

from credit301.domain.text import Text
from serving.errors import RETRY_AFTER, Problem

REALM = 'Bearer realm="credit301"'
UNAUTHORISED = Problem(
    401,
    "unauthorised",
    Text(zh="缺少或无效的接口密钥或访问令牌。", en="The API key or access token is missing or not valid."),
    hint=Text(
        zh="在请求头 X-API-Key 中提供密钥，或以 Authorization: Bearer 提供 /v1/oauth/token 签发的令牌。",
        en="Send a key in the header X-API-Key, or a token from /v1/oauth/token as Authorization: Bearer.",
    ),
    headers={"WWW-Authenticate": f"{REALM}, ApiKey"},
)
INVALID_TOKEN = Problem(
    401,
    "invalid_token",
    Text(zh="访问令牌无效或已过期。", en="The access token is not valid, or has run out."),
    hint=Text(zh="请在 /v1/oauth/token 重新获取。", en="Get another one from /v1/oauth/token."),
    headers={"WWW-Authenticate": f'{REALM}, error="invalid_token"'},
)
OVERLOADED = Problem(
    429,
    "overloaded",
    Text(zh="请求超出当前处理能力，已拒绝排队。", en="More is asked for than can be done now; it was not queued."),
    hint=Text(zh="请稍后重试，并逐次延长间隔。", en="Try again later, and wait longer each time."),
    headers={"Retry-After": "1"},
)
DEADLINE_PASSED = Problem(
    503,
    "deadline_passed",
    Text(zh="在期限之前未能开始处理，请求已放弃。", en="The deadline passed before the work began; nothing was done."),
    hint=Text(zh="请稍后重试，或给出更长的期限。", en="Try again later, or give it more time."),
    headers=RETRY_AFTER,
)


def forbidden(scope: str, title: Text) -> Problem:
    """The client may not do what ``scope`` allows; ``title`` says what that is."""
    return Problem(
        403,
        "insufficient_scope",
        Text(zh=f"没有权限：{title.zh}（{scope}）。", en=f"Not allowed to {title.en} ({scope})."),
        hint=Text(
            zh=f"需要权限 {scope}；请联系平台运维为该客户增加相应角色。",
            en=f"It takes the scope {scope}; ask whoever runs the platform for a role that has it.",
        ),
        headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'},
    )


def rate_limited(seconds: float) -> Problem:
    """The client has asked too often; it may again in ``seconds``."""
    wait = max(1, math.ceil(seconds))
    return Problem(
        429,
        "rate_limited",
        Text(zh="请求频率超过该客户的限额。", en="The client sends more requests than it may."),
        hint=Text(
            zh=f"请在 {wait} 秒后重试；限额见响应头 RateLimit-Policy。",
            en=f"Try again in {wait} s; the header RateLimit-Policy says how many it may send.",
        ),
        headers={"Retry-After": str(wait)},
    )
