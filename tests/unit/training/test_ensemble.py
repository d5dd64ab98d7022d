"""The stack over the sub-models' log-odds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import ensemble


def sample(seed: int, rows: int = 300, models: int = 3, missing: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of sub-models of which the last is turned around, and labels."""
    random = np.random.default_rng(seed)
    risk = random.normal(size=rows)
    logits = risk[:, None] * np.array([*[0.8] * (models - 1), -0.8]) + random.normal(size=(rows, models)) * 0.6 - 1
    labels = (random.random(rows) < 1 / (1 + np.exp(-(1.5 * risk - 1)))).astype(int)
    gone = random.random((rows, models)) < missing
    gone[gone.all(axis=1), 0] = False
    return np.where(gone, np.nan, logits), labels


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.floats(0, 0.8))
def test_weights_are_never_negative_even_of_a_model_that_is_turned_around(seed: int, missing: float) -> None:
    stack = ensemble.fit(*sample(seed, missing=missing))
    assert (stack.weights >= 0).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.floats(0, 0.8))
def test_no_data_is_never_worse_than_an_average_enterprise(seed: int, missing: float) -> None:
    logits, labels = sample(seed, missing=missing)
    stack = ensemble.fit(logits, labels)
    assert (stack.missing_logits <= stack.weights * ensemble.neutral(logits) + 1e-9).all()


def test_a_missing_source_puts_its_constant_in_its_place() -> None:
    stack = ensemble.Stack(0.5, np.array([2.0, 1.0]), np.array([-0.25, 0.75]))
    z = stack.z(np.array([[1.0, 1.0], [np.nan, 1.0], [1.0, np.nan]]))
    assert z.tolist() == [3.5, 0.5 - 0.25 + 1.0, 0.5 + 2.0 + 0.75]


def test_a_source_that_is_hardly_ever_missing_has_the_neutral_constant() -> None:
    logits, labels = sample(1, missing=0.0)
    logits[:5, 0] = np.nan
    stack = ensemble.fit(logits, labels)
    assert stack.missing_logits == pytest.approx(stack.weights * ensemble.neutral(logits))


def test_a_source_whose_absence_goes_with_paying_lowers_the_risk_when_absent() -> None:
    logits, labels = sample(2, rows=2000)
    logits[labels == 0, 0] = np.where(np.arange((labels == 0).sum()) % 2, np.nan, logits[labels == 0, 0])
    stack = ensemble.fit(logits, labels)
    assert stack.missing_logits[0] < stack.weights[0] * ensemble.neutral(logits)[0] - 0.1


def test_what_absence_means_is_believed_in_part_only_however_many_rows_there_are() -> None:
    moved = []
    for rows in (2_000, 32_000):
        logits, labels = sample(2, rows=rows, missing=0.0)
        logits[(labels == 0) & (np.arange(rows) % 2 == 0), 0] = np.nan
        stack = ensemble.fit(logits, labels)
        moved.append(stack.missing_logits[0] - stack.weights[0] * ensemble.neutral(logits)[0])
    # No default is without the source: were absence believed, the constant would fall without bound.
    assert moved[1] == pytest.approx(moved[0], rel=0.25)
    assert moved[1] > -3.0


def test_the_stack_ranks_better_than_its_best_model() -> None:
    from sklearn.metrics import roc_auc_score

    logits, labels = sample(3, rows=2000, missing=0.0)
    test_logits, test_labels = sample(4, rows=2000, missing=0.0)
    best = max(roc_auc_score(test_labels, test_logits[:, i]) for i in range(3))
    assert roc_auc_score(test_labels, ensemble.fit(logits, labels).z(test_logits)) > best


def test_a_column_of_nothing_but_gaps_does_not_break_the_fit() -> None:
    logits, labels = sample(5)
    logits[:, 1] = np.nan
    assert np.isfinite(ensemble.fit(logits, labels).z(logits)).all()
