"""Lineage to the column, from compiled SQL and from the contracts, and what is told of it to OpenLineage."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from credit301 import verbs
from credit301.errors import NotFound
from credit301.governance.lineage import page
from credit301.governance.lineage.events import emit_models, recorded
from credit301.governance.lineage.from_contracts import contract_lineage
from credit301.governance.lineage.from_manifest import manifest_lineage, manifest_path
from credit301.governance.lineage.graph import Layer, Lineage, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from credit301.workspace import Workspace
    from tests.conftest import TinyWorkspace

STAGING = """
    with landed as (select uscc, month, amount, kind, cast(event_time as timestamp) as event_time,
      cast(available_at as timestamp) as known_from, _record_hash from {landing}),
    ranked as (select *, row_number() over (partition by uscc, month, known_from order by _record_hash) as version_rank from landed)
    select uscc, month, amount, kind, event_time, known_from,
      lead(known_from) over (partition by uscc, month order by known_from) as known_until
    from ranked where version_rank = 1
"""
# A model of the workspace's own: a star, a union, a join, a window, a sub-query.
OWN = """
    with everything as (select * from {staging}),
    halves as (select uscc, amount as value from everything where kind = 'goods' union all select uscc, -amount from everything)
    select h.uscc, sum(h.value) as total, count(distinct e.month) as months,
      (select max(s.event_time) from {staging} as s) as newest
    from halves as h inner join everything as e on e.uscc = h.uscc and e.known_until is null
    group by h.uscc
"""
MART = """
    with aggregated as (
      select uscc, sum(amount) filter (where kind = 'goods') as amount_sum from {staging} where known_from <= current_timestamp group by uscc
    )
    select a.uscc, cast(a.amount_sum as double precision) as amount_sum from aggregated as a
"""
QUOTES = {"duckdb": '"warehouse"."{0}"."{1}"', "postgres": '"warehouse"."{0}"."{1}"', "spark": "`{0}`.`{1}`"}


def compiled(workspace: Workspace, dialect: str = "duckdb") -> dict[str, Any]:
    """A manifest as dbt writes it, with one source, staging, a model of the workspace's own, a feature mart."""
    names = {"landing": ("landing", "sales"), "staging": ("staging", "stg_sales")}
    relations = {name: QUOTES[dialect].format(*where) for name, where in names.items()}
    models = {
        "stg_sales": ("staging", STAGING, ["source.t.landing.sales"]),
        "int_totals": ("intermediate", OWN, ["model.t.stg_sales"]),
        "feature_sales": ("marts", MART, ["model.t.stg_sales"]),
    }
    return {
        "metadata": {"adapter_type": dialect},
        "sources": {
            "source.t.landing.sales": {"name": "sales", "relation_name": relations["landing"], "columns": {}},
        },
        "nodes": {
            f"model.t.{name}": {
                "name": name,
                "alias": name,
                "resource_type": "model",
                "schema": schema,
                "relation_name": QUOTES[dialect].format(schema, name),
                "original_file_path": f"models/{name}.sql",
                "compiled_code": sql.format(**relations),
                "columns": {},
            }
            for name, (schema, sql, _) in models.items()
        },
        "parent_map": {f"model.t.{name}": parents for name, (_, _, parents) in models.items()},
    }


def source(column: str) -> Node:
    return Node(Layer.SOURCE, "sales", column)


def origins(lineage: Lineage, node: Node, *, indirect: bool = False) -> set[str]:
    return {n.column for n in lineage.upstream([node], indirect=indirect) if n.layer is Layer.SOURCE}


@pytest.fixture
def workspace(tiny: TinyWorkspace) -> Workspace:
    reasons = (
        "risk: decreasing, adverse: {zh: 金额较低, en: Sales are low}, favourable: {zh: 金额较高, en: Sales are high}"
    )
    return tiny.replace("risk: decreasing", reasons).load()


@pytest.mark.parametrize("dialect", QUOTES)
def test_every_column_is_traced_to_the_source_columns_in_the_sql_of_each_engine(
    workspace: Workspace, dialect: str
) -> None:
    lineage = manifest_lineage(workspace, compiled(workspace, dialect))
    assert lineage.problems == []
    totals = {
        column: Node(Layer.INTERMEDIATE, "int_totals", column) for column in ("uscc", "total", "months", "newest")
    }
    assert origins(lineage, totals["uscc"]) == {"uscc"}
    assert origins(lineage, totals["total"]) == {"amount"}
    assert origins(lineage, totals["months"]) == {"month"}
    assert origins(lineage, totals["newest"]) == {"event_time"}
    assert origins(lineage, Node(Layer.STAGING, "stg_sales", "known_until")) == {"uscc", "month", "available_at"}
    assert origins(lineage, Node(Layer.FEATURE, "sales", "amount_sum")) == {"amount", "kind"}


