"""Messages of banks: believed by their signature, checked against their schema, applied once, answered by a receipt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from credit301.applications.store import ApplicationStore
from credit301.domain.text import Text
from credit301.errors import ConfigError
from credit301.partners import published
from credit301.partners.bank import Bank, load_banks
from credit301.partners.inbound import PartnerDesk
from credit301.partners.keys import keys_of, platform_key, sealing_keys
from credit301.partners.messages import FromBank
from credit301.partners.opening import opened
from credit301.signing.errors import KeyUnusable, SignatureRefused, SignatureUnchecked
from credit301.signing.keys import PrivateKey
from credit301.signing.message import HttpAnswer, HttpMessage
from credit301.signing.nonces import RedisNonces
from credit301.signing.signer import Signer
from credit301.signing.verifier import Verified, Verifier
from serving.errors import RETRY_AFTER, ApiError, Problem
from serving.requests import Reader, read_body

if TYPE_CHECKING:
    from credit301.workspace import Workspace

log = logging.getLogger("credit301.serving")
PLACE = "/v1/partners/messages"
SCHEMA = "/v1/schemas/{name}"
_JSON = "application/json"
_KINDS = {kind.__struct_config__.tag: kind for kind in get_args(FromBank)}
_HINTS = {
    "version": Text(zh='当前版本为 "1.0"。', en='The version is "1.0".'),
    "created_at": Text(zh="带时区的时间，例如 2030-12-31T23:59:59+08:00。", en="A time with its offset."),
}
_NO_KIND = Problem(
    422,
    "unknown_kind",
    Text(zh="报文种类缺失或未知。", en="The kind of the message is missing or not known."),
    field="kind",
    hint=Text(
        zh=f"可用：{'、'.join(map(str, _KINDS))}；格式见 /v1/schemas/bank-message-1.0。",
        en=f"Known: {', '.join(map(str, _KINDS))}; see /v1/schemas/bank-message-1.0.",
    ),
)
_OTHER_NUMBER = Problem(
    422,
    "message_id_differs",
    Text(zh="报文编号与签名中的编号不同。", en="The message's number is not the one that was signed."),
    field="message_id",
    hint=Text(
        zh="请求头 Credit301-Message-Id 与 message_id 须相同。",
        en="Send the same in Credit301-Message-Id and message_id.",
    ),
)
_NO_SCHEMA = Problem(
    404,
    "unknown_schema",
    Text(zh="没有该名称的报文格式。", en="There is no schema of this name."),
    field="name",
    hint=Text(zh=f"可用：{'、'.join(published.NAMES)}。", en=f"There are: {', '.join(published.NAMES)}."),
)
_UNAVAILABLE = Problem(
    503,
    "partners_unavailable",
    Text(zh="银行报文接口尚未配置密钥。", en="The keys for messages of banks are not set up."),
    hint=Text(zh="请联系平台运维（credit301 banks）。", en="Tell whoever runs the platform (credit301 banks)."),
    headers=RETRY_AFTER,
)


class _Kind(msgspec.Struct):
    kind: str = ""


class _Parts(NamedTuple):
    banks: dict[str, Bank]
    verifier: Verifier
    signers: dict[str, Signer]
    desk: PartnerDesk


class PartnerApi:
    """The routes for banks.

    Args:
        workspace: whose banks.
        admit: called with the bank's name before its message is read; raises where it sends too many.
    """

    def __init__(self, workspace: Workspace, admit: Callable[[str], Any] | None = None) -> None:
        self._workspace = workspace
        self._admit = admit
        self._store: ApplicationStore | None = None
        self._nonces: RedisNonces | None = None
        self._parts: _Parts | None = None
        self._sealing: dict[str, tuple[PrivateKey, ...]] = {}
        self._kind = msgspec.json.Decoder(_Kind)
        self._readers = {tag: Reader(kind, "message_id", _HINTS) for tag, kind in _KINDS.items()}
        self._encode = msgspec.json.Encoder().encode

    async def receive(self, request: Request) -> Response:
        """Apply a bank's message once, and answer with a signed receipt.

        Raises:
            ApiError: the signature (401) or the message (400, 413, 422) is not right.
            Refusal: it is not possible now (409), contradicts what was agreed or is not sealed as was agreed (422).
        """
        body = await read_body(request)
        parts = self._set_up()
        asked = HttpMessage(request.method, str(request.url), dict(request.headers), body)
        verified = await _verified(parts.verifier, asked)
        if self._admit is not None:
            self._admit(verified.owner)
        bank = parts.banks[verified.owner]
        message = self._read(opened(bank, self._keys_for(bank), request.headers.get("content-type", ""), body))
        if message.message_id != verified.message_id:
            raise ApiError(_OTHER_NUMBER)
        receipt = self._encode(await parts.desk.take(bank.name, message))
        answer = HttpAnswer(HTTPStatus.OK, {"content-type": _JSON}, receipt, asked)
        signed = parts.signers[bank.name].sign_answer(answer, verified.message_id)
        return Response(receipt, headers={"content-type": _JSON} | signed)

    async def schema(self, request: Request) -> Response:
        """A published schema."""
        found = published.published(request.path_params["name"])
        if found is None:
            raise ApiError(_NO_SCHEMA)
        return Response(found, media_type="application/schema+json")

    async def close(self) -> None:
        """Close every connection."""
        if self._store is not None:
            await self._store.close()
        if self._nonces is not None:
            await self._nonces.close()

    def _read(self, body: bytes) -> FromBank:
        try:
            kind = self._kind.decode(body).kind
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            kind = "accepted"  # its reader says what is wrong
        if kind not in self._readers:
            raise ApiError(_NO_KIND)
        message: FromBank = self._readers[kind].decode(body)
        return message

    def _keys_for(self, bank: Bank) -> tuple[PrivateKey, ...]:
        """What the bank may seal to. Where its key is not set up, the other banks' messages are taken all the same."""
        if bank.name not in self._sealing:
            try:
                self._sealing[bank.name] = sealing_keys(self._workspace, bank)
            except (KeyUnusable, ConfigError) as error:
                log.warning("messages of %s are not taken: %s", bank.name, error)
                raise ApiError(_UNAVAILABLE) from error
        return self._sealing[bank.name]

    def _set_up(self) -> _Parts:
        # Not before it is asked for: an endpoint that only decides needs no database and no key.
        if self._parts is None:
            workspace = self._workspace
            try:
                banks = load_banks(workspace)
                ring = keys_of(workspace, banks.values())
                signers = {name: Signer(platform_key(workspace, bank)) for name, bank in banks.items()}
                self._store = ApplicationStore.of(workspace)
            except (KeyUnusable, ConfigError) as error:
                log.warning("messages of banks are not taken: %s", error)
                raise ApiError(_UNAVAILABLE) from error
            self._nonces = RedisNonces(workspace.settings.redis_address())
            desk = PartnerDesk(self._store, workspace.entity.key)
            self._parts = _Parts(banks, Verifier(ring, self._nonces), signers, desk)
        return self._parts


async def _verified(verifier: Verifier, message: HttpMessage) -> Verified:
    try:
        return await verifier.verify(message)
    except SignatureRefused as error:
        raise ApiError(Problem(401, error.code, error.text, hint=error.hint_text, headers=_CHALLENGE)) from error
    except SignatureUnchecked as error:
        raise ApiError(
            Problem(503, "signature_unchecked", error.text, hint=error.hint_text, headers=RETRY_AFTER)
        ) from error


_CHALLENGE = {"WWW-Authenticate": "Signature"}
