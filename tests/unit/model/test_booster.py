"""The C calls give LightGBM's own numbers, bit by bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from credit301.errors import ModelError
from credit301.model.booster import Booster
from tests.support.scoring import NUMBERS, rows, trained

VIEWS = list(NUMBERS)
Case = tuple[Booster, Any, np.ndarray]


@pytest.fixture(params=VIEWS)
def case(request: pytest.FixtureRequest) -> Case:
    view = request.param
    matrix = rows(view, 200, np.random.default_rng(5))
    text = trained().files[f"models/{view}.txt"].decode()
    return Booster(text, matrix.shape[1]), trained().boosters[view], matrix


def test_a_single_row_scores_exactly_as_predict_does(case: Case) -> None:
    booster, peer, matrix = case
    assert [booster.raw(row) for row in matrix] == peer.predict(matrix, raw_score=True).tolist()


def test_a_batch_scores_exactly_as_predict_does(case: Case) -> None:
    booster, peer, matrix = case
    np.testing.assert_array_equal(booster.raw_batch(matrix), peer.predict(matrix, raw_score=True))


def test_contributions_are_those_of_pred_contrib(case: Case) -> None:
    booster, peer, matrix = case
    np.testing.assert_array_equal(
        [booster.contributions(row) for row in matrix], peer.predict(matrix, pred_contrib=True)
    )
    np.testing.assert_array_equal(booster.contributions_batch(matrix), peer.predict(matrix, pred_contrib=True))


def test_contributions_sum_to_the_raw_score(case: Case) -> None:
    booster, _, matrix = case
    for row in matrix:
        assert booster.contributions(row).sum() == pytest.approx(booster.raw(row), abs=1e-12)


def test_the_expected_value_is_the_same_for_every_row(case: Case) -> None:
    booster, _, matrix = case
    assert len({float(booster.contributions(row)[-1]) for row in matrix}) == 1


def test_threads_do_not_disturb_one_another(case: Case) -> None:
    booster, peer, matrix = case
    expected = peer.predict(matrix, raw_score=True).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(booster.raw, [row for _ in range(20) for row in matrix])) == expected * 20


def test_a_strided_row_and_an_empty_batch_are_fine(case: Case) -> None:
    booster, peer, matrix = case
    assert booster.raw(np.asfortranarray(matrix)[3]) == peer.predict(matrix[3:4], raw_score=True)[0]
    assert booster.raw_batch(matrix[:0]).shape == (0,)


@pytest.mark.parametrize("text", ["", "not a model", "tree\n", "tree\nversion=v4\n"])
def test_a_text_that_is_no_model_is_an_error_and_not_a_crash(text: str) -> None:
    with pytest.raises(ModelError):
        Booster(text, 3)


def test_a_model_with_other_columns_is_refused() -> None:
    with pytest.raises(ModelError, match="the manifest says 7"):
        Booster(trained().files["models/tax_declaration.txt"].decode(), 7)
