"""Features over edges, as the warehouse computes them, against a plain Python account of who knew what when.

Random edges with corrections, some to outside parties, and random records of the entities are landed; one real dbt
build computes the features at every decision and now, and each value is computed again here from the definitions.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit301.settings import Settings
from credit301.warehouse.build import build
from credit301.workspace import Workspace
from tests.golden.test_aggregations import months_before

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = datetime(2025, 6, 15, 12)
ENTITIES = [f"E{number:02d}" for number in range(14)]
OUTSIDE = ["X1", "X2", "X3"]
MOVED = "M1"
"""Its only edge turns out to be of somebody else."""
LATE = "L1"
"""A party to edges from the start, of which no source speaks by the key before the very end."""
MOMENTS = [AS_OF, *(AS_OF - timedelta(days=days) for days in (40, 150, 330))]

WORKSPACE = """
    name: graph
    title: {zh: 图, en: graph}
    entity: {key: code, label: {zh: 企业, en: enterprise}, format: text}
    dimensions: {tax: {zh: 税务, en: tax}}
    labels: {model: outcomes}
    split: {kind: time}
"""
CONTRACT = """
    apiVersion: v3.1.0
    kind: DataContract
    id: urn:test:NAME
    name: NAME
    version: 1.0.0
    status: draft
    domain: tax
    schema:
      - name: NAME
        properties:
          - {name: id, logicalType: string, primaryKey: true, classification: internal}
          COLUMNS
          - {name: event_time, logicalType: timestamp, classification: internal}
          - {name: available_at, logicalType: timestamp, classification: internal}
    customProperties:
      - {property: time, value: {eventTime: event_time, availableAt: available_at}}
      - {property: pull, value: {connector: file_drop, options: {path: NAME.csv}}}
      - {property: subModel, value: {label: {zh: 子, en: sub}, absence: ABSENCE}}
      - property: features
        value:
          FEATURES
