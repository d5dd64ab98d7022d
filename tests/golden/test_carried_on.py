"""Features and history that a build carries on from the one before are those of a full build, bit for bit.

What history says of a time is what was served then, also of somebody whose records had left every window. Days pass with and without deliveries; records come late, leave windows, move to another entity; outcomes become known
and are withdrawn; a contract changes.
"""

from __future__ import annotations

import json
import shutil
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit301.warehouse.build import build
from credit301.warehouse.compare import compare
from credit301.workspace import Workspace
from tests.golden.test_aggregations import FEATURES
from tests.golden.test_increment import START, deliveries, land, workspace_at

if TYPE_CHECKING:
    from pathlib import Path

CASES = """
apiVersion: v3.1.0
kind: DataContract
id: urn:test:cases
name: cases
version: 1.0.0
status: active
domain: tax
description: {purpose: what happened to it}
team: {name: court}
slaProperties: [{property: retention, value: 5, unit: y}]
schema:
  - name: cases
    businessName: 案件
    physicalType: table
    properties:
      - {name: case_id, logicalType: string, primaryKey: true, classification: internal}
      - {name: uscc, logicalType: string, classification: internal}
      - {name: opened_on, logicalType: date, classification: internal}
      - {name: event_time, logicalType: timestamp, required: true, classification: internal}
      - {name: available_at, logicalType: timestamp, required: true, classification: internal}
customProperties:
  - {property: legalBasis, value: consent of the enterprise}
  - {property: time, value: {eventTime: event_time, availableAt: available_at}}
  - property: pull
    value: {connector: http_exchange, options: {path: government/v1/cases/records, token_secret: government_token}}
  - {property: subModel, value: {label: {zh: 案件, en: cases}, absence: ABSENCE}}
  - property: features
    value:
      - {name: cases_20d, label: {zh: 数, en: count}, aggregation: count, window_days: 20}
      - {name: since_last, label: {zh: 距, en: recency}, aggregation: recency_days, window_months: 2}
      - {name: oldest_age, label: {zh: 龄, en: age}, aggregation: age_days, column: opened_on, window_months: 2}
"""
# Outcomes of what was sold, known sixty days later; a correction of the kind withdraws one.
OUTCOMES = """
select distinct
  uscc,
  event_time + interval '40' day as decision_time,
  0 as label
from {{ ref('stg_sales') }}
where known_until is null and kind = 'goods' and event_time + interval '60' day <= {{ as_of() }}
{% for moment in MOMENTS %}
union
select uscc, cast('{{ moment }}' as timestamp), 0
from {{ ref('int_entities') }}
where first_known <= cast('{{ moment }}' as timestamp)
  and cast('{{ moment }}' as timestamp) + interval '20' day <= {{ as_of() }}
{% endfor %}
"""
# When the deliveries are built. By the next one everybody has an outcome of a decision at that time.
MOMENTS = [START + timedelta(days=31 * step + 1) for step in range(3)]
MOVED = "E90"
SOURCES = ("cases", "files", "sales")


def case(number: int, entity: str, event: datetime, known: datetime | None = None) -> dict[str, Any]:
    """One record of a case."""
    return {
        "case_id": f"c{number}",
        "uscc": entity,
        "opened_on": date(2024, 1, 1) + timedelta(days=number),
        "event_time": event,
        "available_at": known or event + timedelta(days=1),
    }


def land_cases(workspace: Workspace, source: str, name: str, rows: list[dict[str, Any]]) -> None:
    """One landed file of cases."""
    folder = workspace.paths.landing / source
    folder.mkdir(parents=True, exist_ok=True)
    times = {name: pa.timestamp("us") for name in ("event_time", "available_at")}
    types = {"case_id": pa.string(), "uscc": pa.string(), "opened_on": pa.date32(), **times}
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(types.items()))), folder / f"{name}.parquet")


