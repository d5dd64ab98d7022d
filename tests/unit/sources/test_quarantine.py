from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from credit301.errors import SourceError
from credit301.sources.batches import Store, database
from credit301.sources.landing import land
from credit301.sources.quarantine import MASK, flag, quarantined_rows, reasons, write_quarantine
from credit301.sources.refused import export_refused
from credit301.sources.replay import Replayed, replay
from credit301.sources.typed import batch_query, file_relation
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.unit.sources.conftest import accept, pull_all
from tests.unit.sources.exchange import Exchange, enterprise, sales

BAD = [
    *sales(2),
    {**sales(1, start=2)[0], "uscc": "91420100000000002X"},
    {**sales(1, start=3)[0], "amount": "much", "kind": "else"},
    {**sales(1, start=4)[0], "amount": None},
    {**sales(1, start=5)[0], "amount": "-1"},
    {**sales(1, start=6)[0], "month": "2024-3", "event_time": "   "},
]


def ingest(store: Store, workspace: Workspace) -> dict[str, int]:
    """Pull, quarantine by the predicates alone, land."""
    batch = pull_all(store, workspace)
    with database(workspace) as connection:
        relation = file_relation(store.contract, store.inbox_file(batch.pull_id))
        connection.execute(f"CREATE TABLE batch AS {batch_query(store.contract, relation)}")
        counts = flag(connection, store.contract, "batch")
        write_quarantine(connection, relation, batch.pull_id, store.quarantine_file(batch.pull_id))
    accept(store, batch)
    land(workspace, store, batch)
    return {name: rows for name, rows in counts.items() if rows}


@pytest.fixture
def quarantined(store: Store, tiny_workspace: Workspace, exchange: Exchange) -> Store:
    """Five bad rows of seven in quarantine."""
    exchange.records = [dict(record) for record in BAD]
    ingest(store, tiny_workspace)
    return store


def landed(store: Store) -> dict[str, object]:
    tables = [pq.read_table(path) for path in store.landing.glob("*.parquet")]
    return {row["uscc"]: row["amount"] for table in tables for row in table.to_pylist()}


def test_every_bad_row_is_kept_as_sent_with_all_its_reasons(quarantined: Store) -> None:
    table = pq.read_table(next(quarantined.quarantine.iterdir()))
    found = {row["_row"]: (row["amount"], sorted(row["_reasons"])) for row in table.to_pylist()}
    assert found == {
        3: ("2.50", ["uscc_uscc"]),
        4: ("much", ["amount_castable", "kind_in_set"]),
        5: (None, ["amount_not_null"]),
        6: ("-1", ["amount_between"]),
        7: ("6.50", ["event_time_not_null", "month_pattern"]),
    }


def test_good_rows_of_the_same_batch_land(quarantined: Store) -> None:
    assert sorted(landed(quarantined)) == sorted([enterprise(0), enterprise(1)])


def test_reasons_are_counted_with_an_example(quarantined: Store, tiny_workspace: Workspace) -> None:
    found = {
        reason.check: (reason.rows, reason.example, reason.row) for reason in reasons(tiny_workspace, [quarantined])
    }
    assert found["kind_in_set"] == (1, "else", 4)
    assert found["month_pattern"] == (1, "2024-3", 7)


def test_an_example_of_a_personal_column_is_masked(tiny: TinyWorkspace, store: Store, exchange: Exchange) -> None:
    tiny.replace("{value: services}], classification: internal", "{value: services}], classification: personal")
    workspace = tiny.load()
    own = Store(workspace, "sales")
    exchange.records = [dict(record) for record in BAD]
    ingest(own, workspace)
    assert {reason.check: reason.example for reason in reasons(workspace, [own])}["kind_in_set"] == MASK


def test_a_replay_by_the_same_contract_changes_nothing(quarantined: Store, tiny_workspace: Workspace) -> None:
    before = next(quarantined.quarantine.iterdir()).read_bytes()
    assert replay(tiny_workspace, quarantined) == Replayed(5, 0, 0, 5)
    assert next(quarantined.quarantine.iterdir()).read_bytes() == before


def test_what_a_mended_contract_allows_lands_and_leaves_the_quarantine(quarantined: Store, tiny: TinyWorkspace) -> None:
    workspace = tiny.replace("minimum: 0", "minimum: -5").load()
    store = Store(workspace, "sales")
    assert replay(workspace, store) == Replayed(5, 1, 0, 4)
    assert str(landed(store)[enterprise(5)]) == "-1.00"
    assert quarantined_rows(store) == 4


