"""Parts that every operation of the OpenAPI document is made of."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from serving.errors import ErrorBody

Json = dict[str, Any]
TEMPLATE = "#/components/schemas/{name}"
_MEANING = {
    400: "请求体不是有效的 JSON / the body is not JSON",
    401: "缺少或无效的密钥或令牌 / no valid key or token",
    403: "客户没有权限，或企业未授权 / the client may not, or the enterprise has not consented",
    404: "没有该企业的数据 / no data on this enterprise",
    408: "请求体未及时到达 / the body did not arrive in time",
    409: "当前状态不允许，或正被其他请求处理 / not possible in this state, or another request is at it",
    413: "请求体过大 / the body is too large",
    422: "字段缺失或不正确 / a field is missing or wrong",
    429: "超过限额或处理能力 / above the client's rate, or more than can be done now",
    503: "暂无模型、特征库或审计记录不可用 / no model, or the feature store or the audit trail is down",
}


def operation(
    name: str,
    zh: str,
    en: str,
    answer: type[msgspec.Struct] | None,
    failures: Sequence[int],
    *,
    tag: str = "operations",
    described: str = "",
) -> Json:
    """An operation called ``name`` that answers with ``answer``, or with one of the statuses of ``failures``."""
    responses: Json = {"200": {"description": f"{zh} / {en}"}}
    if answer is not None:
        responses["200"]["content"] = content(answer)
    responses |= problems(failures)
    made: Json = {
        "operationId": name,
        "tags": [tag],
        "summary": f"{zh} / {en}",
        "responses": responses,
    }
    if described:
        made["description"] = described
    return made


def problems(statuses: Sequence[int]) -> Json:
    """The answers other than success, by status."""
    found: Json = {}
    for status in statuses:
        found[str(status)] = {"description": _MEANING[status], "content": content(ErrorBody)}
        if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
            retry = {"description": "秒 / seconds", "schema": {"type": "string"}}
            found[str(status)]["headers"] = {"Retry-After": retry}
    return found


def content(answer: type[msgspec.Struct]) -> Json:
    """An answer in JSON."""
    return {"application/json": {"schema": {"$ref": TEMPLATE.format(name=answer.__name__)}}}
