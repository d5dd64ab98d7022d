"""The HTTP data exchange: pages behind a durable cursor, a bearer token, and every fault a network has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from credit301.contracts.model import Contract
from credit301.errors import SourceError
from credit301.settings import PREFIX, Settings
from credit301.sources.connectors.base import Page, parse_options
from credit301.sources.connectors.connections import connection
from credit301.sources.connectors.options import HttpExchangeOptions
from credit301.sources.connectors.retry import Again, persistently


class HttpExchange:
    """Reads one resource of the exchange."""

    def __init__(self, contract: Contract, settings: Settings) -> None:
        self.options = parse_options(HttpExchangeOptions, contract)
        self.name = contract.name
        if self.options.connection:
            found = connection(self.options.connection)
            self.variable = self.address = f"the connection {found.id}"
            self.token = found.password.get_secret_value()
            base = found.host if "://" in found.host else f"{found.kind or 'https'}://{found.host}"
            base = f"{base}:{found.port}" if found.port else base
        else:
            self.variable, self.address = f"{PREFIX}{self.options.token_secret.upper()}", f"{PREFIX}EXCHANGE_URL"
            self.token = settings.secret(self.options.token_secret)
            base = settings.exchange_address()
        self.url = f"{base.rstrip('/')}/{self.options.path.lstrip('/')}"

    def read(self, cursor: str) -> Iterator[Page]:
        """Pages after ``cursor`` until the exchange says that it has no more.

        Raises:
            SourceError: the token is refused, the resource unknown, or a fault outlasted the attempts.
        """
        with httpx.Client(
            headers={"Authorization": f"Bearer {self.token}"}, timeout=self.options.timeout_seconds, trust_env=False
        ) as client:
            while True:
                page = self._page(client, cursor)
                yield page
                if not page.has_more:
                    return
                cursor = page.cursor_after

    def _page(self, client: httpx.Client, cursor: str) -> Page:
        try:
            return persistently(self.name, self.options, lambda: self._ask(client, cursor))
        except Again as error:
            raise SourceError(
                f"{self.name}: {self.url} did not deliver in {self.options.attempts} attempts; "
                f"the last answer: {error}.",
                hint=f"Does the exchange run, is {self.address} right? Pull again: it goes on where it stopped.",
            ) from error

    def _ask(self, client: httpx.Client, cursor: str) -> Page:
        parameters: dict[str, str | int] = {"limit": self.options.page_size}
        if cursor:
            parameters["cursor"] = cursor
        try:
            response = client.get(self.url, params=parameters)
        except httpx.TransportError as error:
            raise Again(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        self._refuse(response)
        return _parse(response.content, cursor)

    def _refuse(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise Again(f"HTTP {status}", _seconds(response.headers.get("Retry-After")))
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SourceError(
                f"{self.name}: the exchange refused the token (HTTP {status}).",
                hint=f"Set {self.variable} to the token that the exchange issued.",
            )
        raise SourceError(
            f"{self.name}: {self.url} answered HTTP {status}: {response.text[:200]}",
            hint="Check `path` in the contract's pull options.",
        )


def _seconds(retry_after: str | None) -> float | None:
    try:
        return float(retry_after) if retry_after else None
    except ValueError:
        return None


def _parse(body: bytes, cursor: str) -> Page:
    try:
        # Numbers stay the text that was sent: a float would lose cents.
        document: Any = json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
    except ValueError as error:
        raise Again(f"a body of {len(body)} bytes that is not JSON") from error
    records = document.get("records") if isinstance(document, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise Again("a body without a list of records")
    after, more = document.get("next_cursor"), document.get("has_more")
    if not isinstance(after, str) or not isinstance(more, bool):
        raise Again("a body without next_cursor and has_more")
    if (more or records) and after == cursor:
        raise Again("a page that does not move the cursor")
    return Page(records, after, str(document.get("served_through") or ""), more)
