"""A bank of its own in a directory outside the repository: contracts and files, no Python and no SQL.

Attributes, events, a monthly series, edges, categories and a given split, as CSV and Parquet. What each of them tells
about the outcome is planted, so that the table of models can be held to it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import REPOSITORY

ENTITIES = 700
LABELLED = 600
DECIDED = pd.Timestamp("2025-03-01")

WORKSPACE = """\
name: toy
title: {zh: 玩具银行, en: Toy bank}
entity: {key: code, label: {zh: 企业, en: enterprise}, format: text, pattern: "^C[0-9]+$"}
dimensions:
  registry: {zh: 登记, en: registry}
  business: {zh: 经营, en: business}
  risk: {zh: 风险, en: risk}
labels: {source: outcomes, column: outcome, positive: bad, decision_time: decided_on}
split: {kind: column, column: side, folds: 3, seed: 7}
"""
CODE = "code, logicalType: string, primaryKey: true"
SOURCES: dict[str, dict[str, Any]] = {
    "outcomes": {
        "dimension": "risk",
        "path": "outcomes.csv",
        "columns": [CODE, "decided_on, logicalType: date", "outcome", "side"],
    },
    "profile": {
        "dimension": "registry",
        "path": "profile.csv",
        "columns": [CODE, "sector", "staff, logicalType: integer", "city"],
        "features": [
            "name: sector, aggregation: last, column: sector, kind: category",
            "name: staff, aggregation: last, column: staff",
            "name: city, aggregation: last, column: city, kind: category",
        ],
    },
    "sales": {
        "dimension": "business",
        "path": "sales.csv",
        "time": "{eventTime: month, lagDays: 15}",
        "columns": [CODE, "month, logicalType: date, primaryKey: true", "amount, logicalType: number"],
        "features": [
            "name: growth, aggregation: trend, column: amount, window_months: 12, risk: decreasing",
            "name: mean_6m, aggregation: mean, column: amount, window_months: 6",
        ],
    },
    "complaints": {
        "dimension": "risk",
        "path": "complaints.parquet",
        "time": "{eventTime: filed_on}",
        "absence": "no_events",
        "columns": [
            "id, logicalType: string, primaryKey: true",
            "code",
            "filed_on, logicalType: date",
            "grave, logicalType: boolean",
        ],
        "features": [
            "name: count_12m, aggregation: count, window_months: 12",
            "name: grave_90d, aggregation: count, window_days: 90, where: {grave: true}",
            "name: last_days, aggregation: recency_days",
        ],
    },
    "trades": {
        "dimension": "business",
        "path": "trades.parquet",
        "time": "{eventTime: traded_on}",
        "columns": ["id, logicalType: string, primaryKey: true", "code", "customer", "traded_on, logicalType: date"],
        "edges": "{from: code, to: customer}",
        "features": [
            "name: customers, aggregation: degree, direction: out",
            "name: suppliers, aggregation: degree, direction: in, window_months: 12",
            "name: customers_complaints, aggregation: neighbour_mean, direction: out, neighbour: {source: complaints, feature: count_12m}",
        ],
    },
    "abroad": {
        "dimension": "registry",
        "path": "abroad.csv",
        "columns": [CODE, "branches, logicalType: integer", "country"],
        "features": [
            "name: branches, aggregation: last, column: branches",
            "name: country, aggregation: last, column: country, kind: category",
        ],
    },
    "seats": {
        "dimension": "registry",
        "path": "seats.csv",
        "columns": [CODE, "seats, logicalType: integer"],
        "features": ["name: seats, aggregation: last, column: seats"],
    },
}


def contract(name: str, source: dict[str, Any]) -> str:
    """A whole contract, as a person would write it."""
    columns = "\n".join(
        f"      - {{name: {column}{'' if 'logicalType' in column else ', logicalType: string'}, classification: internal}}"
        for column in source["columns"]
    )
    lines = [
        "apiVersion: v3.1.0",
        "kind: DataContract",
        f"id: urn:toy:{name}",
        f"name: {name}",
        "version: 1.0.0",
        "status: draft",
        f"domain: {source['dimension']}",
        "schema:",
        f"  - name: {name}",
        "    properties:",
        columns,
        "customProperties:",
        f"  - {{property: pull, value: {{connector: file_drop, options: {{path: {source['path']}}}}}}}",
    ]
    lines += [f"  - {{property: {key}, value: {source[key]}}}" for key in ("time", "edges") if key in source]
    if "features" in source:
        absence = source.get("absence", "no_data")
        lines.append(f"  - {{property: subModel, value: {{label: {{zh: {name}, en: {name}}}, absence: {absence}}}}}")
        lines += ["  - property: features", "    value:"]
        lines += [f"      - {{{feature}, label: {{zh: 特征, en: feature}}}}" for feature in source["features"]]
    return "\n".join(lines) + "\n"


def write_data(folder: Path) -> pd.DataFrame:
    """The files. Risk comes from falling sales, the sector, and complaints against one's customers, nothing else."""
    folder.mkdir()
    random = np.random.default_rng(301)
    codes = np.array([f"C{number:04d}" for number in range(ENTITIES)])
    growth = random.normal(size=ENTITIES)
    sector = random.choice(["shop", "farm", "mill", "mine"], size=ENTITIES)
    troubles = random.poisson(3.0, size=ENTITIES)
    customers = [random.choice(np.delete(np.arange(ENTITIES), one), size=3, replace=False) for one in range(ENTITIES)]
    near = np.array([troubles[chosen].mean() for chosen in customers])
    z = -0.7 - 1.6 * growth + 1.8 * (near - 3.0) + 1.5 * (sector == "mine") - 0.8 * (sector == "farm")
    bad = random.random(ENTITIES) < 1 / (1 + np.exp(-z))
    outcomes = pd.DataFrame(
        {
            "code": codes,
            "decided_on": DECIDED.date(),
            "outcome": np.where(bad, "bad", "good"),
            "side": np.where(random.random(ENTITIES) < 0.35, "test", "train"),
        }
    ).head(LABELLED)
    outcomes.to_csv(folder / "outcomes.csv", index=False)
    pd.DataFrame(
        {
            "code": codes,
            "sector": sector,
            "staff": random.integers(1, 90, ENTITIES),
            "city": random.choice([f"town {n}" for n in range(60)], size=ENTITIES),
        }
    ).to_csv(folder / "profile.csv", index=False, encoding="gb18030")
    months = pd.date_range("2024-01-01", periods=14, freq="MS")
    steps = np.arange(len(months))
    series = 1000 * np.exp(0.05 * growth[:, None] * steps + 0.05 * random.normal(size=(ENTITIES, len(months))))
    pd.DataFrame(
        {
            "code": np.repeat(codes, len(months)),
            "month": np.tile(months.date, ENTITIES),
            "amount": series.ravel().round(2),
        }
    ).to_csv(folder / "sales.csv", index=False)
    who = np.repeat(codes, troubles)
    filed = DECIDED - pd.to_timedelta(random.integers(1, 300, len(who)), "D")
    complaints = pd.DataFrame(
        {
            "id": [f"k{n}" for n in range(len(who))],
            "code": who,
            "filed_on": filed.date,
            "grave": random.random(len(who)) < 0.2,
        }
    )
    complaints.to_parquet(folder / "complaints.parquet", index=False)
    # A third of the trades is with parties that are no enterprise of the bank.
    edges = [(codes[one], codes[other]) for one, chosen in enumerate(customers) for other in chosen]
    edges += [(codes[one], f"foreign {random.integers(50)}") for one in range(ENTITIES) if random.random() < 0.9]
    dates = DECIDED - pd.to_timedelta(random.integers(1, 200, len(edges)), "D")
    pd.DataFrame(
        {
            "id": [f"t{n}" for n in range(len(edges))],
            "code": [seller for seller, _ in edges],
            "customer": [buyer for _, buyer in edges],
            "traded_on": dates.date,
        }
    ).to_parquet(folder / "trades.parquet", index=False)
    # Nobody with a label is abroad; everybody has as many seats.
    late = codes[LABELLED:]
    pd.DataFrame({"code": late, "branches": 2, "country": "X"}).to_csv(folder / "abroad.csv", index=False)
    pd.DataFrame({"code": codes, "seats": 5}).to_csv(folder / "seats.csv", index=False)
    return outcomes


