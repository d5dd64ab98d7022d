"""A small real exchange for the tests: pages behind a cursor, a token, and faults in a given order."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from stdnum.cn import uscc

TOKEN = "token-of-the-test"
Record = dict[str, Any]


def enterprise(number: int) -> str:
    """A valid code, a different one for each number."""
    body = f"91420100{number:09d}"
    return body + str(uscc.calc_check_digit(body))


def sales(count: int, start: int = 0, **changes: Any) -> list[Record]:
    """Valid records of the tiny workspace's source."""
    return [
        {
            "uscc": enterprise(number),
            "month": "2024-03",
            "amount": f"{number}.50",
            "kind": "goods",
            "event_time": "2024-03-31T00:00:00",
            "available_at": "2024-04-15T00:00:00",
            **changes,
        }
        for number in range(start, start + count)
    ]


class Exchange:
    """What the server serves: ``records`` in order; each request first takes one of ``faults``.

    After ``answers`` requests nobody is answered any more: they wait until they hang up.
    """

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.answers = sys.maxsize
        self.url = ""

    def answer(self, query: dict[str, list[str]]) -> dict[str, Any]:
        start = int(query.get("cursor", ["0"])[0])
        page = self.records[start : start + int(query["limit"][0])]
        end = start + len(page)
        return {
            "records": page,
            "next_cursor": str(end),
            "has_more": end < len(self.records),
            "served_through": "2024-05-01T00:00:00",
        }


def _handler(exchange: Exchange) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one branch for each fault
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            exchange.requests.append(self.path)
            fault = exchange.faults.pop(0) if exchange.faults else ""
            if len(exchange.requests) > exchange.answers:
                fault = "timeout"
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send(401, b'{"error":{"code":"unauthorized"}}')
            elif fault == "timeout":
                # Nothing is read but the end of the connection: the client has lost its patience.
                with suppress(ConnectionError):
                    self.connection.recv(1)
                self.close_connection = True
            elif fault == "cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"records": [')
                self.close_connection = True
            elif fault == "garbage":
                self._send(200, b"<html>maintenance</html>")
            elif fault == "stuck":
                query = parse_qs(urlsplit(self.path).query)
                self._send(
                    200, json.dumps({**exchange.answer(query), "next_cursor": query.get("cursor", [""])[0]}).encode()
                )
            elif fault.startswith("429"):
                self._send(429, b"{}", {"Retry-After": fault.partition(":")[2]})
            elif fault:
                self._send(int(fault), b"{}")
            else:
                self._send(200, json.dumps(exchange.answer(parse_qs(urlsplit(self.path).query))).encode())

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by the base
            """Keep quiet."""

    return Handler


@contextmanager
def serving(records: list[Record]) -> Iterator[Exchange]:
    """An exchange on a free port of the loopback interface."""
    exchange = Exchange(records)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(exchange))
    server.daemon_threads = True
    exchange.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield exchange
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
