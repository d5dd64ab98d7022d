"""The workspace of the real city registers: its description, and what comes of the 36 files as they were published."""

from __future__ import annotations

import csv
import datetime as dt
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from credit301 import verbs
from credit301.settings import Settings
from credit301.sources.batches import Store
from credit301.sources.coverage import Coverage, coverage_of
from credit301.warehouse.build import build
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY

DIRECTORY = REPOSITORY / "workspaces" / "city_registers"
DATA = Path(os.environ.get("CREDIT301_DATA_DIR") or REPOSITORY / Settings.model_fields["data_dir"].default).resolve()
REGISTERS = DATA / "city_registers"
needs_data = pytest.mark.skipif(
    not REGISTERS.is_dir(), reason=f"{REGISTERS} is not there: set CREDIT301_DATA_DIR to the folder of city_registers/"
)


def test_the_workspace_is_data_alone_and_describes_every_register_in_both_languages(settings: Settings) -> None:
    assert {path.suffix for path in DIRECTORY.rglob("*") if path.is_file()} == {".yaml"}
    workspace = Workspace.load(DIRECTORY, settings)
    assert workspace.definition.labels is None
    assert len(workspace.sources) == 34
    for contract in workspace.sources.values():
        assert contract.features
        assert contract.purpose
        assert contract.limitations
        assert contract.submodel is not None
        for text in (contract.title, contract.submodel.label, *(f.label for f in contract.features)):
            assert any("一" <= sign <= "鿿" for sign in text.zh)
            assert text.en.isascii()


def published(name: str) -> list[dict[str, str]]:
    """The rows of a published file, read without the platform."""
    path = next(REGISTERS.glob(f"*/{name}.csv"))
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("gb18030")
    return list(csv.DictReader(text.splitlines(keepends=True)))


