"""Reading a request: its size, its JSON, its fields; what is wrong is said by field and in both languages."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from credit301.domain.text import Text
from serving.decide import Application
from serving.errors import BODY_TOO_SLOW, ApiError, Problem, too_large

LARGEST_BODY = 16 * 1024
BODY_SECONDS = 10.0
_BODY = "credit301.body"
_FIELD = re.compile(r"(?:field |at )`\$?\.?([^`]+)`")
_SENT = re.compile(r" (?:'.*'|\".*\"|[-+\d.eE]+)$", re.DOTALL)
_WANTED = {
    "amount": Text(zh='申请金额，以元为单位，例如 "200000.00" 或 200000。', en='Yuan, such as "200000.00" or 200000.'),
    "term_months": Text(zh="期限（月），整数，例如 12。", en="Months, a whole number such as 12."),
}


def application_type(key: str, example: str, subjects: type[msgspec.Struct] | None = None) -> type[msgspec.Struct]:
    """The struct of a request for a decision, with the entity's key under its own name ``key``.

    ``subjects`` is the struct of what else windows over events are counted by; ``None`` where there is nothing.
    """
    described = Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=64,
            description=f"企业标识（{key}） / the enterprise's key ({key})",
            examples=[example],
        ),
    ]
    amount = Annotated[
        Decimal,
        msgspec.Meta(
            description="申请金额（元，最多两位小数） / amount asked for (yuan, at most two decimals)",
            examples=["200000.00"],
        ),
    ]
    months = Annotated[int, msgspec.Meta(description="期限（月） / term in months", examples=[12], ge=1, le=360)]
    fields: list[Any] = [("entity", described), ("amount", amount), ("term_months", months)]
    if subjects is not None:
        meta = msgspec.Meta(description="用于读取近期行为窗口 / for the windows over recent events", examples=[None])
        fields.append(("subjects", Annotated[subjects | None, meta], None))
    return msgspec.defstruct(
        "DecisionRequest",
        fields,
        rename={"entity": key},
        forbid_unknown_fields=True,
        frozen=True,
        namespace={"__doc__": "授信申请 / a request for credit"},
    )


class ApplicationReader:
    """Reads requests for a decision whose entity's key is called ``key``."""

    def __init__(self, key: str, example: str, subjects: type[msgspec.Struct] | None = None) -> None:
        self.type = application_type(key, example, subjects)
        self._has_subjects = subjects is not None
        self._reader = Reader(self.type, key, _WANTED)

    async def read(self, request: Request) -> Application:
        """The application in ``request``.

        Raises:
            ApiError: as :meth:`Reader.read`.
        """
        sent = await self._reader.read(request)
        told = msgspec.structs.asdict(sent.subjects) if self._has_subjects and sent.subjects is not None else {}
        subjects = {name: value for name, value in told.items() if value is not None}
        return Application(sent.entity, sent.amount, sent.term_months, subjects)


class Reader:
    """Reads requests of one type whose entity's key is called ``key``; ``hints`` say what other fields want."""

    def __init__(self, kind: type[msgspec.Struct], key: str, hints: dict[str, Text]) -> None:
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._key = key
        self._hints = hints
        self._names = tuple(field.encode_name for field in msgspec.structs.fields(kind))

    async def read(self, request: Request) -> Any:
        """The struct in ``request``.

        Raises:
            ApiError: the body is too large (413), is not JSON (400), or a field is missing, unknown or wrong (422).
        """
        return self.decode(await read_body(request))

    def decode(self, body: bytes) -> Any:
        """The struct in ``body``; raises as :meth:`read`."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise ApiError(self._invalid(str(error))) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(
                Problem(
                    400,
                    "malformed_json",
                    Text(zh="请求体不是有效的 JSON。", en="The body is not valid JSON."),
                    hint=Text(
                        zh="请发送 UTF-8 编码的 JSON 对象，示例见 /docs。",
                        en="Send a JSON object in UTF-8; see /docs for an example.",
                    ),
                )
            ) from error

    def _invalid(self, message: str) -> Problem:
        match = _FIELD.search(message)
        field = match.group(1).partition(".")[0].partition("[")[0] if match else None
        names = self._names
        if message.startswith("Object missing required field"):
            text = Text(zh=f"缺少必填字段 {field}。", en=f"The required field {field} is missing.")
            code = "missing_field"
        elif message.startswith("Object contains unknown field"):
            # What was sent may be anything, even a person's data: it is not repeated.
            listed = ", ".join(names)
            return Problem(
                422,
                "unknown_field",
                Text(zh="请求含有未知字段。", en="The request has a field that is not known."),
                hint=Text(zh=f"允许的字段：{listed}。", en=f"Allowed fields: {listed}."),
            )
        elif field in names:
            # What was sent is not repeated here either: of a value that is not allowed, msgspec tells which it was.
            reason = _SENT.sub("", message.partition(" - at ")[0]).replace("`", "")
            text = Text(zh=f"字段 {field} 的类型或取值不正确。", en=f"The field {field} is not right: {reason}.")
            code = "invalid_field"
        else:
            return Problem(
                422,
                "invalid_request",
                Text(zh="请求体须为 JSON 对象。", en="The body must be a JSON object."),
                hint=Text(zh="示例见 /docs。", en="See /docs for an example."),
            )
        key_hint = Text(zh=f"{self._key} 为文本。", en=f"{self._key} is a text.")
        return Problem(422, code, text, field=field, hint=self._hints.get(field or "", key_hint))


async def read_body(request: Request) -> bytes:
    """The body of ``request``, which is read once and kept for whoever asks again.

    Raises:
        ApiError: it is larger than ``LARGEST_BODY`` bytes, or takes too long; it is not read further then.
    """
    known: bytes | None = request.scope.get(_BODY)
    if known is not None:
        return known
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > LARGEST_BODY:
        raise ApiError(too_large(LARGEST_BODY))
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > LARGEST_BODY:
                    raise ApiError(too_large(LARGEST_BODY))
                chunks.append(chunk)
    except TimeoutError as error:
        raise ApiError(BODY_TOO_SLOW) from error
    except ClientDisconnect as error:
        gone = Text(zh="客户端已断开。", en="The client went away.")
        raise ApiError(Problem(400, "client_disconnected", gone)) from error
    body = request.scope[_BODY] = b"".join(chunks)
    return body
