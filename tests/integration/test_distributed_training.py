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

from credit301 import verbs
from credit301.errors import ConfigError, ModelError
from credit301.model.booster import Booster
from tests.unit.training import synthetic
from training import distributed
from training.dataset import Categories
from training.specs import Input, ModelSpec
from training.train import train

if TYPE_CHECKING:
    from distributed import Client

ROWS, GROUP, TREES, WORKERS = 12_000, 2_000, 60, 2
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
    with distributed.cluster(workers=WORKERS, memory="1GiB") as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "train.parquet"
    rows(1).rename(columns=NAMED).to_parquet(path, row_group_size=GROUP)
    return path


def fit(client: Client, file: Path, places: np.ndarray | None = None, spec: ModelSpec = SPEC) -> str:
    pieces = distributed.parts(file, places, WORKERS)
    return distributed.fit(client, pieces, spec, CATEGORIES, "label", PARAMETERS, TREES, seed=1)


def test_it_ranks_as_well_as_one_process(client: Client, file: Path) -> None:
    text = fit(client, file)
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
    assert "127.0.0.1" not in text


def test_more_debt_is_never_better(client: Client, file: Path) -> None:
    booster = Booster(fit(client, file), len(SPEC.inputs))
    debts = np.linspace(0, 5, 200)
    said = booster.raw_batch(np.column_stack([np.zeros(200), debts, np.ones(200)]))
    assert (np.diff(said) >= 0).all()


def test_only_the_rows_that_are_asked_for_are_learnt_from(client: Client, file: Path) -> None:
    """The rows of one label in the rest would drag the mean down."""
    known = rows(1)["label"].to_numpy()
    paid = np.flatnonzero(known == 0)
    places = np.sort(np.concatenate([np.flatnonzero(known == 1), paid[::7]]))
    said = Booster(fit(client, file, places), len(SPEC.inputs)).raw_batch(matrix(rows(1).iloc[places]))
    assert (1 / (1 + np.exp(-said))).mean() == pytest.approx(known[places].mean(), abs=0.02)


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_parts_are_the_rows_of_a_file_once_each_and_enough_for_every_worker(file: Path, share: float) -> None:
    places = np.flatnonzero(np.random.default_rng(1).random(ROWS) < share)
    pieces = distributed.parts(file, places, WORKERS)
    assert len(pieces) >= 2 * WORKERS
    loaded = [distributed._load(piece, SPEC, CATEGORIES, "label") for piece in pieces]
    assert [len(labels) for _, labels in loaded] == [piece.rows for piece in pieces]
    np.testing.assert_array_equal(np.vstack([x for x, _ in loaded]), matrix(rows(1).iloc[places]))


def test_a_worker_with_nothing_to_do_is_told_before_it_waits(client: Client, file: Path) -> None:
    with pytest.raises(ModelError, match="1 rows for 2 workers"):
        fit(client, file, np.array([3]))


def test_a_missing_column_is_named(client: Client, file: Path) -> None:
    with pytest.raises(ModelError, match=r"train\.parquet has no column trade__age"):
        fit(client, file, spec=ModelSpec("trade", "tax", (Input("trade", "age", False, 0),)))


def test_a_file_that_workers_cannot_read_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 Dask workers cannot read gone"):
        distributed.check(client, tmp_path / "gone.parquet")


def test_training_on_a_cluster_ranks_as_training_here_does(client: Client, tmp_path: Path) -> None:
    """The whole verb: every booster is grown by the workers, on the rows of the file."""
    workspace = synthetic.workspace(tmp_path)
    data = synthetic.rows(2_000)
    path = workspace.paths.training_set
    path.parent.mkdir(parents=True)
    data.frame.to_parquet(path, index=False, row_group_size=500)
    here = auc(train(workspace, data, register=False))
    there = auc(verbs.call("train", workspace, register=False, cluster=str(client.scheduler_info()["address"])))
    assert there.keys() == here.keys()
    assert there["ensemble"] == pytest.approx(here["ensemble"], abs=AS_GOOD)
    assert there["one_lightgbm"] == pytest.approx(here["one_lightgbm"], abs=AS_GOOD)
    assert there["tax"] != here["tax"], "the same to the digit: it was grown here"


def auc(results: dict[str, Any]) -> dict[str, float]:
    assert not results["skipped"]
    return {model["name"]: model["auc"] for model in results["models"]}


def test_a_scheduler_that_is_not_there_is_said() -> None:
    with (
        pytest.raises(ConfigError, match="No Dask scheduler answers"),
        distributed.cluster("tcp://127.0.0.1:9", patience=1),
    ):
        pass
