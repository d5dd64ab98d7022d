"""A small made-up workspace with three sources, and labelled rows whose risk is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from credit301.contracts.model import Contract, Feature, Freshness, Pull, SubModel, Text, TimeColumns
from credit301.settings import Settings
from credit301.workspace import Definition, Split, Workspace
from tests.support import strategies
from tests.unit.strategy.graphs import chain, table
from training.dataset import TrainingSet
from training.gate_rules import RULES

SPLITS: dict[str, dict[str, Any]] = {
    "time": {"kind": "time", "test_share": 0.3, "folds": 3, "seed": 7},
    "kfold": {"kind": "kfold", "folds": 3, "repeats": 2, "seed": 7},
    "column": {"kind": "column", "column": "side", "folds": 3, "seed": 7},
}
GATE = """\
minimum_auc: 0.65
minimum_ks: 0.15
maximum_auc: 0.99
maximum_auc_loss: 0.02
maximum_brier_ratio: 1.0
maximum_calibration_error: 0.15
maximum_latency_ms_p99: 60000
parity_rows: 20
forbidden_features: [gender, ethnicity]
"""
STRATEGY: dict[str, Any] = {
    "name": "credit",
    "definition": {
        "version": "1",
        "title": {"zh": "贷款", "en": "loan"},
        "product": {
            "name": {"zh": "贷款", "en": "loan"},
            "minimum_amount": 1000,
            "maximum_amount": 100000,
            "maximum_term_months": 12,
        },
        "cut_off": 0.3,
        "bands": ["A"],
        "policy": "policy.json",
    },
    "graphs": {
        "policy": chain(
            table(
                "price",
                ["score.probability"],
                ["band", "bounds.band_maximum", "annual_rate"],
                [([""], ["'A'", "50000", "0.02 + score.probability * 0.5 + 0.01"])],
            )
        )
    },
}


def text(name: str) -> Text:
    return Text(zh=name, en=name)


def contract(name: str, dimension: str, features: list[dict[str, Any]]) -> Contract:
    return Contract(
        name=name,
        version="1.0.0",
        status="active",
        dimension=dimension,
        owner="test",
        title=text(name),
        purpose="test",
        limitations="none",
        legal_basis="none",
        grain="entity",
        path=Path(name),
        columns=(),
        checks=(),
        time=TimeColumns(),
        pull=Pull(connector="file_drop"),
        freshness=Freshness(),
        features=tuple(Feature(label=text(f["name"]), aggregation="last", column=f["name"], **f) for f in features),
        submodel=SubModel(label=text(name)),
    )


def contracts() -> dict[str, Contract]:
    """Three sources in two dimensions; ``tax`` has a constraint, ``registry`` a category."""
    number = [{"name": "sales", "risk": "decreasing"}, {"name": "late", "risk": "increasing"}]
    registry = [{"name": "age"}, {"name": "sector", "kind": "category"}]
    court = [{"name": "cases", "risk": "increasing"}, {"name": "amount"}]
    return {
        "tax": contract("tax", "fiscal", number),
        "registry": contract("registry", "fiscal", registry),
        "court": contract("court", "risk", court),
    }


def workspace(
    directory: Path, split: str = "time", gate: str = GATE, name: str = "made_up", **settings: Any
) -> Workspace:
    """The workspace, with its gate's rules and strategy written below ``directory``."""
    rules = directory / "made_up" / RULES
    rules.parent.mkdir(parents=True, exist_ok=True)
    rules.write_text(gate, encoding="utf-8")
    strategies.write(rules.parent, STRATEGY)
    definition = Definition.model_validate(
        {
            "name": name,
            "title": {"zh": "虚构", "en": "made up"},
            "entity": {"key": "uscc", "label": {"zh": "企业", "en": "enterprise"}, "format": "text"},
            "dimensions": {"fiscal": {"zh": "财政", "en": "fiscal"}, "risk": {"zh": "风险", "en": "risk"}},
            "labels": {"model": "labels"},
            "split": SPLITS[split],
        }
    )
    found = Settings(home=directory / "var", threads=1, _env_file=None, **settings)
    return Workspace(directory / "made_up", definition, contracts(), found)


def split_of(workspace: Workspace) -> Split:
    """The split, which every made-up workspace has."""
    assert workspace.definition.split is not None
    return workspace.definition.split


def rows(
    count: int = 600, seed: int = 3, *, missing: float = 0.25, signal: float = 1.0, entities: int | None = None
) -> TrainingSet:
    """``count`` labelled rows; each source misses on a share ``missing`` of them, ``signal`` scales what it tells."""
    random = np.random.default_rng(seed)
    sales, late, cases = random.normal(size=(3, count))
    sector = random.choice(["A", "B", "C"], size=count)
    z = -1.2 + signal * (-1.2 * sales + 0.9 * late + 1.1 * cases + 0.8 * (sector == "B"))
    frame = pd.DataFrame(
        {
            "uscc": [f"E{number:05d}" for number in random.integers(0, entities or count * 4, count)],
            "decision_time": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(random.integers(0, 700, count)), "D"),
            "label": (random.random(count) < 1 / (1 + np.exp(-z))).astype(int),
            "tax__sales": np.exp(10 + sales),
            "tax__late": late,
            "registry__age": random.normal(size=count),
            "registry__sector": sector,
            "court__cases": cases,
            "court__amount": random.normal(size=count),
        }
    ).drop_duplicates(["uscc", "decision_time"])
    frame["side"] = np.where(frame["uscc"].str[-1] < "3", "test", "train")
    for index, source in enumerate(contracts()):
        gone = random.random(len(frame)) < missing
        # Every third row keeps this source, so that no row is without any.
        gone &= np.arange(len(frame)) % 3 != index
        columns = [str(name) for name in frame if str(name).startswith(f"{source}__")]
        frame[columns] = frame[columns].mask(pd.Series(gone, index=frame.index))
    return TrainingSet(frame, "uscc")
