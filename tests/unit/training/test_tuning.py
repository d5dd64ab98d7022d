"""A search for better parameters: in time order, within its seconds, and found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from credit301.errors import ModelError
from tests.unit.training import synthetic
from training import splits, submodels, tuning
from training.dataset import TrainingSet
from training.specs import source_specs


def test_the_best_parameters_of_the_trials_are_found_and_the_usual_ones_kept_where_none_is_better() -> None:
    def loss(changed: dict[str, Any]) -> float:
        return 0.5 if not changed else 0.4 + abs(changed["num_leaves"] - 4) / 100

    assert tuning.search(loss, seconds=1.0, seed=1)["num_leaves"] == 4
    assert tuning.search(lambda changed: 0.5 + bool(changed), seconds=0.3, seed=1) == {}
    assert tuning.search(lambda _: None, seconds=0.3, seed=1) == {}


def test_trees_stay_small_enough_to_be_looked_up() -> None:
    tried: list[dict[str, Any]] = []

    def loss(changed: dict[str, Any]) -> float:
        tried.append(changed)
        return 1.0

    tuning.search(loss, seconds=1.0, seed=2)
    assert len(tried) > 5
    assert all(changed["num_leaves"] <= submodels.LEAVES for changed in tried[1:])


def test_a_search_sees_no_tested_row_and_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, data = synthetic.workspace(tmp_path), synthetic.rows(300)
    plan = splits.plan(data, synthetic.split_of(workspace))
    test = plan.repeats[0][0].test
    seen: list[np.ndarray] = []
    real = submodels.fit

    def watched(data: TrainingSet, rows: np.ndarray, folds: tuple[splits.Fold, ...], *args: Any, **options: Any) -> Any:
        seen.extend([rows, *(fold.test for fold in folds), *(fold.train for fold in folds)])
        return real(data, rows, folds, *args, **options)

    monkeypatch.setattr(submodels, "fit", watched)
    specs = source_specs(workspace)
    first = tuning.tune(workspace, data, plan, specs, seconds=1.5, threads=1)
    assert seen
    assert not np.isin(np.concatenate(seen), test).any()
    seen.clear()
    assert tuning.tune(workspace, data, plan, specs, seconds=1.5, threads=1) == first
    assert seen == []
    changed = TrainingSet(data.frame.assign(label=1 - data.labels), "uscc")
    tuning.tune(workspace, changed, plan, specs, seconds=0.1, threads=1)
    assert seen


def test_where_every_row_is_tested_there_is_no_search(tmp_path: Path) -> None:
    workspace, data = synthetic.workspace(tmp_path, "kfold"), synthetic.rows(150)
    plan = splits.plan(data, synthetic.split_of(workspace))
    with pytest.raises(ModelError, match="every row is tested"):
        tuning.tune(workspace, data, plan, source_specs(workspace), seconds=1.0, threads=1)