def test_what_only_decides_which_rows_count_is_told_apart(workspace: Workspace) -> None:
    lineage = manifest_lineage(workspace, compiled(workspace))
    total = Node(Layer.INTERMEDIATE, "int_totals", "total")
    assert origins(lineage, total, indirect=True) == {"amount", "kind", "uscc", "month", "available_at"}
    edge = lineage.graph.edges[Node(Layer.STAGING, "stg_sales", "kind"), total]
    assert edge["indirect"]


def test_impact_reaches_the_feature_the_sub_model_and_the_reasons(workspace: Workspace) -> None:
    lineage = manifest_lineage(workspace, compiled(workspace))
    below = lineage.downstream([source("amount")])
    assert {str(node) for node in below if node.layer in {Layer.FEATURE, Layer.SUBMODEL}} == {"sales.amount_sum"}
    texts = {lineage.details[node].label for node in below if node.layer is Layer.REASON}
    assert {text.en for text in texts if text} == {"Sales are low", "Sales are high"}
    assert Node(Layer.ENSEMBLE, "ensemble", "sales") in below
    assert not any(node.layer is Layer.FEATURE for node in lineage.downstream([source("month")]))


def test_sql_that_cannot_be_read_is_said_and_everything_is_taken(workspace: Workspace) -> None:
    manifest = compiled(workspace)
    own = manifest["nodes"]["model.t.int_totals"]
    own["compiled_code"], own["columns"] = "select from from where", {"total": {}}
    lineage = manifest_lineage(workspace, manifest)
    assert [problem.split(":")[0] for problem in lineage.problems] == ["int_totals"]
    every = {column.name for column in workspace.source("sales").columns}
    assert origins(lineage, Node(Layer.INTERMEDIATE, "int_totals", "total")) == every


def test_a_source_that_was_not_built_yet_is_said_and_taken_from_its_contract(workspace: Workspace) -> None:
    manifest = compiled(workspace)
    manifest["sources"], manifest["nodes"] = {}, {}
    lineage = manifest_lineage(workspace, manifest)
    assert lineage.problems == ["sales: not in the last build; run `credit301 build`"]
    assert origins(lineage, Node(Layer.FEATURE, "sales", "amount_sum")) == {"amount", "event_time"}


@pytest.mark.parametrize(
    ("verb", "option"), [("lineage", {"feature": "amount_sum"}), ("impact", {"column": "sales.amount"})]
)
def test_before_the_first_build_it_is_said_what_to_do(workspace: Workspace, verb: str, option: dict[str, str]) -> None:
    with pytest.raises(NotFound, match="credit301 build"):
        verbs.call(verb, workspace, **option)


@pytest.fixture
def built(workspace: Workspace) -> Workspace:
    path = manifest_path(workspace)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(compiled(workspace)), encoding="utf-8")
    return workspace