def prepared(directory: Path) -> Workspace:
    """The tiny city with every aggregation, and cases twice: once where no record means that nothing happened."""
    workspace = workspace_at(directory)
    sources = workspace.directory / "sources"
    contract = sources / "sales" / "contract.yaml"
    # No column of the tiny city holds a day to count an age from.
    features = [line[4:] for line in FEATURES.strip("\n").splitlines() if "age_days" not in line]
    contract.write_text(contract.read_text(encoding="utf-8") + "\n".join(features) + "\n", encoding="utf-8")
    for name, absence in (("cases", "no_events"), ("files", "no_data")):
        text = CASES.replace("ABSENCE", absence).replace("name: cases\n", f"name: {name}\n")
        (sources / name).mkdir()
        (sources / name / "contract.yaml").write_text(text, encoding="utf-8")
    outcomes = OUTCOMES.replace("MOMENTS", str([str(moment) for moment in MOMENTS]))
    (workspace.directory / "models" / "marts" / "outcomes.sql").write_text(outcomes, encoding="utf-8")
    return Workspace.load(workspace.directory, workspace.settings)


def rows_of(workspace: Workspace, mart: str) -> dict[tuple[str, datetime], tuple[Any, ...]]:
    """The rows of an exported feature mart by entity and time."""
    with duckdb.connect() as connection:
        rows = connection.execute(f"from read_parquet('{workspace.paths.mart(mart)}')").fetchall()
    return {(row[0], row[1]): row for row in rows}


def due_rows(workspace: Workspace) -> dict[str, int]:
    """For how many rows of the spine the last build computed the features of each source."""
    counts = ", ".join(f"count(*) filter (where {source}_due)" for source in SOURCES)
    with duckdb.connect(str(workspace.paths.warehouse), read_only=True) as connection:
        found = connection.execute(f"select {counts} from intermediate.int_feature_spine").fetchall()[0]
    return dict(zip(SOURCES, found, strict=True))


Served = dict[tuple[str, datetime], dict[tuple[str, datetime], tuple[Any, ...]]]
Carried = tuple[Workspace, list[dict[str, int]], Served]


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    """A warehouse that was built day after day, how many rows were due in each build, and marts as they were then."""
    workspace = prepared(tmp_path_factory.mktemp("carried"))
    steps, due = deliveries(303), []
    served: Served = {}
    end = START + timedelta(days=62)
    first = [case(number, f"E{number:02d}", START - timedelta(days=number * 9)) for number in range(12)]
    # In the second delivery one case turns out to be of somebody who was not known, and one is corrected late.
    second = [
        {**first[3], "uscc": MOVED, "available_at": START + timedelta(days=20)},
        {**first[5], "opened_on": date(2023, 5, 5), "available_at": first[5]["available_at"] + timedelta(days=2)},
        case(20, "E91", START + timedelta(days=25)),
    ]
    third = [case(21, "E92", START + timedelta(days=50))]
    for step, cases in enumerate((first, second, third)):
        land(workspace, f"step{step}", steps[step])
        for source in ("cases", "files"):
            land_cases(workspace, source, f"step{step}", cases)
        build(workspace, MOMENTS[step], docs=False)
        due.append(due_rows(workspace))
        served |= {(source, MOMENTS[step]): rows_of(workspace, f"feature_{source}") for source in SOURCES}
    # Nothing is delivered any more, but time passes: some records leave a window, and days are counted.
    build(workspace, end + timedelta(days=17), docs=False)
    due.append(due_rows(workspace))
    return workspace, due, served


def compared_with_a_full_build(workspace: Workspace, as_of: datetime, aside: Path) -> int:
    """Rows of all marts, which a full build must make alike."""
    shutil.copytree(workspace.paths.marts, aside)
    build(workspace, as_of, docs=False, full=True)
    rows, differences = compare(aside, workspace.paths.marts, tolerance=0)
    assert differences == []
    return rows


