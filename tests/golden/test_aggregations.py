"""Every declared aggregation, as the warehouse computes it, against a plain Python account of what was known when.

Random records with corrections are landed, one real dbt build computes the features at every decision and now, and
each value is computed again here, record by record, from the definition in the contract model's docstring.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit301.settings import Settings
from credit301.warehouse.build import build
from tests.conftest import TinyWorkspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from credit301.workspace import Workspace

AS_OF = datetime(2025, 6, 15, 12)
ENTITIES = [f"E{number:02d}" for number in range(12)]
FEATURES = """
          - {name: count_all, label: {zh: 计数, en: count}, aggregation: count}
          - {name: count_goods_6m, label: {zh: 计数, en: count}, aggregation: count, window_months: 6, where: {kind: goods}}
          - {name: count_large, label: {zh: 计数, en: count}, aggregation: count, where: {amount: {gte: 50, lt: 90}}}
          - {name: sum_12m, label: {zh: 和, en: sum}, aggregation: sum, column: amount, window_months: 12}
          - {name: mean_12m, label: {zh: 均, en: mean}, aggregation: mean, column: amount, window_months: 12}
          - {name: min_all, label: {zh: 小, en: min}, aggregation: min, column: amount}
          - {name: max_all, label: {zh: 大, en: max}, aggregation: max, column: amount}
          - {name: std_12m, label: {zh: 差, en: std}, aggregation: std, column: amount, window_months: 12}
          - {name: last_amount, label: {zh: 末, en: last}, aggregation: last, column: amount}
          - {name: last_kind, label: {zh: 末, en: last}, aggregation: last, column: kind, kind: category, prefix: 4}
          - {name: distinct_kind, label: {zh: 种, en: kinds}, aggregation: distinct, column: kind, window_months: 12}
          - {name: active_months, label: {zh: 月, en: months}, aggregation: active_months}
          - {name: goods_months_6m, label: {zh: 月, en: months}, aggregation: active_months, window_months: 6, where: {kind: goods}}
          - {name: largest_kind, label: {zh: 集, en: largest}, aggregation: concentration, column: kind, weight: amount}
          - {name: largest_prefix_12m, label: {zh: 集, en: largest}, aggregation: concentration, column: kind, prefix: 1, window_months: 12, where: {amount: {lt: 90}}}
          - {name: trend_12m, label: {zh: 势, en: trend}, aggregation: trend, column: amount, window_months: 12}
          - {name: goods_share, label: {zh: 占, en: share}, aggregation: share, column: amount, where: {kind: [goods]}}
          - {name: services_count_share, label: {zh: 占, en: share}, aggregation: share, window_months: 12, where: {kind: services}}
          - {name: recency, label: {zh: 距, en: recency}, aggregation: recency_days}
          - {name: age, label: {zh: 龄, en: age}, aggregation: age_days, column: opened_on}
          - {name: ratio, label: {zh: 比, en: ratio}, aggregation: ratio, of: [sum_12m, count_goods_6m]}
          - {name: difference, label: {zh: 差, en: difference}, aggregation: difference, of: [max_all, min_all]}
"""


@dataclass(frozen=True)
class Version:
    """One version of a record, as it landed."""

    entity: str
    month: str
    amount: Decimal | None
    kind: str
    opened_on: date
    event_time: datetime
    available_at: datetime


def make_versions(seed: int) -> list[Version]:
    """Monthly records, a third of them corrected later, some with no amount."""
    source = random.Random(seed)
    versions = []
    for entity in ENTITIES[:-1]:
        for index in range(source.randint(1, 24)):
            event = datetime(2025, 6, 1) - timedelta(days=30 * index + source.randint(0, 9))
            known = event + timedelta(days=source.randint(1, 40), seconds=source.randint(0, 86_399))
            for version in range(source.choice([1, 1, 2, 3])):
                amount = None if source.random() < 0.1 else Decimal(source.randint(-2_000, 12_000)) / 100
                opened = date(2020, 1, 1) + timedelta(days=source.randint(0, 1_500))
                kind = source.choice(["goods", "services"])
                versions.append(
                    Version(entity, f"m{index}", amount, kind, opened, event, known + timedelta(days=17 * version))
                )
    return versions


def months_before(moment: datetime, months: int) -> datetime:
    """The same day and time ``months`` earlier, or that month's last day where it is shorter."""
    total = moment.year * 12 + moment.month - 1 - months
    year, month = divmod(total, 12)
    for day in range(moment.day, 27, -1):
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return moment.replace(year=year, month=month + 1)


