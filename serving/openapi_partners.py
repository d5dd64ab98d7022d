"""The part of the OpenAPI document that is about messages of banks."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from credit301.partners import published
from credit301.partners.messages import FromBank, Receipt
from credit301.signing.message import MESSAGE_ID
from credit301.signing.sealing import CONTENT_TYPE
from serving import openapi_parts as parts
from serving.partners import PLACE, SCHEMA

Json = dict[str, Any]
KINDS: tuple[type[msgspec.Struct], ...] = get_args(FromBank)
TYPES = (*KINDS, Receipt)
_SEALED = "加密后的同一 JSON（JWE 紧凑格式） / the same JSON, sealed (JWE, compact)"
_EXAMPLE = {
    "kind": "accepted",
    "version": "1.0",
    "message_id": "B-000001",
    "created_at": "2026-11-01T09:30:00+08:00",
    "application_id": "01a20e49-3bd4-7c59-8ed6-a03f49507af5",
}


def paths() -> Json:
    """The operations by path and method."""
    return {PLACE: {"post": _receive()}, SCHEMA: {"get": _schema()}}


def _receive() -> Json:
    operation = parts.operation(
        "receiveBankMessage",
        "银行报文：受理、方案、放款、还款与终结",
        "A message of a bank: accepted, offered, disbursed, repaid, closed",
        Receipt,
        (400, 401, 404, 408, 409, 413, 422, 429, 503),
        tag="banks",
        described=(
            "不用密钥或令牌，凭银行的签名（RFC 9421，见 docs/signing.md）；同一报文编号只生效一次，回执由平台签名。"
            "约定加密的银行先将 JSON 加密到平台的公钥，再签名。\n\n"
            "No key or token: the bank's signature counts (RFC 9421; docs/signing.md). A message id is applied once; "
            "the receipt is signed by the platform. A bank that has agreed to seal encrypts the JSON to the platform's "
            "key before it signs."
        ),
    )
    names = {"signature-input": "签名参数 / what is signed", "signature": "签名 / the signature"}
    names |= {"content-digest": "正文摘要 / digest of the body", MESSAGE_ID: "报文编号 / the message's number"}
    operation["parameters"] = [
        {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in names.items()
    ]
    references = [{"$ref": parts.TEMPLATE.format(name=kind.__name__)} for kind in KINDS]
    content = {"schema": {"oneOf": references}}
    example = {"summary": "银行已受理 / the bank is at it", "value": _EXAMPLE}
    operation["requestBody"] = {
        "required": True,
        "content": {
            "application/json": content | {"examples": {"default": example}},
            CONTENT_TYPE: {"schema": {"type": "string", "description": _SEALED}},
        },
    }
    return operation


def _schema() -> Json:
    operation = parts.operation(
        "messageSchema", "报文的 JSON Schema", "The JSON Schema of a message", None, (404,), tag="banks"
    )
    operation["responses"]["200"]["content"] = {"application/schema+json": {"schema": {"type": "object"}}}
    named: Json = {"type": "string", "enum": list(published.NAMES)}
    described = "报文名称与版本 / the message's name and version"
    operation["parameters"] = [
        {"name": "name", "in": "path", "required": True, "description": described, "schema": named}
    ]
    return operation