def test_impact_prints_both_languages_and_writes_them(
    built: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = verbs.call("impact", built, column="sales.amount", json_file=tmp_path / "impact.json")
    printed = capsys.readouterr().out
    for text in ("金额较低", "Sales are low", "models/feature_sales.sql", "sources/sales/contract.yaml"):
        assert text in printed
    assert summary["downstream"] == {
        "staging": 1,
        "intermediate": 1,
        "mart": 1,
        "feature": 1,
        "submodel": 1,
        "reason": 2,
        "ensemble": 1,
    }
    found = json.loads((tmp_path / "impact.json").read_text(encoding="utf-8"))
    assert {"zh": "金额较低", "en": "Sales are low"} in [node["label"] for node in found["downstream"]["nodes"]]


def test_lineage_goes_both_ways(built: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verbs.call("lineage", built, feature="amount_sum", json_file=tmp_path / "lineage.json")
    assert "models/stg_sales.sql" in capsys.readouterr().out
    found = json.loads((tmp_path / "lineage.json").read_text(encoding="utf-8"))
    assert {node["column"] for node in found["upstream"]["nodes"] if node["layer"] == "source"} == {"amount", "kind"}
    assert {node["column"] for node in found["rows_decided_by"]["nodes"] if node["layer"] == "source"} >= {
        "uscc",
        "available_at",
    }


@pytest.mark.parametrize(
    ("verb", "option"), [("lineage", {"feature": "amount_sun"}), ("impact", {"column": "sales.amuont"})]
)
def test_a_name_that_is_not_there_suggests_those_that_are(built: Workspace, verb: str, option: dict[str, str]) -> None:
    with pytest.raises(NotFound, match=r"Perhaps .*amount"):
        verbs.call(verb, built, **option)


def test_contracts_alone_tell_every_feature_its_columns(wuhan: Workspace) -> None:
    lineage = contract_lineage(wuhan)
    for contract in wuhan.featured():
        parts = {feature.name: feature for feature in contract.features}
        for feature in contract.features:
            reads = set().union(*(parts[name].reads for name in feature.of or (feature.name,)))
            above = lineage.upstream([Node(Layer.FEATURE, contract.name, feature.name)])
            assert reads <= {node.column for node in above if node.layer is Layer.SOURCE}, feature.name


def test_the_page_holds_the_graph_and_no_foreign_address(built: Workspace) -> None:
    lineage = manifest_lineage(built)
    lineage.add(source("amount"), None, "</script><b>")
    html = page.write(built, lineage).read_text(encoding="utf-8")
    assert "Sales are low" in html
    assert "金额较低" in html
    assert "</script><b>" not in html
    assert "https://" not in html


# -- OpenLineage


def events(workspace: Workspace, job: str) -> list[dict[str, Any]]:
    path = workspace.paths.state / "openlineage" / f"{job}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in os.environ:
        if name.startswith("OPENLINEAGE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_run_starts_and_completes_under_one_id_with_its_columns(workspace: Workspace) -> None:
    with recorded(workspace, "ingest.sales", [(Layer.SOURCE, "sales")]) as run:
        run.rows = 7
    start, complete = events(workspace, "ingest.sales")
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    [output] = complete["outputs"]
    assert (output["namespace"], output["name"]) == ("credit301://tiny", "landing.sales")
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 7
    assert output["facets"]["ownership"]["owners"][0]["name"] == "tax_office"
    fields = {field["name"]: field for field in output["facets"]["schema"]["fields"]}
    assert fields["amount"]["type"] == "DECIMAL(18,2)"
    [origin] = output["facets"]["columnLineage"]["fields"]["amount"]["inputFields"]
    assert (origin["name"], origin["field"]) == ("http_exchange.sales", "amount")
    assert [item["name"] for item in complete["inputs"]] == ["http_exchange.sales"]


def test_a_run_that_fails_says_so_and_the_error_goes_on(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="no rows"), recorded(workspace, "train", [(Layer.SUBMODEL, "sales")]):
        raise ValueError("no rows\nof any kind")
    _, failed = events(workspace, "train")
    assert failed["eventType"] == "FAIL"
    assert failed["run"]["facets"]["errorMessage"]["message"] == "ValueError: no rows"
    assert [item["name"] for item in failed["inputs"]] == ["feature_view.sales"]


def test_each_model_of_a_build_has_events_with_the_build_as_parent(built: Workspace) -> None:
    results = [
        {
            "unique_id": f"model.t.{name}",
            "status": status,
            "message": "no such column",
            "timing": [{"started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:01Z"}],
        }
        for name, status in (("stg_sales", "success"), ("int_totals", "error"))
    ]
    (manifest_path(built).parent / "run_results.json").write_text(json.dumps({"results": results}), encoding="utf-8")
    with recorded(built, "build", ()) as run:
        assert emit_models(built, run) is not None
    found = events(built, "build")
    assert [(event["job"]["name"], event["eventType"]) for event in found] == [
        ("build", "START"),
        ("build.stg_sales", "START"),
        ("build.stg_sales", "COMPLETE"),
        ("build.int_totals", "START"),
        ("build.int_totals", "FAIL"),
        ("build", "COMPLETE"),
    ]
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in found[1:5]} == {run.run_id}
    lineage = found[2]["outputs"][0]["facets"]["columnLineage"]
    assert [field["field"] for field in lineage["fields"]["amount"]["inputFields"]] == ["amount"]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A lineage server: its address and what it was sent."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


def test_events_go_where_openlineage_is_told_to_send_them(
    workspace: Workspace, receiver: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, got = receiver
    with monkeypatch.context() as patch:
        patch.setenv("OPENLINEAGE_URL", address)
        # The library copies the address into variables of its own, which must not outlive the test.
        patch.setenv("OPENLINEAGE__TRANSPORT__TRANSPORTS__DEFAULT_HTTP__TYPE", "http")
        patch.setenv("OPENLINEAGE__TRANSPORT__TRANSPORTS__DEFAULT_HTTP__URL", address)
        with recorded(workspace, "materialize", [(Layer.FEATURE, "sales")]):
            pass
    assert [event["eventType"] for event in got] == ["START", "COMPLETE"]
    assert not (workspace.paths.state / "openlineage").exists()


def test_a_lineage_server_that_is_down_stops_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = {"type": "http", "url": "http://127.0.0.1:1", "retry": {"total": 0}}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(configuration))
    done = False
    with recorded(workspace, "materialize", [(Layer.FEATURE, "sales")]):
        done = True
    assert done
    assert "OpenLineage: event not delivered" in capsys.readouterr().err
