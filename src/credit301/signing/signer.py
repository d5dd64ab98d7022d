"""Signing what is sent (RFC 9421, RFC 9530)."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace

from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    MappingKeyResolver,
)

from credit301.signing import coverage
from credit301.signing.algorithms import digest_for, library_algorithm
from credit301.signing.errors import KeyUnusable, SignatureRefused, refused
from credit301.signing.keys import PrivateKey
from credit301.signing.message import ANSWER_TAG, MESSAGE_ID, REQUEST_TAG, HttpAnswer, HttpMessage

WINDOW = 300
LABEL = "credit301"
MESSAGE_IDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_OURS = ("content-digest", "signature", "signature-input", MESSAGE_ID)
_NONCE_BYTES = 18


class Signer:
    """Signs messages with one key.

    Args:
        key: ours.
        clock: seconds since 1970.
        window: for how many seconds a signature is good.

    Raises:
        KeyUnusable: the key is for sealing only.
    """

    def __init__(self, key: PrivateKey, *, clock: Callable[[], float] = time.time, window: int = WINDOW) -> None:
        if not key.algorithm.signs:
            raise KeyUnusable(f"Key {key.key_id} is for encryption only; it does not sign.")
        self.key = key
        self._clock = clock
        self._window = window
        self._library = HTTPMessageSigner(
            signature_algorithm=library_algorithm(key.algorithm),
            key_resolver=MappingKeyResolver(public_keys={}, private_keys={key.key_id: key}),  # type: ignore[dict-item]
        )
        self._library.content_digest_class = digest_for(key.algorithm)

    def sign(self, message: HttpMessage, message_id: str) -> dict[str, str]:
        """The headers that make ``message`` a signed one, to be added to its own (and to replace their like).

        The number of the message stays when it is sent again; its signature is another each time.

        Raises:
            SignatureRefused: the message cannot be signed as it is: ``malformed``.
        """
        view = SimpleNamespace(method=message.method, url=message.url)
        return self._signed(view, message.headers, message.body, message_id, coverage.of_request, REQUEST_TAG)

    def sign_answer(self, answer: HttpAnswer, message_id: str) -> dict[str, str]:
        """The headers that make ``answer`` one that is signed, as the answer to its request and to no other.

        Raises:
            SignatureRefused: it cannot be signed as it is, or its request was not signed: ``malformed``.
        """
        view = SimpleNamespace(status_code=answer.status, request=answer.request)
        return self._signed(view, answer.headers, answer.body, message_id, coverage.of_answer, ANSWER_TAG)

    def _signed(
        self,
        view: SimpleNamespace,
        headers: dict[str, str],
        body: bytes,
        message_id: str,
        covers: Callable[[dict[str, str]], Sequence[str]],
        tag: str,
    ) -> dict[str, str]:
        if not MESSAGE_IDS.fullmatch(message_id):
            raise _unsignable(f"{message_id[:40]!r} is no message id")
        lower = {name.lower(): value for name, value in headers.items()}
        view.headers = {name: value for name, value in lower.items() if name not in _OURS}
        view.headers[MESSAGE_ID] = message_id
        now = int(self._clock())
        try:
            self._library.sign(
                view,
                key_id=self.key.key_id,
                created=datetime.fromtimestamp(now, UTC),
                expires=datetime.fromtimestamp(now + self._window, UTC),
                nonce=secrets.token_urlsafe(_NONCE_BYTES),
                label=LABEL,
                tag=tag,
                covered_component_ids=tuple(covers(view.headers)),
                body=body,
            )
        except (HTTPMessageSignaturesException, ValueError, TypeError) as error:
            raise _unsignable(str(error)) from error
        return {name.lower(): value for name, value in view.headers.items() if name.lower() in _OURS}


def _unsignable(why: str) -> SignatureRefused:
    return refused("malformed", f"报文无法签名：{why}。", f"The message cannot be signed: {why}.")
