from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from credit301 import verbs
from credit301.errors import SourceError, ValidationFailed
from credit301.sources.batches import Store
from credit301.sources.inbox import pull
from credit301.sources.landing import land
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.unit.sources.conftest import accept, pull_all
from tests.unit.sources.exchange import Exchange, sales


def land_next(store: Store, workspace: Workspace) -> int:
    batch = pull_all(store, workspace)
    accept(store, batch)
    return land(workspace, store, batch)


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def landed(store: Store) -> list[dict[str, object]]:
    return [row for path in sorted(store.landing.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_landed_values_have_the_types_of_the_contract(store: Store, tiny_workspace: Workspace) -> None:
    land_next(store, tiny_workspace)
    schema = pq.read_schema(next(store.landing.iterdir()))
    types = {name: str(schema.field(name).type) for name in ("uscc", "amount", "event_time", "_pull_id")}
    assert types == {
        "uscc": "string",
        "amount": "decimal128(18, 2)",
        "event_time": "timestamp[us]",
        "_pull_id": "string",
    }
    assert landed(store)[3]["amount"] == Decimal("3.50")


def test_a_batch_that_was_not_validated_does_not_land(store: Store, tiny_workspace: Workspace) -> None:
    batch = pull_all(store, tiny_workspace)
    with pytest.raises(ValidationFailed, match="was not validated"):
        land(tiny_workspace, store, batch)
    assert store.watermark().cursor == ""


def test_a_verdict_by_another_contract_does_not_count(
    store: Store, tiny_workspace: Workspace, tiny: TinyWorkspace
) -> None:
    accept(store, pull_all(store, tiny_workspace))
    changed = tiny.replace("minimum: 0", "minimum: 1").load()
    with pytest.raises(ValidationFailed, match="contract changed"):
        land(changed, Store(changed, "sales"), pull_all(store, tiny_workspace))


def test_the_watermark_moves_after_landing(store: Store, tiny_workspace: Workspace) -> None:
    batch = pull_all(store, tiny_workspace)
    accept(store, batch)
    assert store.watermark().cursor == ""
    land(tiny_workspace, store, batch)
    assert (store.watermark().cursor, store.watermark().served_through) == ("7", "2024-05-01T00:00:00")


def test_landed_files_without_inbox_and_watermark_are_refused_with_what_to_do(
    store: Store, tiny_workspace: Workspace
) -> None:
    land_next(store, tiny_workspace)
    shutil.rmtree(tiny_workspace.paths.inbox)
    shutil.rmtree(tiny_workspace.paths.state / "watermarks")
    with pytest.raises(SourceError, match="has landed, but its inbox file") as refused:
        verbs.call("ingest", tiny_workspace, source="sales")
    assert str(store.landing) in str(refused.value)
    shutil.rmtree(store.landing)
    assert land_next(store, tiny_workspace) == 7


def test_landing_the_same_pull_again_changes_no_byte(store: Store, tiny_workspace: Workspace) -> None:
    batch = pull_all(store, tiny_workspace)
    accept(store, batch)
    land(tiny_workspace, store, batch)
    before = contents(tiny_workspace.paths.root)
    assert land(tiny_workspace, store, batch) == 0
    assert contents(tiny_workspace.paths.root) == before


def test_a_pull_from_the_start_lands_no_record_twice(
    store: Store, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    assert land_next(store, tiny_workspace) == 7
    first = contents(store.landing)
    (tiny_workspace.paths.state / "watermarks" / "sales.json").unlink()
    for file in store.inbox.iterdir():
        file.unlink()
    store.landing_file(next(iter(first)).removesuffix(".parquet")).rename(store.landing / "earlier.parquet")
    exchange.records = [*exchange.records, *sales(2, start=7)]
    assert land_next(store, tiny_workspace) == 2
    assert len(landed(store)) == 9


def test_an_exact_duplicate_within_a_pull_lands_once(
    store: Store, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = [*sales(2), *sales(2), {**sales(1)[0], "amount": "0.5"}]
    assert land_next(store, tiny_workspace) == 2


def test_a_correction_that_became_known_later_lands_beside_the_first_version(
    store: Store, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = [*sales(1), *sales(1, amount="9"), *sales(1, available_at="2024-06-01T00:00:00")]
    assert land_next(store, tiny_workspace) == 3


def test_a_column_that_the_contract_gains_does_not_make_old_records_new(
    store: Store, tiny_workspace: Workspace, tiny: TinyWorkspace, exchange: Exchange
) -> None:
    land_next(store, tiny_workspace)
    added = "- {name: added, logicalType: string, classification: internal}"
    tiny.replace("- {name: kind,", f"{added}\n      - {{name: kind,")
    changed = tiny.load()
    exchange.records = [*sales(7), *sales(7)]
    assert land_next(Store(changed, "sales"), changed) == 0


def test_a_process_that_died_between_landing_and_watermark_is_made_good(
    store: Store, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    land_next(store, tiny_workspace)
    (tiny_workspace.paths.state / "watermarks" / "sales.json").unlink()
    asked = len(exchange.requests)
    assert pull(store, tiny_workspace.settings, maximum_rows=10) is None
    assert store.watermark().cursor == "7"
    assert exchange.requests[asked:] == ["/government/v1/sales/records?limit=3&cursor=7"]
