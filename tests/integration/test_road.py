"""The road from a data exchange to online features, on a small simulated city and real servers."""

from __future__ import annotations

import json
import re
import shutil
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import redis

from credit301 import verbs
from credit301.drift import differences
from credit301.errors import ContractError, FeatureStoreError
from credit301.features.packed_wire import HEADER, entity_key
from credit301.governance.lineage.from_contracts import contract_lineage
from credit301.governance.lineage.from_manifest import manifest_lineage
from credit301.governance.lineage.graph import Layer
from credit301.settings import Settings
from credit301.workspace import Workspace
from simulator.city import write_city
from simulator.config import CityConfig
from simulator.exchange import Tokens, create_app
from simulator.faults import Faults
from tests.conftest import REPOSITORY
from tests.support.redis_server import redis_server
from tests.support.servers import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.server]
# Of all that the demo's exchange does wrong, more.
FAULTS = Faults(0.1, 0.1, 0.1, 0.1, 0.01, 0.01, seed=5, hold_seconds=0.02)


@dataclass
class Pulled:
    """The reference city with all its sources landed, and what was said of each."""

    workspace: Workspace
    said: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulled]:
    """The reference city pulled and validated; Redis and the exchange keep running."""
    home = tmp_path_factory.mktemp("road")
    city = home / "city"
    write_city(CityConfig(enterprises=250), city)
    with redis_server() as server:
        settings = Settings(home=home / "var", redis_url=f"redis://127.0.0.1:{server.port}/0")
        tokens = Tokens(*(settings.secret(name) for name in ("government_token", "bank_token", "exchange_admin_token")))
        with running(create_app(city, tokens, FAULTS)) as address:
            settings = settings.model_copy(update={"exchange_url": address})
            workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)
            yield Pulled(workspace, verbs.call("ingest", workspace, source="all"))


@pytest.fixture(scope="module")
def road(pulled: Pulled) -> Workspace:
    """The reference city built and materialized."""
    verbs.call("build", pulled.workspace)
    verbs.call("materialize", pulled.workspace)
    return pulled.workspace


def landed(workspace: Workspace) -> dict[str, bytes]:
    """Content of every landed file by path."""
    root = workspace.paths.landing
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


def test_every_row_that_comes_in_is_accounted_for_whatever_the_exchange_does_wrong(pulled: Pulled) -> None:
    assert set(pulled.said) == set(pulled.workspace.sources)
    for source, counts in pulled.said.items():
        assert counts["rows"] == counts["landed"] + counts["quarantined"] + counts["duplicates"], source
        assert counts["rows"] > 0, source


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
    key = entity_key(road.name, "uscc", row[0])
    field = "judicial_penalty"
    kept = client.hget(key, field)
    assert kept is not None
    names = [feature.name for feature in road.source(field).features]
    place = HEADER.size + 8 * names.index("adverse_event_count_24m")
    client.hset(key, field, kept[:place] + struct.pack(">d", 301.0) + kept[place + 8 :])
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
    assert summary["expectations"] == sum(len(contract.checks) for contract in road.sources.values()) + len(
        road.sources
    )


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


ONE_MORE = """
apiVersion: v3.1.0
kind: DataContract
id: urn:credit301:wuhan:water_supply
name: water_supply
version: 1.0.0
status: active
domain: government_affairs
description: {purpose: how much water it draws}
team: {name: water_supply_centre}
slaProperties: [{property: retention, value: 5, unit: y}]
schema:
  - name: water_supply
    businessName: 供水
    description: water drawn, by month
    physicalType: table
    properties:
      - {name: uscc, businessName: 统一社会信用代码, logicalType: string, primaryKey: true, logicalTypeOptions: {format: uscc}, classification: internal}
      - {name: period, businessName: 所属期, logicalType: string, primaryKey: true, classification: internal}
      - {name: meters, businessName: 水表数, logicalType: integer, required: true, logicalTypeOptions: {minimum: 0}, classification: confidential}
      - {name: read_on, businessName: 抄表日期, logicalType: date, required: true, classification: internal}
customProperties:
  - {property: legalBasis, value: consent of the enterprise}
  - {property: time, value: {eventTime: read_on, lagDays: 10}}
  - {property: pull, value: {connector: file_drop, options: {path: water_supply.csv}}}
  - {property: subModel, value: {label: {zh: 用水子模型, en: water supply sub-model}, absence: no_data}}
  - property: features
    value:
      - {name: meters_last, label: {zh: 水表数, en: meters}, aggregation: last, column: meters, window_months: 12}
      - {name: meters_12m_trend, label: {zh: 水表数趋势, en: trend of meters}, aggregation: trend, column: meters, window_months: 12}
"""


