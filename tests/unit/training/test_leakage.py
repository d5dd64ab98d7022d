"""A column that knows too much is found, named, and stops the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from credit301.contracts.model import Aggregation
from credit301.errors import ModelError
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import leakage
from training.dataset import TrainingSet
from training.specs import source_specs
from training.train import train


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return synthetic.workspace(tmp_path_factory.mktemp("leakage"))


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return synthetic.rows(800, signal=0.5)


def with_column(data: TrainingSet, **columns: Any) -> TrainingSet:
    return TrainingSet(data.frame.assign(**columns), "uscc")


def named(data: TrainingSet, workspace: Workspace) -> list[str]:
    return [leak.column for leak in leakage.leaks(data, source_specs(workspace))]


@pytest.mark.parametrize("count", [150, 800])
def test_honest_columns_are_let_pass(workspace: Workspace, count: int) -> None:
    assert named(synthetic.rows(count, signal=0.7), workspace) == []


def test_a_copy_of_the_label_with_noise_is_named(workspace: Workspace, data: TrainingSet) -> None:
    noise = np.random.default_rng(1).normal(size=len(data))
    for deviation in (0.05, 0.5):
        leaking = with_column(data, court__amount=data.labels + deviation * noise)
        assert named(leaking, workspace) == ["court__amount"]


def test_a_copy_that_is_known_of_few_is_named(workspace: Workspace, data: TrainingSet) -> None:
    copied = np.where(np.arange(len(data)) % 5 == 0, data.labels + 0.0, np.nan)
    assert named(with_column(data, court__amount=copied), workspace) == ["court__amount"]


def test_a_category_that_tells_the_outcome_is_named(workspace: Workspace, data: TrainingSet) -> None:
    told = np.where(data.labels == 1, "written off", "settled")
    assert named(with_column(data, registry__sector=told), workspace) == ["registry__sector"]


def test_a_label_hidden_in_distance_is_named_by_what_a_trial_model_learns(
    workspace: Workspace, data: TrainingSet
) -> None:
    """Far from zero on either side is a default: no ranking of the values shows it, but two splits of a tree do."""
    side = np.random.default_rng(3).choice([-1.0, 1.0], len(data))
    hidden = side * (1 + 2.0 * data.labels + np.random.default_rng(4).random(len(data)))
    found = leakage.leaks(with_column(data, court__amount=hidden), source_specs(workspace))
    assert [leak.column for leak in found] == ["court__amount"]
    assert "gain" in found[0].en


def test_a_time_after_the_decision_is_named(workspace: Workspace, data: TrainingSet) -> None:
    times = data.frame["decision_time"] - pd.Timedelta(days=3)
    assert named(with_column(data, court__known_at=times), workspace) == []
    later = times.where(np.arange(len(data)) != 7, times + pd.Timedelta(days=90))
    found = leakage.leaks(with_column(data, court__known_at=later), source_specs(workspace))
    assert [(leak.column, leak.en) for leak in found] == [
        ("court__known_at", "on 1 rows its time is after the decision")
    ]
    assert named(with_column(data, court__known_at=later.dt.tz_localize("UTC")), workspace) == ["court__known_at"]


def test_days_since_something_that_had_yet_to_happen_are_named(tmp_path: Path, data: TrainingSet) -> None:
    workspace = synthetic.workspace(tmp_path)
    court = workspace.sources["court"]
    since = court.features[0].model_copy(update={"aggregation": Aggregation.RECENCY_DAYS, "column": None})
    changed = court.model_copy(update={"features": (since, *court.features[1:])})
    specs = source_specs(
        Workspace(
            workspace.directory, workspace.definition, {**workspace.sources, "court": changed}, workspace.settings
        )
    )
    days = np.random.default_rng(5).integers(0, 400, len(data)).astype(float)
    assert leakage.leaks(with_column(data, court__cases=days), specs) == ()
    days[3] = -12.0
    assert [leak.column for leak in leakage.leaks(with_column(data, court__cases=days), specs)] == ["court__cases"]


def test_training_stops_and_says_what_to_do_unless_told_to_go_on(workspace: Workspace, data: TrainingSet) -> None:
    leaking = with_column(data, court__amount=data.labels + 0.0)
    with pytest.raises(ModelError, match="court__amount") as stopped:
        train(workspace, leaking, register=False)
    assert "--allow-leaks" in str(stopped.value.hint)
    assert "疑似标签泄漏" in str(stopped.value)
    assert train(workspace, leaking, register=False, allow_leaks=True)["skipped"] is False
