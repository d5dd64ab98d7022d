"""Connections of the endpoint: who is at the other end by its certificate, and how they end when a worker does."""

from __future__ import annotations

import asyncio

from starlette.requests import HTTPConnection
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from credit301.signing.tls import bank_of
from serving import evenly

_STATE = "certified_bank"


class PeerProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, which tells applications nothing of certificates, and closes idle connections when it ends.

    A client may be sending a request on such a connection at that moment, and would lose it. So a worker that ends
    answers once more, says ``Connection: close``, and closes what stays idle for as long as it always does.
    """

    _bank: str | None = None
    _ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the certificate, which was verified in the handshake, once for the connection."""
        super().connection_made(transport)
        evenly.count(1)
        self._bank = bank_of(transport.get_extra_info("peercert"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        evenly.count(-1)

    def on_message_begin(self) -> None:
        """Add the bank to the state of each request."""
        super().on_message_begin()
        self.scope["state"][_STATE] = self._bank

    def on_headers_complete(self) -> None:
        """Begin a request; the last one of its connection where the worker ends."""
        super().on_headers_complete()
        if self._ending and self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Let the connection end with its next answer, or where none is asked for within the usual time."""
        self._ending = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self.timeout_keep_alive_task is None:
            # Nothing was asked on it yet.
            self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


def certified_bank(request: HTTPConnection) -> str | None:
    """The bank that the client's certificate names; none without mutual TLS, or where it names none."""
    bank: str | None = getattr(request.state, _STATE, None)
    return bank