"""
LABEL = "label: {zh: 名, en: name}"
TRADES = [
    f"{{name: degree_all, {LABEL}, aggregation: degree}}",
    f"{{name: out_degree_6m, {LABEL}, aggregation: degree, direction: out, window_months: 6}}",
    f"{{name: in_degree_large, {LABEL}, aggregation: degree, direction: in, where: {{amount: {{gte: 50}}}}}}",
    f"{{name: own_sum_90d, {LABEL}, aggregation: sum, column: amount, window_days: 90}}",
    f"{{name: in_sum, {LABEL}, aggregation: sum, column: amount, direction: in}}",
    f"{{name: out_goods_share, {LABEL}, aggregation: share, direction: out, where: {{kind: goods}}}}",
    f"{{name: per_neighbour, {LABEL}, aggregation: ratio, of: [in_sum, degree_all]}}",
    f"{{name: fines_mean, {LABEL}, aggregation: neighbour_mean, neighbour: {{source: fines, feature: fine_count}}}}",
    f"{{name: fines_sum_out, {LABEL}, aggregation: neighbour_sum, direction: out, window_months: 12, neighbour: {{source: fines, feature: fine_sum}}}}",
    f"{{name: fined_share_in, {LABEL}, aggregation: neighbour_share, direction: in, where: {{kind: [goods]}}, neighbour: {{source: fines, feature: fine_count, where: {{gt: 1}}}}}}",
    f"{{name: grade_share, {LABEL}, aggregation: neighbour_share, neighbour: {{source: grades, feature: grade, where: [C, D]}}}}",
    f"{{name: score_min, {LABEL}, aggregation: neighbour_min, direction: out, neighbour: {{source: grades, feature: score}}}}",
    f"{{name: score_max, {LABEL}, aggregation: neighbour_max, direction: both, neighbour: {{source: grades, feature: score}}}}",
    f"{{name: average_fine, {LABEL}, aggregation: neighbour_mean, direction: in, neighbour: {{source: fines, feature: fine_average}}}}",
    f"{{name: sold_by_neighbours, {LABEL}, aggregation: neighbour_mean, direction: in, neighbour: {{source: trades, feature: own_sum_90d}}}}",
]
FINES = [
    f"{{name: fine_count, {LABEL}, aggregation: count, window_months: 12}}",
    f"{{name: fine_sum, {LABEL}, aggregation: sum, column: amount}}",
    f"{{name: fine_average, {LABEL}, aggregation: ratio, of: [fine_sum, fine_count]}}",
]
GRADES = [
    f"{{name: grade, {LABEL}, aggregation: last, column: grade, kind: category}}",
    f"{{name: score, {LABEL}, aggregation: last, column: score}}",
]


@dataclass(frozen=True)
class Version:
    """One version of a record: its key, what it says, when it was true and when it was published."""

    id: str
    event_time: datetime
    available_at: datetime
    values: dict[str, Any] = field(default_factory=dict)


def contract(name: str, columns: list[str], features: list[str], absence: str, more: str = "") -> str:
    kinds = {"amount": "integer", "score": "integer"}
    listed = "\n".join(
        f"      - {{name: {c}, logicalType: {kinds.get(c, 'string')}, classification: internal}}" for c in columns
    )
    text = dedent(CONTRACT).replace("NAME", name).replace("ABSENCE", absence).replace("      COLUMNS", listed)
    return text.replace("      FEATURES", "\n".join(f"      - {feature}" for feature in features)) + more


def make(seed: int) -> dict[str, list[Version]]:
    """Edges, fines and grades; a third of the records are corrected later, and a correction may change the far end."""
    source = random.Random(seed)

    def versions(kind: str, number: int, says: Any) -> list[Version]:
        event = datetime(2025, 6, 10) - timedelta(days=source.randint(0, 500))
        known = event + timedelta(days=source.randint(1, 40), seconds=source.randint(0, 86_399))
        return [
            Version(f"{kind}{number}", event, known + timedelta(days=19 * index), says())
            for index in range(source.choice([1, 1, 2, 3]))
        ]

    def edge() -> dict[str, Any]:
        seller = source.choice(ENTITIES[:-1])
        # Some edges lead nowhere, to the seller itself, or to a party that is no entity.
        buyer = source.choice([*ENTITIES[:-1], *OUTSIDE, LATE, LATE, seller, None])
        return {
            "code": seller,
            "buyer": buyer,
            "amount": source.randint(1, 100),
            "kind": source.choice(["goods", "work"]),
        }

    found: dict[str, list[Version]] = {"trades": [], "fines": [], "grades": []}
    for number in range(90):
        found["trades"] += versions("t", number, edge)
    event = AS_OF - timedelta(days=100)
    found["trades"] += [
        Version("moved", event, AS_OF - timedelta(days=days), {**edge(), "code": party, "buyer": ENTITIES[1]})
        for party, days in ((MOVED, 90), (ENTITIES[0], 50))
    ]
    for number in range(30):
        found["fines"] += versions(
            "f", number, lambda: {"code": source.choice(ENTITIES[:8]), "amount": source.randint(1, 50)}
        )
    found["fines"].append(
        Version("late", AS_OF - timedelta(days=30), AS_OF - timedelta(days=20), {"code": LATE, "amount": 7})
    )
    for number in range(25):
        found["grades"] += versions(
            "g",
            number,
            lambda: {
                "code": source.choice(ENTITIES[2:]),
                "grade": source.choice("ABCD"),
                "score": source.randint(1, 99),
            },
        )
    return found


def known_at(versions: list[Version], moment: datetime) -> list[Version]:
    """The latest version of each record that was published by ``moment``, in order of what happened."""
    latest: dict[str, Version] = {}
    for version in sorted(versions, key=lambda item: item.available_at):
        if version.available_at <= moment:
            latest[version.id] = version
    return sorted(latest.values(), key=lambda item: (item.event_time, item.available_at))


class Account:
    """The features by their definitions, of everybody at one moment."""

    def __init__(self, world: dict[str, list[Version]], moment: datetime) -> None:
        self.world, self.moment = world, moment
        self.known = {name: known_at(versions, moment) for name, versions in world.items()}
        self.entities = {v.values["code"] for versions in world.values() for v in versions if v.available_at <= moment}

    def ever_seen(self, party: str) -> bool:
        """Whether any version of an edge that was published by then names the party."""
        return any(
            v.available_at <= self.moment and party in {v.values["code"], v.values["buyer"]}
            for v in self.world["trades"]
        )

    def within(self, items: list[Version], months: int) -> list[Version]:
        return [item for item in items if item.event_time > months_before(self.moment, months)]

    def own(self, source: str, party: str) -> list[Version]:
        return [item for item in self.known[source] if item.values["code"] == party]

    def edges(self, party: str, direction: str) -> list[tuple[str, Version]]:
        found = []
        for item in self.known["trades"]:
            seller, buyer = item.values["code"], item.values["buyer"]
            if buyer is None or buyer == seller:
                continue
            if seller == party and direction in {"out", "both"}:
                found.append((buyer, item))
            if buyer == party and direction in {"in", "both"}:
                found.append((seller, item))
        return found

    def fines(self, party: str) -> dict[str, float | None]:
        """No fine of an entity is knowledge; of an outside party nothing is known."""
        if party not in self.entities:
            return {"count": None, "sum": None, "average": None}
        records = self.own("fines", party)
        count, total = len(self.within(records, 12)), sum(item.values["amount"] for item in records)
        return {"count": count, "sum": total, "average": total / count if count else None}

    def grade(self, party: str) -> tuple[str | None, int | None]:
        records = self.own("grades", party)
        return (records[-1].values["grade"], records[-1].values["score"]) if records else (None, None)

    def sold(self, party: str, days: int = 90) -> float | None:
        items = [i for i in self.own("trades", party) if i.event_time > self.moment - timedelta(days=days)]
        return sum(item.values["amount"] for item in items) if items else None

    def expected(self, party: str) -> dict[str, float | None] | None:
        out, into, both = (self.edges(party, direction) for direction in ("out", "in", "both"))
        if not self.own("trades", party) and not both:
            return None

        def neighbours(
            edges: list[tuple[str, Version]], months: int | None = None, kind: str | None = None
        ) -> set[str]:
            chosen = {id(item) for item in self.within([e for _, e in edges], months)} if months else None
            return {
                other
                for other, item in edges
                if (chosen is None or id(item) in chosen) and (kind is None or item.values["kind"] == kind)
            }

        def mean(values: list[Any]) -> float | None:
            there = [float(value) for value in values if value is not None]
            return statistics.fmean(there) if there else None

        near_out, near_in, near = neighbours(out), neighbours(into), neighbours(both)
        fined = [self.fines(other)["count"] for other in neighbours(into, kind="goods")]
        sums = [s for other in neighbours(out, 12) if (s := self.fines(other)["sum"]) is not None]
        grades = [self.grade(other)[0] for other in near]
        in_sum = sum(item.values["amount"] for _, item in into)
        scores_out = [s for other in near_out if (s := self.grade(other)[1]) is not None]
        scores = [s for other in near if (s := self.grade(other)[1]) is not None]
        return {
            "degree_all": len(near),
            "out_degree_6m": len(neighbours(out, 6)),
            "in_degree_large": len({other for other, item in into if item.values["amount"] >= 50}),
            "own_sum_90d": self.sold(party),
            "in_sum": in_sum,
            "out_goods_share": mean([item.values["kind"] == "goods" for _, item in out]),
            "per_neighbour": in_sum / len(near) if near else None,
            "fines_mean": mean([self.fines(other)["count"] for other in near]),
            "fines_sum_out": math.fsum(sums) if sums else None,
            "fined_share_in": mean([None if count is None else count > 1 for count in fined]),
            "grade_share": mean([None if grade is None else grade in "CD" for grade in grades]),
            "score_min": min(scores_out) if scores_out else None,
            "score_max": max(scores) if scores else None,
            "average_fine": mean([self.fines(other)["average"] for other in near_in]),
            "sold_by_neighbours": mean([self.sold(other) for other in near_in]),
        }


def write(directory: Path, world: dict[str, list[Version]], settings: Settings) -> Workspace:
    """The workspace's files, and its landing."""
    texts = {
        "trades": contract(
            "trades",
            ["code", "buyer", "amount", "kind"],
            TRADES,
            "no_data",
            "  - {property: edges, value: {from: code, to: buyer}}\n",
        ),
        "fines": contract("fines", ["code", "amount"], FINES, "no_events"),
        "grades": contract("grades", ["code", "grade", "score"], GRADES, "no_data"),
    }
    for name, text in texts.items():
        folder = directory / "sources" / name
        folder.mkdir(parents=True)
        (folder / "contract.yaml").write_text(text, encoding="utf-8")
    (directory / "workspace.yaml").write_text(dedent(WORKSPACE), encoding="utf-8")
    rows = " union all ".join(
        f"select '{entity}' as code, cast('{moment}' as timestamp) as decision_time, 0 as label"
        for entity in (*ENTITIES, MOVED)
        for moment in MOMENTS[1:]
    )
    (directory / "models" / "marts").mkdir(parents=True)
    (directory / "models" / "marts" / "outcomes.sql").write_text(rows, encoding="utf-8")
    workspace = Workspace.load(directory, settings)
    for name, versions in world.items():
        folder = workspace.paths.landing / name
        folder.mkdir(parents=True)
        columns = {key: pa.array([v.values[key] for v in versions]) for key in versions[0].values}
        columns |= {
            "id": pa.array([v.id for v in versions]),
            "event_time": pa.array([v.event_time for v in versions], pa.timestamp("us")),
            "available_at": pa.array([v.available_at for v in versions], pa.timestamp("us")),
            "_record_hash": pa.array([str(index) for index in range(len(versions))]),
        }
        pq.write_table(pa.table(columns), folder / "all.parquet")
    return workspace


