"""Verifying what is received: believed only if signed by a known key, now, for here, and never seen before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import http_sf
import msgspec
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    InvalidSignature,
    MappingKeyResolver,
    VerifyResult,
)

from credit301.signing import coverage
from credit301.signing.algorithms import Digest, library_algorithm
from credit301.signing.errors import SignatureRefused, refused
from credit301.signing.keys import KeyRing, PublicKey
from credit301.signing.message import ANSWER_TAG, MESSAGE_ID, REQUEST_TAG, HttpAnswer, HttpMessage
from credit301.signing.nonces import SeenNonces
from credit301.signing.signer import MESSAGE_IDS, WINDOW

_LONGEST_NONCE = 128
_TEXTS = ("keyid", "alg", "nonce")
_TIMES = ("created", "expires")


class Verified(msgspec.Struct, frozen=True):
    """Who said so, and when.

    Args:
        key_id: the key.
        owner: whose key it is: the bank.
        message_id: the sender's number of the message; the same when it is sent again.
        created: when it was signed, in seconds since 1970 of the sender's clock.
    """

    key_id: str
    owner: str
    message_id: str
    created: int


class Verifier:
    """Verifies messages.

    Args:
        keys: whom to believe.
        nonces: what was seen before.
        window: by how many seconds the sender's clock may differ, either way.
        clock: seconds since 1970.
    """

    def __init__(
        self, keys: KeyRing, nonces: SeenNonces, *, window: int = WINDOW, clock: Callable[[], float] = time.time
    ) -> None:
        self.keys = keys
        self._nonces = nonces
        self._window = window
        self._clock = clock

    async def verify(self, message: HttpMessage) -> Verified:
        """Who sent ``message``, which is to be acted upon at most once.

        Raises:
            SignatureRefused: it is not to be believed; ``code`` says why.
            SignatureUnchecked: it cannot be told now whether it was seen before; it is not accepted.
        """
        now = self._clock()
        verified, nonce = self._checked(message, message.headers, message.body, REQUEST_TAG, coverage.of_request, now)
        # Last, so that nobody without a key can fill the store or use up the nonce of another.
        keep = int(verified.created + self._window - now) + 2
        if not await self._nonces.first(verified.key_id, nonce, keep):
            raise refused(
                "replayed",
                "该签名已被使用过，报文未被接受。",
                "This signature was used before; the message was not accepted.",
                hint_zh="重发时请重新签名，报文编号不变。",
                hint_en="Sign it anew to send it again; the message id stays.",
            )
        return verified

    def verify_answer(self, answer: HttpAnswer) -> Verified:
        """Who answered. Being bound to one request, whose nonce is new, an answer needs no memory.

        Raises:
            SignatureRefused: it is not to be believed; ``code`` says why.
        """
        headers = answer.headers
        return self._checked(answer, headers, answer.body, ANSWER_TAG, coverage.of_answer, self._clock())[0]

    def _checked(
        self,
        message: HttpMessage | HttpAnswer,
        headers: Mapping[str, str],
        body: bytes,
        tag: str,
        covers: Callable[[Mapping[str, str]], Sequence[str]],
        now: float,
    ) -> tuple[Verified, str]:
        parameters = _parameters(headers, tag)
        self._in_time(parameters, now)
        key = self.keys.current(parameters["keyid"], datetime.fromtimestamp(now, UTC))
        if parameters["alg"] != key.algorithm.value:
            raise refused(
                "wrong_algorithm",
                f"密钥 {key.key_id} 的算法是 {key.algorithm.value}，与签名声明的不符。",
                f"Key {key.key_id} is for {key.algorithm.value}; the signature claims another algorithm.",
            )
        message_id = headers.get(MESSAGE_ID, "")
        if not MESSAGE_IDS.fullmatch(message_id):
            raise _malformed(f"{MESSAGE_ID} is missing or no message id")
        result = _authentic(message, key, tag)
        _complete(result, covers(headers))
        _undamaged(result, body)
        return Verified(key.key_id, key.owner, message_id, parameters["created"]), parameters["nonce"]

    def _in_time(self, parameters: Mapping[str, Any], now: float) -> None:
        skew = round(now - parameters["created"])
        if abs(skew) > self._window:
            side_zh, side_en = ("早于", "before") if skew > 0 else ("晚于", "after")
            raise refused(
                "clock",
                f"签名时间{side_zh}本平台时钟 {abs(skew)} 秒，最多允许 {self._window} 秒。",
                f"It was signed {abs(skew)} s {side_en} this platform's clock; {self._window} s are allowed.",
                hint_zh="请校准时钟并重新签名。",
                hint_en="Set your clock by NTP, and sign the message when you send it.",
            )
        if parameters["expires"] < now:
            raise refused("expired", "签名已过期。", "The signature has expired.", hint_en="Sign it anew.")


class _Library(HTTPMessageVerifier):
    """The library's verifier; times were judged before by our clock."""

    content_digest_class = Digest

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        del sig_input, max_age


