"""What a generated city must be like: reproducible, complete, and ordered in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from credit301.contracts.loader import load_contract
from credit301.errors import ConfigError, NotFound
from simulator import city as city_module
from simulator import config as config_module
from simulator.city import City, generate, read_manifest, sample_applicants, write_city
from simulator.config import CityConfig
from simulator.schema import PRIMARY_KEYS, SCHEMAS, SEQUENCE
from tests.conftest import REPOSITORY

SMALL = CityConfig(enterprises=150, months=24)


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    write_city(SMALL, tmp_path / "one")
    write_city(SMALL, tmp_path / "two")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    write_city(SMALL, tmp_path / "one")
    write_city(CityConfig(enterprises=150, months=24, seed=302), tmp_path / "two")
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert all(one[name] != two[name] for name in one)


def test_a_city_written_block_by_block_is_the_one_made_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_module, "BLOCK", 40)
    write_city(SMALL, tmp_path / "streamed")
    generate(SMALL).save(tmp_path / "saved")
    assert len(SMALL.blocks) == 4
    assert files_of(tmp_path / "streamed") == files_of(tmp_path / "saved")


def test_a_saved_city_loads_as_it_was(tmp_path: Path) -> None:
    made = generate(SMALL)
    made.save(tmp_path / "city")
    loaded = City.load(tmp_path / "city")
    assert loaded.config == SMALL
    assert all(loaded.sources[name].equals(made.sources[name]) for name in SCHEMAS)
    assert loaded.truth.equals(made.truth)


def test_a_directory_without_a_city_is_refused_with_the_verb_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="simulate"):
        read_manifest(tmp_path)


def test_a_failed_generation_leaves_the_old_city_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_city(SMALL, tmp_path / "city")
    before = files_of(tmp_path / "city")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(city_module, "_merged", fail)
    with pytest.raises(OSError, match="no space"):
        write_city(CityConfig(enterprises=150, months=24, seed=9), tmp_path / "city")
    assert files_of(tmp_path / "city") == before
    assert [path.name for path in tmp_path.iterdir()] == ["city"]


def test_a_history_too_short_for_a_performance_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="12-month"):
        CityConfig(months=12)


@pytest.mark.parametrize("source", SCHEMAS)
def test_every_contract_column_is_there_with_its_type(city: City, source: str) -> None:
    contract = load_contract(REPOSITORY / "workspaces" / "wuhan" / "sources" / source)
    table = city.sources[source]
    assert {column.name for column in contract.columns} == set(table.schema.names) - {SEQUENCE}
    fits = {
        "string": pa.types.is_string,
        "integer": pa.types.is_integer,
        "number": pa.types.is_decimal,
        "boolean": pa.types.is_boolean,
        "date": pa.types.is_date,
        "timestamp": pa.types.is_timestamp,
    }
    for column in contract.columns:
        assert fits[column.logical_type](table.schema.field(column.name).type), column.name
        if column.required:
            assert table[column.name].null_count == 0, column.name


@pytest.mark.parametrize("source", SCHEMAS)
def test_a_record_is_known_only_after_it_happened(city: City, source: str) -> None:
    table = city.sources[source]
    assert pc.all(pc.greater(table["available_at"], table["event_time"])).as_py()


@pytest.mark.parametrize("source", SCHEMAS)
def test_the_stream_is_numbered_in_the_order_of_availability(city: City, source: str) -> None:
    table = city.sources[source]
    assert np.array_equal(table[SEQUENCE].to_numpy(), np.arange(table.num_rows))
    times = table["available_at"].to_numpy()
    assert np.all(times[1:] >= times[:-1])


@pytest.mark.parametrize("source", ["business_registration", "financial_statements", "judicial_penalty", "bank_loan"])
def test_sources_without_corrections_have_each_key_once(city: City, source: str) -> None:
    table = city.sources[source]
    keys = list(PRIMARY_KEYS[source])
    assert table.select(keys).group_by(keys).aggregate([]).num_rows == table.num_rows


@pytest.mark.parametrize("source", ["tax_declaration", "social_insurance"])
def test_one_or_two_percent_of_the_records_are_corrected_under_the_same_key_later(city: City, source: str) -> None:
    keys = list(PRIMARY_KEYS[source])
    versions = (
        city.sources[source]
        .group_by(keys)
        .aggregate([("available_at", "min"), ("available_at", "max"), ("available_at", "count")])
    )
    corrected = versions.filter(pc.equal(versions["available_at_count"], 2))
    assert pc.max(versions["available_at_count"]).as_py() == 2
    assert 0.01 <= corrected.num_rows / versions.num_rows <= 0.02
    assert pc.all(pc.greater(corrected["available_at_max"], corrected["available_at_min"])).as_py()


def test_corrections_change_what_was_declared(city: City) -> None:
    tax = city.sources["tax_declaration"].filter(pc.greater(city.sources["tax_declaration"]["tax_payable"], 0))
    keys = list(PRIMARY_KEYS["tax_declaration"])
    grouped = tax.group_by(keys).aggregate([("tax_payable", "count_distinct"), ("available_at", "count")])
    corrected = grouped.filter(pc.equal(grouped["available_at_count"], 2))
    assert pc.mean(pc.equal(corrected["tax_payable_count_distinct"], 2)).as_py() > 0.9


def test_a_vat_filing_in_time_is_known_around_the_fifteenth_of_the_next_month(city: City) -> None:
    tax = city.sources["tax_declaration"]
    vat = tax.filter(pc.and_(pc.equal(tax["tax_type"], "VAT"), pc.equal(tax["days_late"], 0)))
    days = pc.days_between(vat["event_time"], vat["available_at"]).to_numpy()
    assert 10 <= np.median(days) <= 16


def test_statements_and_judgments_come_weeks_later(city: City) -> None:
    for source, least in (("financial_statements", 30), ("judicial_penalty", 9)):
        table = city.sources[source]
        assert pc.min(pc.days_between(table["event_time"], table["available_at"])).as_py() >= least


def test_individual_businesses_have_no_insurance_and_no_statements(city: City) -> None:
    register = city.sources["business_registration"]
    individual = register.filter(pc.equal(register["enterprise_type"], "individual_business"))["uscc"].unique()
    assert len(individual) > 100
    for source in ("social_insurance", "financial_statements"):
        assert not pc.any(pc.is_in(city.sources[source]["uscc"], individual)).as_py()


@pytest.mark.parametrize("source", ["tax_declaration", "social_insurance", "financial_statements"])
def test_not_every_enterprise_has_every_source(city: City, source: str) -> None:
    share = len(city.sources[source]["uscc"].unique()) / city.config.enterprises
    assert 0.5 < share < 0.99


def test_the_parts_of_a_balance_sheet_fit_into_the_whole(city: City) -> None:
    table = city.sources["financial_statements"]
    value = {name: table[name].cast(pa.float64()).to_numpy() for name in table.schema.names[2:13]}
    assert np.all(value["current_assets"] <= value["total_assets"])
    assert np.all(value["cash"] + value["receivables"] + value["inventory"] <= value["current_assets"] + 0.02)
    assert np.all(value["current_liabilities"] <= value["total_liabilities"])


def test_changes_in_the_register_carry_the_state_they_made(city: City) -> None:
    register = city.sources["business_registration"]
    listed = register.filter(pc.equal(register["change_kind"], "abnormal_listing"))
    assert set(listed["status"].to_pylist()) == {"abnormal"}
    keys = register.group_by("uscc").aggregate([("legal_representative_key", "count_distinct")])
    takeovers = register.filter(pc.equal(register["change_kind"], "legal_representative"))
    by_firm = takeovers.group_by("uscc").aggregate([("record_id", "count")])
    joined = by_firm.join(keys, "uscc")
    assert pc.all(
        pc.equal(joined["legal_representative_key_count_distinct"], pc.add(joined["record_id_count"], 1))
    ).as_py()


def test_nothing_changes_before_the_founding(city: City) -> None:
    register = city.sources["business_registration"]
    assert pc.all(pc.greater_equal(register["event_time"].cast(pa.date32()), register["established_on"])).as_py()


def test_applicants_are_enterprises_in_business_and_the_same_for_a_seed(city: City) -> None:
    applicants = sample_applicants(city, 50)
    assert applicants.num_rows == 50
    assert len(set(applicants["uscc"].to_pylist())) == 50
    assert applicants.equals(sample_applicants(city, 50))
    assert not applicants.equals(sample_applicants(city, 50, seed=1))
