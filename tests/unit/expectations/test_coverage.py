"""Coverage of a workspace of two registers that a test writes: every row is accounted for, and whom it tells about."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest

from credit301 import verbs
from credit301.contracts.repairs import Repair
from credit301.settings import Settings
from credit301.sources.batches import Store
from credit301.sources.coverage import Coverage, coverage_of
from credit301.sources.inbox import pull
from credit301.workspace import Workspace

WORKSPACE = """
    name: town
    title: {zh: 小镇, en: Town}
    entity: {key: firm, label: {zh: 企业, en: enterprise}, format: text, pattern: "^[a-z]$"}
    dimensions: {risk: {zh: 风险, en: risk}}
    ingest: {tolerance: 0.5}
"""

CHINESE_DATE = [{"property": "repair", "value": ["chinese_date"]}]
AMOUNT = [{"property": "repair", "value": ["full_width", "thousands", "amount_unit"]}]
DAY = {"name": "fined_on", "logicalType": "date", "primaryKey": True, "customProperties": CHINESE_DATE}
MONEY = {"name": "amount", "logicalType": "number", "physicalType": "DECIMAL(18,2)", "customProperties": AMOUNT}


def write_register(directory: Path, name: str, title: str, columns: list[dict[str, Any]], **custom: Any) -> None:
    """Write the contract of a register that is dropped as CSV; YAML reads JSON."""
    custom = {"pull": {"connector": "file_drop", "options": {"path": f"{name}*.csv"}}, **custom}
    properties = [{"name": "firm", "primaryKey": True}, *columns]
    contract = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"urn:test:{name}",
        "name": name,
        "version": "1.0.0",
        "status": "draft",
        "domain": "risk",
        "schema": [
            {
                "name": name,
                "businessName": title,
                "properties": [
                    {"logicalType": "string", "classification": "public", **column} for column in properties
                ],
            }
        ],
        "customProperties": [{"property": key, "value": value} for key, value in custom.items()],
    }
    folder = directory / "sources" / name
    folder.mkdir(parents=True)
    (folder / "contract.yaml").write_text(json.dumps(contract, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def town(tmp_path: Path, settings: Settings) -> Workspace:
    directory, data = tmp_path / "town", tmp_path / "data"
    data.mkdir()
    write_register(directory, "fines", "处罚", [DAY, MONEY], time={"eventTime": "fined_on"})
    write_register(directory, "grades", "等级", [{"name": "grade"}])
    (directory / "workspace.yaml").write_text(dedent(WORKSPACE), encoding="utf-8")
    fines = ["a,二〇一七年十月二日,３００", 'b,2016-03-01,"1,200.50"', "b,2018-01-01,2万元", "c,很久以前,7"]
    (data / "fines_1.csv").write_text("\n".join(["firm,fined_on,amount", *fines, fines[0]]) + "\n", encoding="gb18030")
    (data / "grades.csv").write_text("firm,grade\nb,A\nd,N\ne,N\n", encoding="utf-8")
    return Workspace.load(directory, settings.model_copy(update={"data_dir": data}))


@pytest.fixture
def covered(town: Workspace) -> Coverage:
    verbs.call("ingest", town, source="all")
    return coverage_of(town)


def test_every_row_that_was_read_is_accounted_for(covered: Coverage) -> None:
    fines, grades = covered.sources
    assert (fines.read, fines.landed, fines.refused, fines.repeated, fines.waiting) == (5, 3, 1, 1, 0)
    assert {reason.check: reason.rows for reason in fines.reasons} == {"fined_on_castable": 1}
    assert (grades.read, grades.landed, grades.refused, grades.repeated) == (3, 3, 0, 0)
    assert fines.origins == ("fines_1.csv",)


def test_what_was_repaired_is_counted_by_column_and_repair(covered: Coverage) -> None:
    fines, grades = covered.sources
    # The first row and its repetition, the thousands, the unit; the date that is none was not repaired.
    assert fines.repaired.rows == 4
    assert fines.repaired.values == {
        "fined_on": {Repair.CHINESE_DATE: 2},
        "amount": {Repair.FULL_WIDTH: 2, Repair.THOUSANDS: 1, Repair.AMOUNT_UNIT: 1},
    }
    assert (grades.repaired.rows, grades.repaired.values) == (0, {})


def test_whom_the_sources_tell_about_and_from_when_until_when(covered: Coverage) -> None:
    fines, grades = covered.sources
    assert covered.entities == 4
    assert covered.known_to == {1: 3, 2: 1}
    assert (fines.entities, fines.share, fines.alone, fines.overlap) == (2, 0.5, 1, {"grades": 1})
    assert (grades.entities, grades.share, grades.alone, grades.overlap) == (3, 0.75, 2, {"fines": 1})
    assert (str(fines.first), str(fines.last)) == ("2016-03-01 00:00:00", "2018-01-01 00:00:00")
    assert (grades.first, grades.last) == (None, None)


def test_a_record_delivered_again_counts_as_repeated_and_a_batch_that_has_not_landed_as_waiting(
    town: Workspace, covered: Coverage
) -> None:
    data = town.settings.data_dir
    (data / "fines_2.csv").write_text("firm,fined_on,amount\nb,2018-01-01,20000\nf,2018-02-01,1\n", encoding="utf-8")
    verbs.call("ingest", town, source="fines")
    (data / "fines_3.csv").write_text("firm,fined_on,amount\ng,2018-03-01,1\n", encoding="utf-8")
    store = Store(town, "fines")
    with store.locked():
        assert pull(store, town.settings, maximum_rows=10) is not None
    fines = coverage_of(town).sources[0]
    assert (fines.read, fines.landed, fines.refused, fines.repeated, fines.waiting) == (8, 4, 1, 2, 1)


def test_the_text_as_sent_stays_in_inbox_and_quarantine(town: Workspace, covered: Coverage) -> None:
    store = Store(town, "fines")
    inbox, quarantine, landing = (
        duckdb.connect().execute(f"SELECT fined_on, amount FROM '{folder}/*.parquet' ORDER BY ALL").fetchall()
        for folder in (store.inbox, store.quarantine, store.landing)
    )
    assert ("二〇一七年十月二日", "３００") in inbox
    assert quarantine == [("很久以前", "7")]
    assert [(str(day), str(amount)) for day, amount in landing] == [
        ("2016-03-01", "1200.50"),
        ("2017-10-02", "300.00"),
        ("2018-01-01", "20000.00"),
    ]


def test_the_verb_prints_tables_in_both_languages_or_json(
    town: Workspace, covered: Coverage, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert verbs.call("coverage", town)["refused"] == 1
    printed = capsys.readouterr().out
    for word in ("fines", "处罚", "refused", "拒绝", "thousands separators", "去千分位", "75.0% of all entities"):
        assert word in printed
    verbs.call("coverage", town, as_json=True)
    assert json.loads(capsys.readouterr().out) == covered.as_json()
    assert covered.as_json()["sources"][0]["repaired_values"]["amount"]["amount_unit"] == 1


def test_a_workspace_of_which_nothing_was_pulled_has_a_coverage(
    town: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    found = coverage_of(town)
    assert (found.entities, found.known_to) == (0, {})
    assert [(source.read, source.entities, source.share) for source in found.sources] == [(0, 0, None), (0, 0, None)]
    verbs.call("coverage", town)
    assert "fines" in capsys.readouterr().out


def test_the_data_docs_have_a_page_of_it(town: Workspace, covered: Coverage) -> None:
    directory = Path(verbs.call("data_docs", town)["directory"])
    page = (directory / "coverage.html").read_text(encoding="utf-8")
    for word in (
        "覆盖情况",
        "Coverage",
        "处罚",
        "fined_on_castable",
        "去千分位",
        "75.0% of all entities",
        "fines_1.csv",
    ):
        assert word in page
    assert 'href="coverage.html"' in (directory / "index.html").read_text(encoding="utf-8")
