"""What a bank sends, opened: sealed where it has to be, and to one of the keys that it was given."""

from __future__ import annotations

from collections.abc import Sequence

from credit301.domain.text import Refusal, Text
from credit301.partners.bank import Bank
from credit301.signing.keys import PrivateKey
from credit301.signing.sealing import CONTENT_TYPE, open_by_any

_FIELD = "content-type"


def opened(bank: Bank, keys: Sequence[PrivateKey], content_type: str, body: bytes) -> bytes:
    """The message that ``bank`` sent as ``body``, whose signature was verified.

    Args:
        bank: who sent it.
        keys: which it may seal to.
        content_type: of ``body``; says whether it is sealed.
        body: as transferred.

    Raises:
        Refusal: it has to be sealed and is not (``unsealed``), is sealed and no key was agreed
            (``sealing_not_agreed``), or is sealed to another key or damaged (``unsealable``).
    """
    if content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
        if bank.must_seal:
            raise _unsealed()
        return body
    if not keys:
        raise _not_agreed()
    return open_by_any(body, keys)


def _unsealed() -> Refusal:
    return Refusal(
        "unsealed",
        Text(
            zh="报文未加密；与该银行约定的是加密报文。", en="The message is not sealed, as was agreed with this bank."
        ),
        field=_FIELD,
        hint=Text(
            zh=f"请用平台的加密公钥加密正文，类型为 {CONTENT_TYPE}，加密后再签名。",
            en=f"Seal the body to the platform's sealing key, say that it is {CONTENT_TYPE}, and sign it then.",
        ),
    )


def _not_agreed() -> Refusal:
    return Refusal(
        "sealing_not_agreed",
        Text(zh="未与该银行约定加密公钥。", en="No key to seal to was agreed with this bank."),
        field=_FIELD,
        hint=Text(
            zh="请发送未加密的 JSON，或先向平台索取加密公钥。",
            en="Send it as JSON that is not sealed, or ask for the platform's sealing key.",
        ),
    )
