"""A frame becomes the matrix that the scorer would make of it row by row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from credit301.errors import ModelError
from credit301.model.scorer import Scorer
from tests.unit.training import synthetic
from training import evaluation, fitting, splits
from training.frames import columns, matrix
from training.specs import source_specs


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    workspace, data = synthetic.workspace(tmp_path_factory.mktemp("frames")), synthetic.rows(600)
    plan = splits.plan(data, synthetic.split_of(workspace))
    (fold,) = plan.repeats[0]
    fitted = fitting.fit(data, fold.train, plan, source_specs(workspace), threads=1)
    return evaluation.scorer_of(workspace, data, fold, fitted)


@pytest.mark.parametrize("kind", [object, "category", "string"])
def test_each_row_is_encoded_as_the_scorer_encodes_it(scorer: Scorer, kind: str) -> None:
    frame = synthetic.rows(60, seed=4).features().astype({"registry__sector": kind})
    frame["registry__sector"] = frame["registry__sector"].astype(object).where(frame.index != 5, "never seen")
    frame["tax__late"] = frame["tax__late"].astype(object).where(frame["tax__late"].notna(), None)
    frame = frame.drop(columns="court__amount").assign(other__feature=1.0)
    rows = frame.reindex(columns=columns(scorer.plan)).astype(object)
    expected = [scorer.encode_row([None if pd.isna(v) else v for v in row]) for row in rows.to_numpy()]
    np.testing.assert_array_equal(matrix(scorer, frame), np.vstack(expected))


def test_nothing_is_known_of_a_frame_without_columns_and_no_rows_are_no_rows(scorer: Scorer) -> None:
    assert np.isnan(matrix(scorer, pd.DataFrame(index=range(2)))).all()
    assert matrix(scorer, synthetic.rows(60).features()[:0]).shape == (0, len(scorer.plan))


def test_text_is_no_number(scorer: Scorer) -> None:
    frame = pd.DataFrame({"tax__late": [1.0, "12"]})
    with pytest.raises(ModelError, match="tax__late is a number"):
        matrix(scorer, frame)