def _parameters(headers: Mapping[str, str], tag: str) -> dict[str, Any]:
    if "signature-input" not in headers or "signature" not in headers:
        raise refused(
            "unsigned",
            "报文没有签名。",
            "The message is not signed.",
            hint_zh="请按 RFC 9421 签名，见 docs/signing.md。",
            hint_en="Sign it by RFC 9421; docs/signing.md says how.",
        )
    try:
        members: Any = http_sf.parse(headers["signature-input"].encode("ascii"), tltype="dictionary")
        found = [parameters for _, parameters in members.values() if parameters.get("tag") == tag]
    except (ValueError, TypeError, AttributeError) as error:
        raise _malformed("Signature-Input is no structured field") from error
    if len(found) != 1:
        raise refused(
            "unsigned",
            f"报文应恰有一个 tag 为 {tag} 的签名，实有 {len(found)} 个。",
            f"The message needs exactly one signature with the tag {tag}; it has {len(found)}.",
        )
    parameters = dict(found[0])
    if any(not isinstance(parameters.get(name), str) for name in _TEXTS) or any(
        type(parameters.get(name)) is not int for name in _TIMES
    ):
        raise refused(
            "incomplete",
            "签名参数不全：需要 created、expires、nonce、keyid、alg、tag。",
            "A parameter of the signature is missing: created, expires, nonce, keyid, alg and tag are needed.",
        )
    if not 0 < len(parameters["nonce"]) <= _LONGEST_NONCE:
        raise _malformed(f"the nonce has to have 1 to {_LONGEST_NONCE} characters")
    return parameters


def _authentic(message: HttpMessage | HttpAnswer, key: PublicKey, tag: str) -> VerifyResult:
    resolver = MappingKeyResolver(public_keys={key.key_id: key}, private_keys={})  # type: ignore[dict-item]
    library = _Library(signature_algorithm=library_algorithm(key.algorithm), key_resolver=resolver)
    try:
        return library.verify(message, max_age=None, expect_tag=tag)[0]
    except (HTTPMessageSignaturesException, ValueError, TypeError) as error:
        raise refused(
            "bad_signature",
            "签名与报文或密钥不符。",
            "The signature is not of this message and this key.",
            hint_zh="方法、主机、路径、查询串、正文摘要或所签报文头在签名后被改动，或密钥不对。",
            hint_en="Method, host, path, query, digest or a signed header was changed since; or the key is another.",
        ) from error


def _complete(result: VerifyResult, needed: Sequence[str]) -> None:
    missing = [
        name for name in needed if (name if name.startswith('"') else f'"{name}"') not in result.covered_components
    ]
    if missing:
        listed = ", ".join(missing)
        raise refused(
            "incomplete",
            f"签名未覆盖：{listed}。",
            f"The signature does not cover {listed}.",
            hint_zh="请把它们加入所签内容。",
            hint_en="Add them to what you sign.",
        )


def _undamaged(result: VerifyResult, body: bytes) -> None:
    try:
        Digest.verify_components(result.covered_components, body)
    except InvalidSignature as error:
        raise refused(
            "bad_digest",
            "正文与 Content-Digest 不符，或摘要算法不受支持。",
            "The body is not the one that Content-Digest is of, or the digest is of an unknown algorithm.",
            hint_zh="支持 sha-256、sha-512 与 sm3。",
            hint_en="sha-256, sha-512 and sm3 are known.",
        ) from error


def _malformed(why: str) -> SignatureRefused:
    return refused("malformed", f"报文格式有误：{why}。", f"The message is malformed: {why}.")
