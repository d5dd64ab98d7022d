"""Roles as data: what each sees follows from the contracts, and what it may not see is not in its database."""

from __future__ import annotations

import stat

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit301.contracts.model import Classification
from credit301.errors import ContractError, NotFound
from credit301.governance.access.relations import classification, relations
from credit301.governance.access.roles import role_of, roles_of
from credit301.governance.access.verbs import access
from credit301.governance.masking import Treatment
from credit301.identity.keyed_hash import KeyedHash
from credit301.sources.batches import Store
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.support.scoring import valid_uscc

PERSON, PHONE, SECRET = "420106199001011234", "13812345678", "TOPSECRET-TURNOVER"
ENTITY = valid_uscc()


@pytest.fixture
def city(tiny: TinyWorkspace) -> Workspace:
    """A city with one landed record that has something of every class, and a feature mart."""
    tiny.replace(
        "      - {name: kind, logicalType: string, enum: [{value: goods}, {value: services}], classification: internal}\n",
        "      - {name: kind, logicalType: string, classification: public}\n"
        "      - {name: note, logicalType: string, classification: confidential}\n"
        "      - {name: legal_person, logicalType: string, classification: personal}\n"
        "      - {name: phone, logicalType: string, classification: personal}\n",
    )
    city = tiny.load()
    values = {
        "uscc": ENTITY,
        "month": "2024-01",
        "amount": "1.00",
        "kind": "goods",
        "note": SECRET,
        "legal_person": PERSON,
        "phone": PHONE,
        "event_time": "2024-01-31 00:00:00",
        "available_at": "2024-02-15 00:00:00",
    }
    path = Store(city, "sales").landing_file("0" * 16)
    path.parent.mkdir(parents=True)
    names = [column.name for column in city.source("sales").columns]
    columns = {name: [values[name]] * 3 for name in names}
    pq.write_table(pa.table({**columns, "_record_hash": ["h"] * 3, "_pull_id": ["p"] * 3}), path)
    mart = city.paths.mart("feature_sales")
    mart.parent.mkdir(parents=True)
    times = {name: ["2024-02-15"] for name in ("event_timestamp", "created_timestamp")}
    pq.write_table(pa.table({"uscc": [ENTITY], **times, "amount_sum": [1.0]}), mart)
    return city


def tables(city: Workspace, role: str) -> dict[str, list[dict[str, object]]]:
    path = access(city, role)["path"]
    with duckdb.connect(path, read_only=True) as connection:
        names = connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
        found = {}
        for schema, table in names:
            rows = connection.sql(f'from {schema}."{table}"').to_arrow_table().to_pylist()
            found[f"{schema}.{table}"] = rows
    return found


def test_a_data_engineer_sees_forms_and_hashes(city: Workspace) -> None:
    found = tables(city, "data_engineer")
    hashed = KeyedHash.from_settings(city.settings)
    row = found["records.sales"][0]
    assert (row["uscc"], row["legal_person"], row["phone"]) == (hashed(ENTITY), hashed(PERSON), hashed(PHONE))
    assert (row["kind"], row["month"], row["note"]) == ("goods", "2024-01", "TO**************ER")
    assert found["features.sales"][0]["uscc"] == hashed(ENTITY)


def test_a_risk_officer_sees_the_key_and_masked_persons(city: Workspace) -> None:
    row = tables(city, "risk_officer")["records.sales"][0]
    assert (row["uscc"], row["note"]) == (ENTITY, SECRET)
    assert (row["legal_person"], row["phone"]) == ("420106************", "138****5678")


@pytest.mark.parametrize("role", ["ml_engineer", "risk_strategist"])
def test_whoever_needs_features_sees_no_records(city: Workspace, role: str) -> None:
    assert set(tables(city, role)) == {"features.sales"}


def test_a_banks_system_sees_nothing_here(city: Workspace) -> None:
    assert tables(city, "bank_system") == {}


@pytest.mark.parametrize("role", ["data_engineer", "ml_engineer", "risk_strategist", "risk_officer", "auditor"])
def test_what_a_role_may_not_see_is_not_in_the_bytes_of_its_database(city: Workspace, role: str) -> None:
    path = access(city, role)["path"]
    data = open(path, "rb").read()  # noqa: SIM115, PTH123
    hidden = {PERSON, PHONE} | ({ENTITY, SECRET} if role != "risk_officer" else set())
    for value in hidden:
        assert value.encode() not in data
    assert str(city.paths.landing).encode() not in data
    with duckdb.connect(path, read_only=True) as connection:
        for name in ("landing.sales", "main.sales", "records.persons"):
            with pytest.raises(duckdb.CatalogException):
                connection.execute(f"from {name}")
        with pytest.raises(duckdb.Error):
            connection.execute("create table records.more (x int)")


def test_nobody_else_may_write_the_file_and_it_is_replaced_as_a_whole(city: Workspace) -> None:
    path = city.paths.access / "auditor.duckdb"
    access(city, "auditor")
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    inode = path.stat().st_ino
    access(city, "auditor")
    assert path.stat().st_ino != inode
    assert [entry.name for entry in path.parent.iterdir()] == ["auditor.duckdb"]


def test_every_role_of_the_reference_city_hides_every_personal_column(wuhan: Workspace) -> None:
    for role in roles_of(wuhan).values():
        for relation in relations(wuhan, role):
            contract = wuhan.source(relation.source)
            names = {column.name for column in contract.columns}
            for shown in relation.columns:
                if shown.name in names - {wuhan.entity.key} and relation.kind == "records":
                    personal = contract.column(shown.name).classification is Classification.PERSONAL
                    assert not personal or shown.treatment in {Treatment.MASK, Treatment.HASH}


def test_a_feature_is_as_sensitive_as_the_most_sensitive_column_that_it_reads(wuhan: Workspace) -> None:
    tax = wuhan.source("tax_declaration")
    sales = next(feature for feature in tax.features if feature.column == "declared_sales")
    assert classification(tax, sales) is tax.column("declared_sales").classification is Classification.CONFIDENTIAL


def test_a_workspaces_own_roles_take_the_place_of_the_platforms(tiny: TinyWorkspace) -> None:
    city = tiny.load()
    own = city.directory / "governance" / "roles.yaml"
    own.parent.mkdir()
    text = (
        "roles:\n  clerk:\n    title: {zh: 职员, en: clerk}\n    records: [sales]\n    key: mask\n"
        "    treatments: {public: clear, internal: clear, confidential: omit, personal: omit}\n"
    )
    own.write_text(text, encoding="utf-8")
    assert set(roles_of(city)) == {"clerk"}
    with pytest.raises(NotFound, match="auditor"):
        role_of(city, "auditor")
    for old, new, match in (
        ("[sales]", "[sails]", r"roles.yaml:4: .*'sails' is not a source"),
        ("key: mask", "key: gone", r"roles.yaml:5"),
        (", personal: omit", "", r"nothing of personal"),
        ("records:", "record:", r"roles.yaml:4: .*unknown key"),
    ):
        own.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ContractError, match=match):
            roles_of(city)
