"""The tables say what LightGBM says: raw scores to the bit, contributions to rounding, on any row."""

from __future__ import annotations

import itertools
from functools import cache

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301.model.booster import Booster
from credit301.model.forest import QUESTIONS, Forest, Member, fits

ROWS, NUMBERS, CATEGORIES = 600, 4, 40
WIDTH = 2 * (NUMBERS + 1) + 1
COLUMNS = ((0, 2, 4, 6, 8), (9, 7, 5, 3, 1))
"""Places of the two members' features in a row, of which column 10 belongs to nobody."""
ROUNDING = 1e-12


def data(seed: int, missing: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    matrix = np.column_stack(
        [
            random.normal(size=ROWS).round(1),
            random.integers(-2, 3, ROWS),
            random.exponential(size=ROWS) * (random.random(ROWS) < 0.5),
            random.lognormal(10, 3, ROWS),
            random.integers(0, CATEGORIES, ROWS),
        ]
    )
    odds = matrix[:, 0] + (matrix[:, 1] > 0) - matrix[:, 2] + np.isin(matrix[:, 4], [3, 7, 33])
    labels = (odds + random.normal(size=ROWS) > 1).astype(float)
    matrix[random.random(matrix.shape) < missing] = np.nan
    return matrix, labels


@cache
def text(seed: int, *, missing: float = 0.2, leaves: int = 7) -> str:
    matrix, labels = data(seed, missing)
    parameters = {
        "objective": "binary",
        "num_leaves": leaves,
        "min_data_in_leaf": 5,
        "min_data_per_group": 5,
        "verbosity": -1,
        "num_threads": 1,
        "max_cat_to_onehot": 1 + CATEGORIES * (seed % 2),
    }
    booster = lightgbm.train(
        parameters, lightgbm.Dataset(matrix, labels, categorical_feature=[NUMBERS]), num_boost_round=30
    )
    return str(booster.model_to_string())


@cache
def forest(missing: float) -> tuple[Forest, tuple[Booster, ...]]:
    texts = [text(seed, missing=missing) for seed in (1, 2)]
    members = [Member(words, columns) for words, columns in zip(texts, COLUMNS, strict=True)]
    return Forest(members, WIDTH), tuple(Booster(words, NUMBERS + 1) for words in texts)


numbers = st.one_of(
    st.none(),
    st.floats(-3, 3).map(lambda value: round(value, 1)),
    st.floats(allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 1e300]),
)
codes = st.one_of(st.none(), st.integers(-1, CATEGORIES + 40).map(float))


@st.composite
def vectors(draw: st.DrawFn) -> np.ndarray:
    row = np.full(WIDTH, np.nan)
    for columns in COLUMNS:
        for column in columns[:NUMBERS]:
            row[column] = np.nan if (value := draw(numbers)) is None else value
        row[columns[NUMBERS]] = np.nan if (code := draw(codes)) is None else code
    return row


@pytest.mark.parametrize("missing", [0.0, 0.2])
@given(row=vectors())
def test_any_row_gets_what_lightgbm_says(row: np.ndarray, missing: float) -> None:
    tables, boosters = forest(missing)
    sums = tables.sums(row)
    for member, (booster, columns) in enumerate(zip(boosters, COLUMNS, strict=True)):
        values = row[list(columns)]
        assert tables.raw(sums, member) == booster.raw(values)
        np.testing.assert_allclose(
            sums[tables.shares(member)], booster.contributions(values)[:-1], rtol=0, atol=ROUNDING
        )


def test_a_hundred_thousand_rows_score_as_the_model_that_was_trained() -> None:
    words, random = text(2), np.random.default_rng(9)
    matrix = data(9, 0.1)[0][random.integers(0, ROWS, 100_000)]
    matrix[:, :NUMBERS] += random.normal(0, 0.01, (len(matrix), NUMBERS))
    tables = Forest([Member(words, range(NUMBERS + 1))], NUMBERS + 1)
    said = [tables.raw(tables.sums(row), 0) for row in matrix]
    trained = lightgbm.Booster(model_str=words).predict(matrix, raw_score=True)
    np.testing.assert_array_equal(said, trained)


def test_thresholds_themselves_go_the_way_of_lightgbm() -> None:
    words = text(1)
    tables, booster = Forest([Member(words, range(NUMBERS + 1))], NUMBERS + 1), Booster(words, NUMBERS + 1)
    thresholds = {
        float(word) for line in words.splitlines() if line.startswith("threshold=") for word in line[10:].split()
    }
    for threshold, column in itertools.product(thresholds, range(NUMBERS)):
        for value in (threshold, np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf)):
            row = np.zeros(NUMBERS + 1)
            row[column] = value
            assert tables.raw(tables.sums(row), 0) == booster.raw(row)


def test_a_model_without_a_split_says_its_constant() -> None:
    matrix, _ = data(3, 0.0)
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "min_data_in_leaf": ROWS, "num_threads": 1},
        lightgbm.Dataset(matrix, np.arange(ROWS) % 4 == 0),
        num_boost_round=3,
    )
    words = str(booster.model_to_string())
    assert fits(words)
    tables = Forest([Member(words, range(NUMBERS + 1))], NUMBERS + 1)
    sums = tables.sums(np.zeros(NUMBERS + 1))
    assert tables.raw(sums, 0) == Booster(words, NUMBERS + 1).raw(np.zeros(NUMBERS + 1))
    assert not sums[tables.shares(0)].any()


def test_larger_trees_do_not_fit() -> None:
    assert fits(text(1, leaves=QUESTIONS + 1))
    assert not fits(text(1, leaves=QUESTIONS + 2))


def test_a_forest_of_nobody_says_nothing() -> None:
    assert Forest([], 3).sums(np.zeros(3)).tolist() == [0.0]
