"""HTTP messages as they are signed: what was sent, to the byte."""

from __future__ import annotations

import msgspec

MESSAGE_ID = "credit301-message-id"
# What the signature of a request is for, and of an answer: the one cannot pass for the other.
REQUEST_TAG = "credit301"
ANSWER_TAG = "credit301-answer"


class HttpMessage(msgspec.Struct, frozen=True):
    """A request.

    Args:
        method: in capital letters.
        url: absolute, as the receiver is known to the sender: behind a proxy, the public one.
        headers: by lower-case name; of a repeated header the values, joined by ``", "``.
        body: as transferred, before any decoding.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes = b""


class HttpAnswer(msgspec.Struct, frozen=True):
    """A response to ``request``, which is as it was sent: with its signature."""

    status: int
    headers: dict[str, str]
    body: bytes
    request: HttpMessage

    @property
    def status_code(self) -> int:
        """The status, by the name under which the signing library looks for it."""
        return self.status