@pytest.fixture(scope="module")
def world() -> dict[str, list[Version]]:
    return make(301)


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory, world: dict[str, list[Version]]
) -> dict[tuple[str, datetime], dict[str, float | None]]:
    """What the warehouse has, by entity and moment."""
    directory = tmp_path_factory.mktemp("edges")
    workspace = write(directory / "graph", world, Settings(home=directory / "home"))
    build(workspace, AS_OF, docs=False)
    cursor = duckdb.execute("select * from read_parquet($1)", [str(workspace.paths.mart("feature_trades"))])
    names = [column[0] for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {(row.pop("code"), row.pop("event_timestamp")): row for row in rows}


def test_every_feature_over_edges_equals_its_definition_at_every_decision(
    world: dict[str, list[Version]], found: dict[tuple[str, datetime], dict[str, float | None]]
) -> None:
    compared, known, left = 0, 0, 0
    for moment in MOMENTS:
        account = Account(world, moment)
        for entity in (*ENTITIES, MOVED):
            wanted, got = account.expected(entity), found.get((entity, moment))
            if wanted is None:
                # Whose every edge and record turned out to be of others has a row that says: no data.
                seen = account.ever_seen(entity)
                left += seen
                assert got == (dict.fromkeys(got or (), None) | {"created_timestamp": moment} if seen else None)
                continue
            for name, value in (wanted or {}).items():
                compared += 1
                known += value is not None
                assert got is not None
                assert got[name] == (value if value is None else pytest.approx(value, rel=1e-9)), (entity, moment, name)
    assert compared > 500
    assert known > 400
    assert left > 0


def test_a_neighbours_record_that_was_published_later_is_not_seen(
    world: dict[str, list[Version]], found: dict[tuple[str, datetime], dict[str, float | None]]
) -> None:
    """The account with hindsight differs: the comparison above would notice a look into the future."""
    hindsight = Account(world, AS_OF)
    early = [(entity, MOMENTS[-1]) for entity in ENTITIES if (entity, MOMENTS[-1]) in found]
    differing = [
        key for key in early if (hindsight.expected(key[0]) or {}).get("fines_mean") != found[key]["fines_mean"]
    ]
    assert len(differing) > 3


def test_an_outside_party_has_no_row_and_an_entity_without_an_edge_neither(
    found: dict[tuple[str, datetime], dict[str, float | None]],
) -> None:
    parties = {party for party, _ in found}
    assert not parties & {*OUTSIDE, ENTITIES[-1]}
