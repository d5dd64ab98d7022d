from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from credit301.errors import SourceError
from credit301.settings import Settings
from credit301.sources.batches import Store
from credit301.sources.inbox import pull
from credit301.workspace import Workspace
from tests.unit.sources.conftest import pull_all
from tests.unit.sources.exchange import Exchange, sales


def test_what_arrives_is_kept_as_text_exactly_as_sent(
    store: Store, exchange: Exchange, tiny_workspace: Workspace
) -> None:
    exchange.records[0]["amount"] = 12
    exchange.records[1]["amount"] = " 1,000.0 "
    exchange.records[2]["kind"] = True
    exchange.records[3]["kind"] = ["a", {"b": None}]
    batch = pull_all(store, tiny_workspace)
    table = pq.read_table(store.inbox_file(batch.pull_id))
    assert table["amount"].to_pylist()[:3] == ["12", " 1,000.0 ", "2.50"]
    assert table["kind"].to_pylist()[2:4] == ["true", '["a",{"b":null}]']
    assert table["_row"].to_pylist() == [1, 2, 3, 4, 5, 6, 7]


def test_the_same_start_is_the_same_pull_and_is_not_asked_twice(
    store: Store, exchange: Exchange, tiny_workspace: Workspace
) -> None:
    first = pull_all(store, tiny_workspace)
    asked = len(exchange.requests)
    assert pull_all(store, tiny_workspace) == first
    assert len(exchange.requests) == asked


def test_a_pull_again_takes_what_the_source_has_now(
    store: Store, exchange: Exchange, tiny_workspace: Workspace
) -> None:
    first = pull_all(store, tiny_workspace)
    exchange.records = sales(9)
    second = pull_all(store, tiny_workspace, again=True)
    assert (second.pull_id, second.rows) == (first.pull_id, 9)


def test_a_pull_ends_at_the_page_that_fills_it(store: Store, tiny_workspace: Workspace) -> None:
    batch = pull_all(store, tiny_workspace, maximum_rows=4)
    assert (batch.rows, batch.cursor_after, batch.has_more) == (6, "6", True)


def test_nothing_new_leaves_no_file(store: Store, exchange: Exchange, settings: Settings) -> None:
    exchange.records = []
    assert pull(store, settings, maximum_rows=10) is None
    assert list(store.inbox.iterdir()) == []


def test_an_unknown_column_is_kept_aside_and_counted(
    store: Store, exchange: Exchange, tiny_workspace: Workspace
) -> None:
    exchange.records[1]["colour"] = "red"
    exchange.records[4]["colour"] = None
    batch = pull_all(store, tiny_workspace)
    extra = pq.read_table(store.inbox_file(batch.pull_id))["_extra"].to_pylist()
    assert batch.drift == {"colour": 1}
    assert [json.loads(value) if value else None for value in extra] == [
        None,
        {"colour": "red"},
        None,
        None,
        None,
        None,
        None,
    ]


def test_an_optional_column_that_does_not_come_is_reported(
    store: Store, exchange: Exchange, tiny_workspace: Workspace
) -> None:
    for record in exchange.records:
        del record["kind"]
    assert pull_all(store, tiny_workspace).absent == ["kind"]


def test_a_required_column_that_does_not_come_stops_the_pull(
    store: Store, exchange: Exchange, settings: Settings
) -> None:
    for record in exchange.records:
        record["amount_yuan"] = record.pop("amount")
    with pytest.raises(SourceError, match="no record has amount"):
        pull(store, settings, maximum_rows=10)
    assert list(store.inbox.iterdir()) == []


def test_a_pull_that_breaks_off_leaves_no_file(store: Store, exchange: Exchange, settings: Settings) -> None:
    exchange.faults = ["", *["500"] * 9]
    with pytest.raises(SourceError):
        pull(store, settings, maximum_rows=10)
    assert list(store.inbox.iterdir()) == []