def test_a_source_more_is_one_folder(road: Workspace, tmp_path: Path) -> None:
    directory = tmp_path / "city"
    shutil.copytree(road.directory, directory)
    (directory / "sources" / "water_supply").mkdir()
    (directory / "sources" / "water_supply" / "contract.yaml").write_text(ONE_MORE, encoding="utf-8")
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
        "copy (select distinct uscc, strftime(m, '%Y-%m') as period, 1 + (hash(uscc) % 40)::int as meters, m::date as read_on"
        f" from read_parquet('{path}'), generate_series(timestamp '2024-01-05', timestamp '2026-09-05', interval 1 month) s(m))"
        f" to '{tmp_path / 'water_supply.csv'}'"
    )
    duckdb.sql(query)
    settings = road.settings.model_copy(update={"home": home, "data_dir": tmp_path})
    city = Workspace.load(directory, settings)
    landed_rows = verbs.call("ingest", city, source="water_supply")["water_supply"]["landed"]
    assert landed_rows > 1000
    verbs.call("build", city, docs=False)
    verbs.call("training_set", city)
    trained = verbs.call("train", city, register=False, force=True)
    assert ("water_supply", "source") in {(model["name"], model["level"]) for model in trained["models"]}
    assert verbs.call("drift", city)["feature_store"] == sum(len(c.features) for c in road.featured()) + 2


# -- lineage


def test_impact_of_declared_sales_names_features_sub_model_and_reasons(
    road: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verbs.call("impact", road, column="tax_declaration.declared_sales", json_file=tmp_path / "impact.json")
    found = json.loads((tmp_path / "impact.json").read_text(encoding="utf-8"))["downstream"]["nodes"]
    named = {(node["layer"], node["table"], node["column"]) for node in found}
    assert ("mart", "feature_tax_declaration", "declared_sales_12m_sum") in named
    assert ("feature", "tax_declaration", "sales_momentum") in named
    assert ("submodel", "tax_declaration", "declared_sales_12m_sum") in named
    assert ("reason", "tax_declaration", "declared_sales_12m_sum adverse") in named
    assert not {column for layer, _, column in named if layer == "feature"} & {
        "input_tax_12m_sum",
        "days_late_12m_mean",
    }
    printed = capsys.readouterr().out
    assert "近12个月申报销售额较低 Declared sales in 12 months are low" in printed


def test_the_compiled_sql_carries_every_column_to_the_features_that_the_contracts_say(road: Workspace) -> None:
    compiled, described = manifest_lineage(road), contract_lineage(road)
    assert compiled.problems == []
    for feature in compiled.nodes(Layer.FEATURE):
        wanted = {node for node in described.upstream([feature]) if node.layer is Layer.SOURCE}
        assert wanted <= compiled.upstream([feature]), feature
    # What the contracts alone do not know: the city's own models of the outcome.
    label = next(iter(compiled.nodes(Layer.LABEL)))
    assert "bank_repayment.days_past_due" in {str(node) for node in compiled.upstream([label])}


def test_every_step_of_the_road_is_told_to_openlineage(road: Workspace) -> None:
    directory = road.paths.state / "openlineage"
    events = [json.loads(line) for path in directory.glob("*.jsonl") for line in path.read_text("utf-8").splitlines()]
    ended = {event["job"]["name"] for event in events if event["eventType"] == "COMPLETE"}
    models = {f"build.feature_{c.name}" for c in road.featured()} | {f"build.stg_{name}" for name in road.sources}
    assert ended >= {"build", "materialize"} | models | {f"ingest.{name}" for name in road.sources}
    # A test above asks for an online store that is not there.
    assert {event["job"]["name"] for event in events if event["eventType"] == "FAIL"} <= {"materialize"}
    mart = next(
        e for e in events if e["job"]["name"] == "build.feature_tax_declaration" and e["eventType"] == "COMPLETE"
    )
    fields = mart["outputs"][0]["facets"]["columnLineage"]["fields"]["declared_sales_12m_sum"]["inputFields"]
    assert ("staging.stg_tax_declaration", "declared_sales") in {(field["name"], field["field"]) for field in fields}


def test_the_lineage_page_stands_beside_the_other_pages(road: Workspace) -> None:
    html = (road.paths.site / "lineage.html").read_text(encoding="utf-8")
    assert "近12个月申报销售额较低" in html
    assert "Declared sales in 12 months are low" in html