def in_china(milliseconds: str) -> dt.datetime:
    """The wall clock of UTC+8 at so many milliseconds since 1970."""
    return dt.datetime(1970, 1, 1, 8) + dt.timedelta(milliseconds=float(milliseconds))


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Everything pulled, validated, landed and built."""
    settings = Settings(home=tmp_path_factory.mktemp("city") / "home", data_dir=DATA)
    workspace = Workspace.load(DIRECTORY, settings)
    verbs.call("ingest", workspace, source="all")
    build(workspace, docs=False)
    return workspace


@pytest.fixture(scope="module")
def covered(city: Workspace) -> Coverage:
    return coverage_of(city)


def landed(workspace: Workspace, source: str, columns: str) -> list[tuple[Any, ...]]:
    files = Store(workspace, source).landing / "*.parquet"
    return duckdb.connect().execute(f"SELECT {columns} FROM read_parquet('{files}')").fetchall()


def feature(workspace: Workspace, source: str, name: str) -> dict[str, Any]:
    """The feature of each enterprise, by hash."""
    mart = workspace.paths.mart(f"feature_{source}")
    return dict(duckdb.connect().execute(f"SELECT enterprise_hash, {name} FROM '{mart}'").fetchall())


@needs_data
def test_every_row_of_every_file_was_read_and_is_accounted_for(city: Workspace, covered: Coverage) -> None:
    files = {path.name: path for path in REGISTERS.glob("*/*.csv")}
    assert Counter(origin for source in covered.sources for origin in source.origins) == Counter(list(files))
    for source in covered.sources:
        rows = sum(len(published(Path(origin).stem)) for origin in source.origins)
        assert source.read == rows == source.landed + source.refused + source.repeated, source.name
        assert source.waiting == 0
        batches = [
            Store(city, source.name).batch(file.stem) for file in Store(city, source.name).inbox.glob("*.parquet")
        ]
        assert [(batch.drift, batch.absent) for batch in batches] == [({}, [])] * len(batches)


@needs_data
def test_what_cannot_be_read_is_refused_with_its_reason(covered: Coverage) -> None:
    refused = {
        source.name: {reason.check: reason.rows for reason in source.reasons}
        for source in covered.sources
        if source.refused
    }
    assert refused == {
        # The columns have slipped: where the currency should be there is a note.
        "annual_contributions": {"subscribed_currency_in_set": 66},
        "capital_contributions": {"subscribed_amount_not_null": 2},
        # Two days have a month too many, one ends in 无, one is ×× (and 33 are missing).
        "judgments": {"judged_on_not_null": 33, "judged_on_castable": 4},
        "registration_changes": {"changed_at_not_null": 5},
    }


@needs_data
def test_days_in_chinese_numerals_are_the_days_they_name(city: Workspace) -> None:
    digits = {numeral: str(value) for value, numeral in enumerate("〇一二三四五六七八九")} | {"○": "0"}
    units = {numeral: value for value, numeral in enumerate("一二三四五六七八九", 1)}

    def number(text: str) -> int:
        tens, ten, unit = text.rpartition("十")
        return (units.get(tens, 1) * 10 if ten else 0) + units.get(unit, 0)

    def day(text: str) -> dt.date | None:
        try:
            year, rest = text.split("年")
            month, rest = rest.split("月")
            return dt.date(int("".join(digits[sign] for sign in year)), number(month), number(rest.removesuffix("日")))
        except (KeyError, ValueError):
            return None

    expected = {(row["entname"], day(row["time"]), row["casecause"]) for row in published("justice_judge_new")}
    found = set(landed(city, "judgments", "enterprise_hash, judged_on, cause"))
    assert len(found) > 1_500
    assert found <= expected
    # The day whose last sign is 无 is the one that this plain reading takes for a day and the repair does not.
    assert len({item for item in expected if item[1] is not None} - found) <= 1


@needs_data
def test_milliseconds_are_the_wall_clock_of_the_city_and_rounded_ones_its_days(city: Workspace) -> None:
    changed = {row["openo"]: in_china(row["altdate"]) for row in published("change_info") if row["altdate"]}
    assert all(
        changed[number] == moment
        for number, moment in landed(city, "registration_changes", "business_number, changed_at")
    )
    due = Counter(
        (row["entname"], (in_china(row["condate"]) + dt.timedelta(hours=12)).date() if row["condate"] else None)
        for row in published("ent_contribution")
    )
    assert set(landed(city, "capital_contributions", "enterprise_hash, due_on")) <= set(due)


@needs_data
def test_amounts_are_yuan_and_exact(city: Workspace) -> None:
    owed = {
        row["entname"]: Decimal(row["taxunpaidnum"].replace(",", "")) for row in published("business_risk_taxunpaid")
    }
    assert dict(landed(city, "tax_arrears", "enterprise_hash, arrears")) == owed
    capital = {
        row["entname"]: Decimal(row["regcap"]) * 10_000 if row["regcap"] else None
        for row in published("company_baseinfo")
    }
    assert dict(landed(city, "basic_registration", "enterprise_hash, registered_capital")) == capital
    amounts = landed(city, "enforcement_cases", "amount, amount_as_sent")
    assert {sent for amount, sent in amounts if amount is None} == {"——"}


@needs_data
def test_codes_and_what_they_stand_for_are_one(city: Workspace) -> None:
    written = Counter(row["dataflag"] for row in published("change_info") if row["altdate"])
    outcomes = Counter(outcome for (outcome,) in landed(city, "registration_changes", "outcome"))
    assert outcomes["核准通过"] == written["核准通过"] + written["1"]
    assert set(outcomes) == {"核准通过", "删除或者驳回或者不予受理"}
    sites = Counter(site for (site,) in landed(city, "recruitment", "site"))
    assert sites == {"前程无忧": 1959, "中华英才网": 299, "智联招聘": 3349}


@needs_data
def test_what_was_repaired_is_a_figure(covered: Coverage) -> None:
    repaired = {source.name: source.repaired for source in covered.sources}
    assert repaired["tax_arrears"].rows == sum(
        "," in row["taxunpaidnum"] for row in published("business_risk_taxunpaid")
    )
    assert repaired["enforcement_cases"].values == {"amount": {"dash_is_null": 2}}
    assert repaired["judgments"].values["judged_on"]["chinese_date"] == 1823  # type: ignore[index]
    assert repaired["patents"].rows == 0


@needs_data
def test_keys_hardly_overlap_and_the_coverage_says_so(covered: Coverage) -> None:
    keys = {name: {row["entname"] for row in published(name)} for name in ("exception_list", "business_risk_abnormal")}
    by_name = {source.name: source for source in covered.sources}
    both = len(keys["exception_list"] & keys["business_risk_abnormal"])
    assert by_name["exception_list"].overlap["abnormal_operation"] == both
    assert by_name["abnormal_operation"].entities == len(keys["business_risk_abnormal"])
    assert covered.known_to[1] / covered.entities > 0.85


@needs_data
def test_features_of_every_register_are_made(city: Workspace, covered: Coverage) -> None:
    rows = {
        name: duckdb.connect().execute(f"SELECT count(*) FROM '{city.paths.mart('feature_' + name)}'").fetchall()[0][0]
        for name in city.sources
    }
    # Not to be in a list of penalties is knowledge, of everybody; not to be in a sample is none.
    events = [
        name
        for name, contract in city.sources.items()
        if contract.submodel and contract.submodel.absence == "no_events"
    ]
    everybody = {rows[name] for name in events}
    assert len(everybody) == 1
    # All but those of whom nothing was known yet at the time of the newest record.
    assert 0.999 * covered.entities < max(everybody) <= covered.entities
    assert all(0 < found <= max(everybody) for found in rows.values())
    owed = feature(city, "tax_arrears", "tax_arrears_sum")
    assert sum(value > 0 for value in owed.values()) == 375
    grades = Counter(feature(city, "city_credit_grade", "city_grade_last").values())
    assert set(grades) == {"A", "A-", "B-", "C", "N", "N+"}
