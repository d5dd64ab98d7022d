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
    # A city this small has no ring.
    assert all(one[name] != two[name] for name in one if name != "rings.parquet")


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


def test_a_bank_balance_is_the_one_before_it_plus_what_came_in_less_what_went_out(city: City) -> None:
    flow = city.sources["bank_account_flow"].sort_by([("account_key", "ascending"), ("business_date", "ascending")])
    same = np.array(flow["account_key"][1:].to_pylist()) == np.array(flow["account_key"][:-1].to_pylist())
    fen = {
        name: np.rint(flow[name].cast(pa.float64()).to_numpy() * 100).astype(np.int64)
        for name in ("inflow", "outflow", "closing_balance", "payroll_outflow")
    }
    expected = fen["closing_balance"][:-1] + fen["inflow"][1:] - fen["outflow"][1:]
    assert np.array_equal(expected[same], fen["closing_balance"][1:][same])
    assert np.all(fen["payroll_outflow"] <= fen["outflow"])
    assert np.all(fen["inflow"] >= 0)


def test_fewer_enterprises_contribute_to_the_housing_fund_than_to_social_insurance(city: City) -> None:
    insured, members = (set(city.sources[name]["uscc"].to_pylist()) for name in ("social_insurance", "housing_fund"))
    assert members < insured


def test_a_late_tax_payment_is_first_told_as_arrears_and_then_as_paid(city: City) -> None:
    table = city.sources["tax_payment"]
    some = city.sources["business_registration"]["uscc"].unique().slice(0, 500)
    table = table.filter(pc.is_in(table["uscc"], some))
    keys = list(PRIMARY_KEYS["tax_payment"])
    versions = table.group_by(keys, use_threads=False).aggregate(
        [("paid_on", "list"), ("arrears_amount", "list"), ("late_fee", "list")]
    )
    twice = [row for row in versions.to_pylist() if len(row["paid_on_list"]) > 1]
    assert len(twice) > 50
    for row in twice:
        assert [day is None for day in row["paid_on_list"]] == [True, False]
        assert row["arrears_amount_list"][0] > 0 == row["arrears_amount_list"][1]
        assert row["late_fee_list"][1] >= row["late_fee_list"][0] >= 0


def test_what_is_paid_late_is_what_was_declared(city: City) -> None:
    keys = ["uscc", "tax_type", "tax_period"]
    declared = city.sources["tax_declaration"].group_by(keys, use_threads=False).aggregate([("tax_payable", "max")])
    joined = city.sources["tax_payment"].join(declared, keys, join_type="left outer")
    # A payment may become known before a declaration that arrives very late.
    assert joined["tax_payable_max"].null_count < 0.002 * joined.num_rows
    assert pc.mean(pc.equal(joined["due_amount"], joined["tax_payable_max"])).as_py() > 0.98


def test_the_profile_moves_where_the_register_says(city: City) -> None:
    register, profile = city.sources["business_registration"], city.sources["enterprise_profile"]
    moves = (
        register.filter(pc.equal(register["change_kind"], "address")).group_by("uscc").aggregate([([], "count_all")])
    )
    addresses = profile.group_by("uscc").aggregate([("address", "count_distinct")])
    joined = moves.join(addresses, "uscc")
    assert joined.num_rows > 100
    # An address of a ring does not change; chance may repeat one.
    assert pc.mean(pc.equal(joined["address_count_distinct"], pc.add(joined["count_all"], 1))).as_py() > 0.9
    still = addresses.filter(pc.invert(pc.is_in(addresses["uscc"], moves["uscc"].combine_chunks())))
    assert pc.max(still["address_count_distinct"]).as_py() == 1


def test_public_evaluations_sink_with_court_cases(city: City) -> None:
    cases = city.sources["judicial_penalty"]
    sued = cases.filter(pc.equal(cases["role"], "defendant"))["uscc"].unique()
    table = city.sources["development_reform"]
    table = table.filter(pc.equal(table["record_kind"], "credit_evaluation"))
    inside = pc.is_in(table["uscc"], sued)
    means = [pc.mean(table.filter(rows)["evaluation_score"].cast(pa.float64())).as_py()
             for rows in (inside, pc.invert(inside))]  # fmt: skip
    assert means[0] < means[1] - 3


def test_every_application_ends_in_a_submission_before_its_decision(city: City) -> None:
    events = city.sources["platform_event"]
    assert events["application_id"].combine_chunks().unique().to_pylist().__len__() == city.truth.num_rows
    last = events.group_by("application_id", use_threads=False).aggregate([("event_kind", "last"), ("uscc", "first")])
    assert set(last["event_kind_last"].to_pylist()) == {"submission"}
    known = events.group_by("application_id").aggregate([("available_at", "min"), ("available_at", "max")])
    seconds = pc.seconds_between(known["available_at_min"], known["available_at_max"]).to_numpy()
    assert seconds.max() < 3600


def test_members_of_a_ring_share_devices_as_others_do_not(city: City) -> None:
    rings = city.rings
    assert 0.005 < rings.num_rows / city.truth.num_rows < 0.02
    application = pc.replace_substring(rings["loan_id"], "L", "A")
    events = city.sources["platform_event"]
    devices = events.group_by("device_key").aggregate([("uscc", "count_distinct")])
    shared = devices.filter(pc.greater_equal(devices["uscc_count_distinct"], 3))["device_key"].combine_chunks()
    of_ring = pc.is_in(events["application_id"], application.combine_chunks())
    on_shared = pc.is_in(events["device_key"], shared)
    assert pc.mean(pc.cast(events.filter(of_ring)["device_key"].is_null(), pa.int8())).as_py() == 0
    assert pc.mean(pc.filter(on_shared, of_ring)).as_py() > 0.4
    assert pc.mean(pc.filter(on_shared, pc.invert(of_ring))).as_py() < 0.01


def test_rings_and_truth_are_in_no_served_column(city: City) -> None:
    served = {name for table in city.sources.values() for name in table.schema.names}
    assert not served & set(city.rings.schema.names) - {"uscc", "loan_id", "decided_at"}


def test_persons_telephones_and_devices_are_keyed_hashes(city: City) -> None:
    for source, columns in {
        "enterprise_profile": ("contact_phone_key",),
        "platform_event": ("applicant_key", "device_key", "ip_key", "address_key"),
    }.items():
        for column in columns:
            matches = pc.match_substring_regex(city.sources[source][column], "^[0-9a-f]{64}$")
            assert pc.all(matches).as_py(), column