def test_what_is_carried_on_is_what_a_full_build_makes(carried: Carried, tmp_path: Path) -> None:
    workspace, due, _ = carried
    as_of = START + timedelta(days=79)
    now = {entity: row[3:] for (entity, time), row in rows_of(workspace, "feature_files").items() if time == as_of}
    # The case that moved, and those that left the longest window, are of nobody any more where that is no knowledge.
    assert set(now["E03"]) == {None}
    assert None not in now["E92"]
    assert compared_with_a_full_build(workspace, as_of, tmp_path / "carried") > 200
    everything = due_rows(workspace)
    assert len(set(due[0].values())) == 1
    assert all(later[source] < everything[source] for later in due[1:] for source in SOURCES)
    # Only what left a window by the clock.
    assert 0 < due[-1]["cases"] < 5


def newest(rows: dict[tuple[str, datetime], tuple[Any, ...]], entity: str, moment: datetime) -> tuple[Any, ...]:
    """What a join by time finds: the features of the newest row of ``entity`` that is not after ``moment``."""
    times = [time for name, time in rows if name == entity and time <= moment]
    return rows[entity, max(times)][3:] if times else ()


def test_history_says_of_a_time_what_was_served_then(carried: Carried) -> None:
    workspace, _, served = carried
    left = 0
    for source in ("cases", "files"):
        rows = rows_of(workspace, f"feature_{source}")
        # Of E05 a correction landed later that could have been known.
        entities = {entity for entity, _ in rows} - {"E05"}
        for moment in MOMENTS[:-1]:
            then = served[source, moment]
            for entity in entities:
                found = newest(rows, entity, moment)
                assert found == then.get((entity, moment), ((),) * 3)[3:], (source, entity, moment)
                before = newest(rows, entity, moment - timedelta(days=31))
                left += set(found) == {None} and not set(before) <= {None}
    # Whose last record left every window between two builds: the join must not go back to it.
    assert left > 0


def test_a_changed_contract_builds_its_own_models_anew(carried: Carried, tmp_path: Path) -> None:
    workspace, *_ = carried
    contract = workspace.directory / "sources" / "cases" / "contract.yaml"
    contract.write_text(contract.read_text(encoding="utf-8").replace("window_days: 20", "window_days: 30"), "utf-8")
    changed = Workspace.load(workspace.directory, workspace.settings)
    as_of = START + timedelta(days=80)
    build(changed, as_of, docs=False)
    due = due_rows(changed)
    assert due["files"] < due["cases"]
    assert compared_with_a_full_build(changed, as_of, tmp_path / "changed") > 200


def test_after_a_build_that_failed_nothing_is_carried_on(carried: Carried) -> None:
    workspace, *_ = carried
    memory = workspace.paths.state / "warehouse_duckdb.json"
    assert json.loads(memory.read_text(encoding="utf-8"))["as_of"]
    outcomes = workspace.directory / "models" / "marts" / "outcomes.sql"
    good = outcomes.read_text(encoding="utf-8")
    outcomes.write_text("select no_such_column from {{ ref('stg_sales') }}", encoding="utf-8")
    with pytest.raises(Exception, match="outcomes"):
        build(workspace, docs=False)
    assert json.loads(memory.read_text(encoding="utf-8"))["as_of"] is None
    outcomes.write_text(good, encoding="utf-8")


def test_time_cannot_go_back_with_what_is_carried_on(carried: Carried) -> None:
    from credit301.warehouse.increment import Increment

    workspace, *_ = carried
    memory = workspace.paths.state / "warehouse_duckdb.json"
    known = json.loads(memory.read_text(encoding="utf-8"))
    memory.write_text(json.dumps({**known, "as_of": START.isoformat()}), encoding="utf-8")
    there = {*known["models"], "stg_sales", "stg_cases", "stg_files"}
    plan = Increment.plan(workspace, "duckdb", there, macros=known["macros"])
    assert plan.at(START + timedelta(days=1)).before == START
    assert plan.at(START - timedelta(days=1)).before is None
    assert set(plan.at(START - timedelta(days=1)).anew) == set(known["models"])
