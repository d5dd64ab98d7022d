"""Boosting on a cluster of two processes: as good as in one, and the same kind of model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from credit301.errors import ConfigError, ModelError
from credit301.model.booster import Booster
from training import distributed
from training.specs import Input, ModelSpec
from training.submodels import Categories

if TYPE_CHECKING:
    from distributed import Client

ROWS, GROUP, TREES = 12_000, 2_000, 60
AS_GOOD = 0.01
PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "num_leaves": 7,
    "learning_rate": 0.1,
    "min_data_in_leaf": 40,
    "num_threads": 1,
    "seed": 1,
    "verbosity": -1,
}
KINDS = ("a", "b", "c", "d")
SPEC = ModelSpec(
    "trade",
    "tax",
    (
        Input("trade", "turnover", category=False, monotone=-1),
        Input("trade", "debt", category=False, monotone=1),
        Input("trade", "kind", category=True, monotone=0),
    ),
)
NAMED = {item.name: item.column for item in SPEC.inputs}
CATEGORIES: Categories = {"trade__kind": KINDS}

pytestmark = pytest.mark.server


def rows(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "turnover": random.normal(size=ROWS),
            "debt": random.exponential(size=ROWS),
            "kind": random.choice(KINDS, ROWS),
        }
    )
    odds = frame["debt"] - frame["turnover"] + 2 * frame["kind"].isin(["b", "d"]) - 3
    frame["label"] = (random.random(ROWS) < 1 / (1 + np.exp(-odds))).astype(int)
    frame.loc[random.random(ROWS) < 0.1, "turnover"] = np.nan
    frame.loc[random.random(ROWS) < 0.1, "kind"] = None
    return frame


def matrix(frame: pd.DataFrame) -> np.ndarray:
    return np.column_stack([frame["turnover"], frame["debt"], frame["kind"].map({k: i for i, k in enumerate(KINDS)})])


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with distributed.cluster(workers=2, memory="1GiB") as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    path = tmp_path_factory.mktemp("rows") / "train.parquet"
    rows(1).rename(columns=NAMED).to_parquet(path, row_group_size=GROUP)
    return [path]


def test_it_ranks_as_well_as_one_process(client: Client, files: list[Path]) -> None:
    text = distributed.fit(client, files, SPEC, CATEGORIES, "label", PARAMETERS, TREES, seed=1)
    known, unknown = rows(1), rows(2)
    alone = lightgbm.train(
        {**PARAMETERS, "monotone_constraints": [-1, 1, 0]},
        lightgbm.Dataset(matrix(known), known["label"], categorical_feature=[2]),
        num_boost_round=TREES,
    )
    there = Booster(text, len(SPEC.inputs)).raw_batch(matrix(unknown))
    here = alone.predict(matrix(unknown), raw_score=True)
    labels = unknown["label"]
    assert roc_auc_score(labels, there) == pytest.approx(roc_auc_score(labels, here), abs=AS_GOOD)
    assert np.corrcoef(there, here)[0, 1] > 1 - AS_GOOD


def test_more_debt_is_never_better(client: Client, files: list[Path]) -> None:
    booster = Booster(
        distributed.fit(client, files, SPEC, CATEGORIES, "label", PARAMETERS, TREES, seed=1), len(SPEC.inputs)
    )
    debts = np.linspace(0, 5, 200)
    said = booster.raw_batch(np.column_stack([np.zeros(200), debts, np.ones(200)]))
    assert (np.diff(said) >= 0).all()


def test_a_worker_with_nothing_to_do_is_told_before_it_waits(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    rows(1).rename(columns=NAMED).to_parquet(path)
    with pytest.raises(ModelError, match="1 parts of data for 2 workers"):
        distributed.fit(client, [path], SPEC, CATEGORIES, "label", PARAMETERS, TREES, seed=1)


def test_a_missing_column_is_named(client: Client, files: list[Path]) -> None:
    with pytest.raises(ModelError, match=r"train\.parquet has no column trade__age"):
        distributed.fit(
            client,
            files,
            ModelSpec("trade", "tax", (Input("trade", "age", False, 0),)),
            {},
            "label",
            PARAMETERS,
            TREES,
            seed=1,
        )


def test_a_scheduler_that_is_not_there_is_said() -> None:
    with (
        pytest.raises(ConfigError, match="No Dask scheduler answers"),
        distributed.cluster("tcp://127.0.0.1:9", patience=1),
    ):
        pass
