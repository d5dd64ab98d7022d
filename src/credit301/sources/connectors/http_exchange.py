"""The HTTP data exchange: pages behind a durable cursor, a bearer token, and every fault a network has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
from pydantic import Field
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from credit301 import console
from credit301.contracts.model import Contract
from credit301.errors import SourceError
from credit301.settings import PREFIX, Settings
from credit301.sources.connectors.base import Options, Page, parse_options

MAXIMUM_WAIT_SECONDS = 60.0


class HttpExchangeOptions(Options):
    """How an exchange is asked; ``path`` is the resource's, below the exchange's address."""

    path: str
    token_secret: str
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    attempts: Annotated[int, Field(ge=1, le=20)] = 8
    first_wait_seconds: Annotated[float, Field(ge=0)] = 0.25
    timeout_seconds: Annotated[float, Field(gt=0)] = 30.0


class _Again(Exception):
    """A fault that may pass; ``wait`` is how long the exchange asked to be left alone, in seconds."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


class HttpExchange:
    """Reads one resource of the exchange."""

    def __init__(self, contract: Contract, settings: Settings) -> None:
        self.options = parse_options(HttpExchangeOptions, contract)
        self.name = contract.name
        self.variable = f"{PREFIX}{self.options.token_secret.upper()}"
        self.token = settings.secret(self.options.token_secret)
        self.url = f"{settings.exchange_address().rstrip('/')}/{self.options.path.lstrip('/')}"

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
        attempts = self.options.attempts
        retrying = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(attempts),
            wait=self._wait,
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            page: Page = retrying(self._ask, client, cursor)
        except _Again as error:
            raise SourceError(
                f"{self.name}: {self.url} did not deliver in {attempts} attempts; the last answer: {error}.",
                hint=f"Does the exchange run, is {PREFIX}EXCHANGE_URL right? Pull again: it goes on where it stopped.",
            ) from error
        return page

    def _wait(self, state: RetryCallState) -> float:
        backoff = wait_exponential_jitter(
            initial=self.options.first_wait_seconds,
            max=MAXIMUM_WAIT_SECONDS / 2,
            jitter=self.options.first_wait_seconds,
        )
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, _Again) else None
        return min(max(asked or 0.0, backoff(state)), MAXIMUM_WAIT_SECONDS)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        console.say(
            f"  {self.name}: {error}; attempt {state.attempt_number} of {self.options.attempts}, again in {pause:.1f} s"
        )

    def _ask(self, client: httpx.Client, cursor: str) -> Page:
        parameters: dict[str, str | int] = {"limit": self.options.page_size}
        if cursor:
            parameters["cursor"] = cursor
        try:
            response = client.get(self.url, params=parameters)
        except httpx.TransportError as error:
            raise _Again(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        self._refuse(response)
        return _parse(response.content, cursor)

    def _refuse(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise _Again(f"HTTP {status}", _seconds(response.headers.get("Retry-After")))
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
        raise _Again(f"a body of {len(body)} bytes that is not JSON") from error
    records = document.get("records") if isinstance(document, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise _Again("a body without a list of records")
    after, more = document.get("next_cursor"), document.get("has_more")
    if not isinstance(after, str) or not isinstance(more, bool):
        raise _Again("a body without next_cursor and has_more")
    if (more or records) and after == cursor:
        raise _Again("a page that does not move the cursor")
    return Page(records, after, str(document.get("served_through") or ""), more)
