"""What a signature covers, the same for who signs and who verifies."""

from __future__ import annotations

from collections.abc import Mapping

from credit301.signing.message import MESSAGE_ID

# Not @target-uri: its scheme is another behind a proxy that ends TLS; the host, path and query are all the rest of it.
_TARGET = ("@method", "@authority", "@path", "@query")
_CONTENT = ("content-digest", MESSAGE_ID)
# How the body is to be read: covered wherever they are said.
_IF_PRESENT = ("content-type", "content-encoding")
# An answer names the very request that it answers, by its signature.
_OF_REQUEST = tuple(f'"{name}";req' for name in (*_TARGET, MESSAGE_ID, "signature"))


def of_request(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Components that the signature of a request with ``headers`` must cover."""
    return (*_TARGET, *_CONTENT, *_said(headers))


def of_answer(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Components that the signature of an answer with ``headers`` must cover."""
    return ('"@status"', *(f'"{name}"' for name in (*_CONTENT, *_said(headers))), *_OF_REQUEST)


def _said(headers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in _IF_PRESENT if name in headers)