def known_at(versions: list[Version], entity: str, moment: datetime) -> list[Version]:
    """The latest version of each record that was published by ``moment``, in order of what happened."""
    latest: dict[str, Version] = {}
    for version in sorted(versions, key=lambda item: item.available_at):
        if version.entity == entity and version.available_at <= moment:
            latest[version.month] = version
    return sorted(latest.values(), key=lambda item: (item.event_time, item.available_at))


def slope(points: list[tuple[float, float]]) -> float | None:
    """Least-squares slope, ``None`` where it is not determined."""
    if len({x for x, _ in points}) < 2:
        return None
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def expected(versions: list[Version], entity: str, moment: datetime) -> dict[str, float | str | None] | None:
    """The features by their definitions; ``None`` where nothing was known."""
    known = known_at(versions, entity, moment)
    if not known:
        return None

    def within(months: int) -> list[Version]:
        return [item for item in known if item.event_time > months_before(moment, months)]

    def amounts(items: list[Version]) -> list[float]:
        return [float(item.amount) for item in items if item.amount is not None]

    def largest(
        items: list[Version], weights: Callable[[Version], Decimal | None], letters: int | None
    ) -> float | None:
        sums: dict[str, Decimal] = {}
        for item in items:
            sums[item.kind[:letters]] = sums.get(item.kind[:letters], Decimal(0)) + (weights(item) or 0)
        positive = [value for value in sums.values() if value > 0]
        return float(max(positive) / sum(positive)) if positive else None

    def of(items: list[float], function: Callable[[list[float]], float], least: int = 1) -> float | None:
        return function(items) if len(items) >= least else None

    year = within(12)
    half_goods = [item for item in within(6) if item.kind == "goods"]
    sums, sizes = of(amounts(year), math.fsum), amounts(year)
    points = [
        ((item.event_time.date() - date(1970, 1, 1)).days / 30.4375, float(item.amount))
        for item in year
        if item.amount is not None
    ]
    size = statistics.fmean(abs(value) for value in sizes) if sizes else 0
    line = slope(points)
    goods = of(amounts([item for item in known if item.kind == "goods"]), math.fsum)
    total = of(amounts(known), math.fsum)
    last_amount = next((float(item.amount) for item in reversed(known) if item.amount is not None), None)
    low, high = of(amounts(known), min), of(amounts(known), max)
    return {
        "count_all": len(known),
        "count_goods_6m": len(half_goods),
        "count_large": sum(50 <= value < 90 for value in amounts(known)),
        "sum_12m": sums,
        "mean_12m": of(sizes, statistics.fmean),
        "min_all": low,
        "max_all": high,
        "std_12m": of(sizes, statistics.stdev, 2),
        "last_amount": last_amount,
        "last_kind": known[-1].kind[:4],
        "distinct_kind": len({item.kind for item in year}),
        "active_months": len({(item.event_time.year, item.event_time.month) for item in known}),
        "goods_months_6m": len({(item.event_time.year, item.event_time.month) for item in half_goods}),
        "largest_kind": largest(known, lambda item: item.amount, None),
        "largest_prefix_12m": largest(
            [item for item in year if item.amount is not None and item.amount < 90], lambda _: Decimal(1), 1
        ),
        "trend_12m": line / size if line is not None and size else None,
        "goods_share": goods / total if goods is not None and total else None,
        "services_count_share": sum(item.kind == "services" for item in year) / len(year) if year else None,
        "recency": (moment.date() - known[-1].event_time.date()).days,
        "age": (moment.date() - known[-1].opened_on).days,
        "ratio": sums / len(half_goods) if sums is not None and half_goods else None,
        "difference": high - low if high is not None and low is not None else None,
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[Version]]:
    """A tiny workspace with random records, built once."""
    directory = tmp_path_factory.mktemp("golden")
    tiny = TinyWorkspace(directory / "tiny", Settings(home=directory / "home"))
    tiny.replace("logicalTypeOptions: {format: uscc}, ", "")
    tiny.replace('logicalTypeOptions: {pattern: "^[0-9]{4}-[0-9]{2}$"}, ', "")
    opened = "- {name: opened_on, logicalType: date, classification: internal}"
    tiny.replace("- {name: event_time,", f"{opened}\n      - {{name: event_time,")
    tiny.contract = tiny.contract[: tiny.contract.index("      - {name: amount_sum")]
    tiny.contract += "\n".join(line[4:] for line in FEATURES.strip("\n").splitlines()) + "\n"
    workspace = tiny.load()
    models = workspace.directory / "models" / "marts"
    models.mkdir(parents=True)
    decisions = [(entity, AS_OF - timedelta(days=days)) for entity in ENTITIES for days in (45, 200, 400)]
    rows = " union all ".join(
        f"select '{entity}' as uscc, cast('{moment}' as timestamp) as decision_time, 0 as label"
        for entity, moment in decisions
    )
    (models / "outcomes.sql").write_text(rows, encoding="utf-8")
    versions = make_versions(301)
    landing = workspace.paths.landing / "sales"
    landing.mkdir(parents=True)
    columns = {
        "uscc": pa.array([item.entity for item in versions]),
        "month": pa.array([item.month for item in versions]),
        "amount": pa.array([item.amount for item in versions], pa.decimal128(18, 2)),
        "kind": pa.array([item.kind for item in versions]),
        "opened_on": pa.array([item.opened_on for item in versions], pa.date32()),
        "event_time": pa.array([item.event_time for item in versions], pa.timestamp("us")),
        "available_at": pa.array([item.available_at for item in versions], pa.timestamp("us")),
        "_record_hash": pa.array([str(index) for index in range(len(versions))]),
    }
    pq.write_table(pa.table(columns), landing / "all.parquet")
    build(workspace, AS_OF, docs=False)
    return workspace, versions