def command(directory: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command line, as a person would call it from somewhere else."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CREDIT301_")}
    return subprocess.run(
        [str(Path(sys.executable).with_name("credit301")), "--workspace", str(directory), *arguments],
        env={
            **environment,
            "CREDIT301_HOME": str(home),
            "CREDIT301_DATA_DIR": str(directory / "data"),
            "COLUMNS": "160",
        },
        cwd=home,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The toy bank, run once: its directory, what was printed, the metrics and the outcomes."""
    root = tmp_path_factory.mktemp("toy")
    assert REPOSITORY not in root.parents
    directory, home = root / "bank", root / "home"
    home.mkdir()
    for name, source in SOURCES.items():
        folder = directory / "sources" / name
        folder.mkdir(parents=True)
        (folder / "contract.yaml").write_text(contract(name, source), encoding="utf-8")
    (directory / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
    outcomes = write_data(directory / "data")
    done = command(directory, home, "run", "--no-docs", "--metrics", str(root / "metrics.json"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    figures = json.loads((root / "metrics.json").read_text(encoding="utf-8"))
    return {"directory": directory, "home": home, "done": done, "figures": figures, "outcomes": outcomes}


def auc(toy: dict[str, Any], level: str, name: str) -> float:
    found = {(model["level"], model["name"]): model for model in toy["figures"]["models"]}
    return float(found[level, name]["auc"])


def test_there_is_no_code_in_the_workspace(toy: dict[str, Any]) -> None:
    suffixes = {path.suffix for path in toy["directory"].rglob("*") if path.is_file()}
    assert suffixes == {".yaml", ".csv", ".parquet"}


def test_every_source_dimension_the_ensemble_and_the_baselines_are_in_the_metrics(toy: dict[str, Any]) -> None:
    models = toy["figures"]["models"]
    assert [(model["level"], model["name"]) for model in models] == [
        ("source", "complaints"),
        ("source", "profile"),
        ("source", "sales"),
        ("source", "seats"),
        ("source", "trades"),
        ("dimension", "business"),
        ("dimension", "registry"),
        ("dimension", "risk"),
        ("ensemble", "ensemble"),
        ("baseline", "logistic"),
        ("baseline", "one_lightgbm"),
        ("baseline", "scorecard"),
    ]
    for model in models:
        assert set(model) == {"name", "level", "title", "auc", "auc_spread", "ks", "brier"}
        assert 0 <= model["auc"] <= 1
        assert 0 <= model["ks"] <= 1
        assert 0 < model["brier"] < 0.5


def test_the_table_is_printed_in_both_languages(toy: dict[str, Any]) -> None:
    printed = toy["done"].stdout
    for model in toy["figures"]["models"]:
        assert model["name"] in printed
    for word in ("数据源", "维度", "集成", "对照", "AUC", "KS", "Brier"):
        assert word in printed


def test_a_source_that_knows_is_told_from_one_that_does_not(toy: dict[str, Any]) -> None:
    assert auc(toy, "source", "sales") > 0.7
    assert auc(toy, "source", "profile") > 0.55
    assert abs(auc(toy, "source", "complaints") - 0.5) < 0.1
    assert auc(toy, "source", "seats") == pytest.approx(0.5)


def test_what_the_neighbours_know_is_carried_over_the_edges(toy: dict[str, Any]) -> None:
    assert auc(toy, "source", "trades") > 0.65
    assert auc(toy, "source", "trades") > auc(toy, "source", "complaints") + 0.15


def test_the_whole_is_better_than_its_parts(toy: dict[str, Any]) -> None:
    best = max(model["auc"] for model in toy["figures"]["models"] if model["level"] == "source")
    assert auc(toy, "dimension", "business") > best
    assert auc(toy, "ensemble", "ensemble") > best + 0.03


def test_the_given_split_is_honoured(toy: dict[str, Any]) -> None:
    outcomes, split = toy["outcomes"], toy["figures"]["split"]
    sides = outcomes["side"].value_counts()
    tested = outcomes[outcomes["side"] == "test"]
    assert (split["kind"], split["train_rows"], split["test_rows"]) == ("column", sides["train"], sides["test"])
    assert split["test_defaults"] == (tested["outcome"] == "bad").sum()
    assert toy["figures"]["rows"] == LABELLED


def test_a_source_without_a_labelled_entity_is_left_out_and_said_so(toy: dict[str, Any]) -> None:
    sources = {source["name"]: source for source in toy["figures"]["sources"]}
    assert sources["abroad"]["model"] == "too_few_outcomes"
    assert (sources["abroad"]["labelled_rows"], sources["abroad"]["landed"]) == (0, ENTITIES - LABELLED)
    assert sources["trades"]["model"] == "trained"
    assert "abroad has data on too few outcomes" in toy["done"].stderr
    assert "Traceback" not in toy["done"].stderr


def test_without_labels_features_are_made_and_nothing_is_trained(tmp_path: Path, toy: dict[str, Any]) -> None:
    """Attributes alone, which have no time: the warehouse is built as of today."""
    directory, metrics = tmp_path / "plain", tmp_path / "metrics.json"
    (directory / "sources" / "seats").mkdir(parents=True)
    (directory / "sources" / "seats" / "contract.yaml").write_text(
        contract("seats", SOURCES["seats"]), encoding="utf-8"
    )
    lines = [line for line in WORKSPACE.splitlines() if not line.startswith(("labels", "split"))]
    (directory / "workspace.yaml").write_text("\n".join(lines), encoding="utf-8")
    shutil.copytree(toy["directory"] / "data", directory / "data")
    done = command(directory, tmp_path, "run", "--no-docs", "--metrics", str(metrics))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing is trained" in done.stderr
    figures = json.loads(metrics.read_text(encoding="utf-8"))
    assert (figures["trained"], figures["models"], figures["split"]) == (False, [], None)
    assert [(source["name"], source["feature_rows"]) for source in figures["sources"]] == [("seats", ENTITIES)]