def test_a_replay_that_died_before_it_emptied_the_quarantine_lands_nothing_twice(
    quarantined: Store, tiny: TinyWorkspace
) -> None:
    workspace = tiny.replace("minimum: 0", "minimum: -5").load()
    store = Store(workspace, "sales")
    file = next(store.quarantine.iterdir())
    before = file.read_bytes()
    replay(workspace, store)
    file.write_bytes(before)
    assert replay(workspace, store) == Replayed(5, 0, 1, 4)
    assert len(landed(store)) == 3


def corrections(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_values_corrected_by_primary_key_land(quarantined: Store, tiny_workspace: Workspace, tmp_path: Path) -> None:
    file = corrections(tmp_path / "fix.csv", [{"uscc": enterprise(4), "month": "2024-03", "amount": "44.00"}])
    assert replay(tiny_workspace, quarantined, file) == Replayed(5, 1, 0, 4)
    assert str(landed(quarantined)[enterprise(4)]) == "44.00"


def test_a_wrong_key_is_corrected_by_pull_and_row(
    quarantined: Store, tiny_workspace: Workspace, tmp_path: Path
) -> None:
    identity = next(quarantined.quarantine.iterdir()).stem
    file = corrections(tmp_path / "fix.csv", [{"_pull_id": identity, "_row": 3, "uscc": enterprise(2)}])
    assert replay(tiny_workspace, quarantined, file) == Replayed(5, 1, 0, 4)
    assert str(landed(quarantined)[enterprise(2)]) == "2.50"


def test_two_corrections_of_one_row_are_refused(quarantined: Store, tiny_workspace: Workspace, tmp_path: Path) -> None:
    row: dict[str, object] = {"uscc": enterprise(4), "month": "2024-03", "amount": "1"}
    with pytest.raises(SourceError, match="two rows"):
        replay(tiny_workspace, quarantined, corrections(tmp_path / "fix.csv", [row, row]))


def test_corrections_without_a_key_are_refused(quarantined: Store, tiny_workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="names no rows") as caught:
        replay(tiny_workspace, quarantined, corrections(tmp_path / "fix.csv", [{"amount": "1"}]))
    assert "_pull_id" in caught.value.hint


def test_a_good_version_that_arrives_later_lands_and_leaves_the_quarantine_alone(
    quarantined: Store, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records.append(sales(1, start=4, available_at="2024-05-15T00:00:00")[0])
    assert ingest(quarantined, tiny_workspace) == {}
    assert str(landed(quarantined)[enterprise(4)]) == "4.50"
    assert quarantined_rows(quarantined) == 5


def test_a_column_that_came_unknown_is_taken_up_once_the_contract_knows_it(
    tiny: TinyWorkspace, store: Store, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = [{**record, "kind": "else", "category": "goods"} for record in sales(3)]
    ingest(store, tiny_workspace)
    tiny.replace(
        "{name: kind, logicalType: string, enum",
        "{name: trade, physicalName: category, logicalType: string, required: true, enum",
    )
    workspace = tiny.load()
    assert replay(workspace, Store(workspace, "sales")) == Replayed(3, 3, 0, 0)
    assert not list(store.quarantine.glob("*.parquet"))


def test_rows_of_a_batch_that_has_not_landed_are_left_alone(
    store: Store, tiny_workspace: Workspace, exchange: Exchange
) -> None:
    exchange.records = [dict(record) for record in BAD]
    batch = pull_all(store, tiny_workspace)
    with database(tiny_workspace) as connection:
        relation = file_relation(store.contract, store.inbox_file(batch.pull_id))
        connection.execute(f"CREATE TABLE batch AS {batch_query(store.contract, relation)}")
        flag(connection, store.contract, "batch")
        write_quarantine(connection, relation, batch.pull_id, store.quarantine_file(batch.pull_id))
    assert replay(tiny_workspace, store) == Replayed(0, 0, 0, 0)


# -- the way of a person: export, correct, replay


def exported(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_back(path: Path, rows: list[dict[str, str]], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_what_was_exported_and_corrected_lands_and_nothing_doubles(
    quarantined: Store, tiny_workspace: Workspace, tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "refused.csv"
    assert export_refused(tiny_workspace, quarantined, file) == 5
    rows = exported(file)
    assert [row["_row"] for row in rows] == ["3", "4", "5", "6", "7"]
    assert "amount_castable: " in rows[1]["_reasons"]
    for row, number in zip(rows, range(2, 7), strict=True):
        row |= {"uscc": enterprise(number), "month": "2024-03", "amount": "9.00", "kind": "goods"}
        row["event_time"] = "2024-03-31T00:00:00"
    write_back(file, rows, encoding)
    assert replay(tiny_workspace, quarantined, file) == Replayed(5, 5, 0, 0)
    assert replay(tiny_workspace, quarantined, file) == Replayed(0, 0, 0, 0, unmatched=5)
    assert len(landed(quarantined)) == 7


def test_an_export_that_nobody_changed_replays_to_the_same_quarantine(
    quarantined: Store, tiny_workspace: Workspace, tmp_path: Path
) -> None:
    before = pq.read_table(next(quarantined.quarantine.iterdir()))
    file = tmp_path / "refused.csv"
    export_refused(tiny_workspace, quarantined, file)
    assert replay(tiny_workspace, quarantined, file).remaining == 5
    after = pq.read_table(next(quarantined.quarantine.iterdir()))
    assert after.to_pylist()[:4] == before.to_pylist()[:4]


def test_a_row_that_is_still_bad_stays_with_its_new_reason(
    quarantined: Store, tiny_workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "refused.csv"
    export_refused(tiny_workspace, quarantined, file)
    rows = [row for row in exported(file) if row["_row"] == "4"]
    rows[0] |= {"amount": "-3", "kind": "goods"}
    assert replay(tiny_workspace, quarantined, write_back(file, rows)) == Replayed(5, 0, 0, 5)
    table = pq.read_table(next(quarantined.quarantine.iterdir()))
    found = {row["_row"]: (row["amount"], row["_reasons"]) for row in table.to_pylist()}
    assert found[4] == ("-3", ["amount_between"])
    assert found[3] == ("2.50", ["uscc_uscc"])


def test_masked_values_come_back_as_they_were(
    tiny: TinyWorkspace, store: Store, exchange: Exchange, tmp_path: Path
) -> None:
    tiny.replace("{value: services}], classification: internal", "{value: services}], classification: personal")
    workspace = tiny.load()
    own = Store(workspace, "sales")
    exchange.records = [dict(record) for record in BAD]
    ingest(own, workspace)
    file = tmp_path / "refused.csv"
    export_refused(workspace, own, file)
    rows = exported(file)
    assert {row["kind"] for row in rows} == {MASK}
    assert file.stat().st_mode & 0o077 == 0
    rows = [row | {"amount": "9"} for row in rows if row["_row"] == "5"]
    assert replay(workspace, own, write_back(file, rows)) == Replayed(5, 1, 0, 4)
    (again,) = (pq.read_table(path) for path in own.landing.glob("*-*.parquet"))
    assert again["kind"].to_pylist() == ["goods"]
    export_refused(workspace, own, file, unmasked=True)
    assert "else" in {row["kind"] for row in exported(file)}


@pytest.mark.parametrize("sent", ["=1+1", "'=1+1", "@x", "-oops", "+x", "''@x", "'plain", "-1"])
def test_a_value_that_a_spreadsheet_would_run_is_kept_a_text_and_comes_back_unchanged(
    quarantined: Store, tiny: TinyWorkspace, exchange: Exchange, tmp_path: Path, sent: str
) -> None:
    exchange.records += sales(1, start=7, kind=sent)
    workspace = tiny.load()
    ingest(quarantined, workspace)
    file = tmp_path / "refused.csv"
    export_refused(workspace, quarantined, file)
    (row,) = (row for row in exported(file) if row["uscc"] == enterprise(7))
    assert row["kind"] == "-1" or row["kind"][0] not in "=@+-"
    mended = tiny.replace("{value: services}", f"{{value: services}}, {{value: {json.dumps(sent)}}}").load()
    assert replay(mended, Store(mended, "sales"), write_back(file, [row])).landed == 1
    kinds = [kind for path in quarantined.landing.glob("*.parquet") for kind in pq.read_table(path)["kind"].to_pylist()]
    assert sent in kinds


def test_a_malformed_line_is_in_the_export_to_be_taken_apart(
    quarantined: Store, tiny_workspace: Workspace, exchange: Exchange, tmp_path: Path
) -> None:
    exchange.records += [*sales(1, start=20), {"_malformed_row": "a,b,c"}]
    ingest(quarantined, tiny_workspace)
    file = tmp_path / "refused.csv"
    export_refused(tiny_workspace, quarantined, file)
    (row,) = (row for row in exported(file) if row["_malformed_row"])
    assert row["_malformed_row"] == "a,b,c"
    row |= sales(1, start=30)[0]
    assert replay(tiny_workspace, quarantined, write_back(file, [row])).landed == 1


def test_every_reason_is_explained_in_both_languages(tiny_workspace: Workspace, quarantined: Store) -> None:
    for reason in reasons(tiny_workspace, [quarantined]):
        assert reason.description.en
        assert any("\u4e00" <= letter <= "\u9fff" for letter in reason.description.zh)