def test_every_aggregation_equals_its_definition_at_every_decision(built: tuple[Workspace, list[Version]]) -> None:
    workspace, versions = built
    cursor = duckdb.execute("select * from read_parquet($1)", [str(workspace.paths.marts / "feature_sales.parquet")])
    names = [column[0] for column in cursor.description or ()]
    found = {}
    for row in cursor.fetchall():
        values = dict(zip(names, row, strict=True))
        found[values.pop("uscc"), values.pop("event_timestamp")] = values
    moments = [AS_OF, *(AS_OF - timedelta(days=days) for days in (45, 200, 400))]
    compared = 0
    for entity in ENTITIES:
        for moment in moments:
            wanted = expected(versions, entity, moment)
            got = found.get((entity, moment))
            assert (wanted is None) == (got is None), (entity, moment)
            if wanted is None or got is None:
                continue
            for name, value in wanted.items():
                compared += 1
                if isinstance(value, float):
                    assert got[name] == pytest.approx(value, rel=1e-9, abs=1e-9), (entity, moment, name)
                else:
                    assert got[name] == value, (entity, moment, name)
    assert compared > 500


def test_an_entity_that_no_record_names_has_no_row(built: tuple[Workspace, list[Version]]) -> None:
    workspace, _ = built
    path = str(workspace.paths.marts / "feature_sales.parquet")
    row = duckdb.execute("select count(*) from read_parquet($1) where uscc = $2", [path, ENTITIES[-1]]).fetchone()
    assert row == (0,)
