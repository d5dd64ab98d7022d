from __future__ import annotations

import pytest

from credit301.errors import SourceError
from credit301.settings import Settings
from credit301.sources.batches import Store
from credit301.sources.connectors.http_exchange import HttpExchange
from tests.conftest import TinyWorkspace
from tests.unit.sources.exchange import Exchange


def read(store: Store, settings: Settings, cursor: str = "") -> list[str]:
    reader = HttpExchange(store.contract, settings)
    return [str(record["uscc"]) for page in reader.read(cursor) for record in page.records]  # type: ignore[union-attr]


def test_every_page_is_read_in_order(store: Store, settings: Settings, exchange: Exchange) -> None:
    assert read(store, settings) == [record["uscc"] for record in exchange.records]
    assert len(exchange.requests) == 3


def test_reading_goes_on_after_the_cursor(store: Store, settings: Settings, exchange: Exchange) -> None:
    assert read(store, settings, "5") == [record["uscc"] for record in exchange.records[5:]]


@pytest.mark.parametrize("fault", ["500", "503", "429:0", "garbage", "cut", "timeout", "stuck"])
def test_a_passing_fault_is_tried_again_and_costs_no_record(
    tiny: TinyWorkspace, settings: Settings, exchange: Exchange, fault: str
) -> None:
    if fault == "timeout":
        tiny.replace("timeout_seconds: 60", "timeout_seconds: 1")
    exchange.faults = ["", fault, fault]
    assert read(Store(tiny.load(), "sales"), settings) == [record["uscc"] for record in exchange.records]
    assert len(exchange.requests) == 5


def test_a_lasting_fault_ends_after_the_attempts_and_says_what_to_do(
    store: Store, settings: Settings, exchange: Exchange
) -> None:
    exchange.faults = ["503"] * 9
    with pytest.raises(SourceError, match="4 attempts; the last answer: HTTP 503") as caught:
        read(store, settings)
    assert "CREDIT301_EXCHANGE_URL" in caught.value.hint
    assert len(exchange.requests) == 4


def test_the_time_that_the_exchange_asks_for_is_waited(store: Store, settings: Settings, exchange: Exchange) -> None:
    from tenacity import Future, RetryCallState, Retrying

    from credit301.sources.connectors.retry import Again, wait_seconds

    state = RetryCallState(Retrying(), None, (), {})
    state.outcome = Future.construct(1, Again("HTTP 429", 7.0), True)
    assert wait_seconds(HttpExchange(store.contract, settings).options, state) == 7.0


def test_a_refused_token_is_not_tried_again_and_names_the_variable(
    store: Store, settings: Settings, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDIT301_GOVERNMENT_TOKEN", "wrong")
    with pytest.raises(SourceError) as caught:
        read(store, settings)
    assert "CREDIT301_GOVERNMENT_TOKEN" in caught.value.hint
    assert len(exchange.requests) == 1


def test_an_exchange_that_does_not_run_is_said_so(store: Store, settings: Settings) -> None:
    settings.exchange_url = "http://127.0.0.1:9"
    with pytest.raises(SourceError, match="did not deliver"):
        read(store, settings)


def test_a_number_keeps_the_digits_that_were_sent(store: Store, settings: Settings, exchange: Exchange) -> None:
    from credit301.sources.connectors.http_exchange import _parse

    body = b'{"records":[{"amount":12345678901234567.10,"n":7,"b":true}],"next_cursor":"1","has_more":false}'
    assert _parse(body, "").records == [{"amount": "12345678901234567.10", "n": "7", "b": True}]
