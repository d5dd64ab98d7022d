"""The training set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit301.errors import ModelError, NotFound
from tests.unit.training import synthetic
from training.dataset import TrainingSet, check_columns, evenly
from training.specs import source_specs


def test_the_order_of_the_rows_does_not_matter() -> None:
    data = synthetic.rows(100)
    shuffled = TrainingSet(data.frame.sample(frac=1, random_state=2), "uscc")
    assert shuffled.digest() == data.digest()
    pd.testing.assert_frame_equal(shuffled.frame, data.frame)


def test_one_changed_value_changes_the_digest() -> None:
    data = synthetic.rows(100)
    frame = data.frame.copy()
    frame.loc[7, "tax__late"] = 0.123
    assert TrainingSet(frame, "uscc").digest() != data.digest()


def test_a_training_set_without_a_label_is_refused() -> None:
    with pytest.raises(ModelError, match="lacks label"):
        TrainingSet(synthetic.rows(50).frame.drop(columns="label"), "uscc")


def test_a_label_that_is_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(ModelError, match="neither 0 nor 1"):
        TrainingSet(synthetic.rows(50).frame.assign(label=2), "uscc")


def test_a_feature_of_the_contracts_that_is_not_in_the_data_is_named(tmp_path: Path) -> None:
    data = synthetic.rows(50)
    less = TrainingSet(data.frame.drop(columns="tax__late"), "uscc")
    with pytest.raises(ModelError, match="tax__late"):
        check_columns(less, source_specs(synthetic.workspace(tmp_path)))


def test_a_workspace_without_a_training_set_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="credit301 training-set"):
        TrainingSet.of(synthetic.workspace(tmp_path))


def test_many_rows_are_thinned_evenly_and_few_are_not() -> None:
    rows = np.arange(0, 3_000, 3)
    some = evenly(rows, 100)
    assert len(some) == len(np.unique(some)) == 100
    assert (some[0], some[-1]) == (0, 2_997)
    assert np.diff(some).max() <= 33
    assert evenly(rows, 1_000) is rows
