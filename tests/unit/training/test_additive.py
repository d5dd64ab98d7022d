"""Fitting of the additive model."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from training import additive
from training.specs import Input, ModelSpec

SPEC = ModelSpec(
    "additive",
    "",
    (
        Input("tax", "late", category=False, monotone=1),
        Input("tax", "sales", category=False, monotone=-1),
        Input("court", "cases", category=False, monotone=0),
        Input("court", "kind", category=True, monotone=0),
    ),
)


def rows(count: int = 4000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns of which two tell of the same, labels, and the true log-odds."""
    random = np.random.default_rng(seed)
    late, cases = random.normal(size=(2, count))
    sales = -0.8 * late + 0.6 * random.normal(size=count)
    kind = random.integers(0, 3, count).astype(float)
    z = -2.0 + 0.9 * late - 0.6 * sales + 0.5 * cases + 0.8 * (kind == 1)
    labels = (random.random(count) < 1 / (1 + np.exp(-z))).astype(np.int64)
    return np.column_stack([late, np.exp(5 + sales), cases, kind]), labels, z


def fitted(matrix: np.ndarray, labels: np.ndarray, penalty: float = 1.0) -> additive.FittedAdditive:
    found = additive.fit(matrix, labels, SPEC, penalty)
    assert found is not None
    return found


def test_it_finds_what_made_the_labels() -> None:
    matrix, labels, z = rows()
    logits = additive.logits(fitted(matrix, labels), matrix)
    assert np.corrcoef(logits, z)[0, 1] > 0.99
    assert (1 / (1 + np.exp(-logits))).mean() == pytest.approx(labels.mean(), abs=0.01)


def test_without_signs_it_is_ridge_logistic_regression() -> None:
    matrix, labels, _ = rows()
    free = ModelSpec("additive", "", tuple(Input(i.view, i.name, i.category, 0) for i in SPEC.inputs))
    found = additive.fit(matrix, labels, free, 20.0)
    assert found is not None
    model = found.model
    table = model.design(matrix)[:, 1:]
    peer = LogisticRegression(C=1 / 20.0, max_iter=5_000, tol=1e-10).fit(table, labels)
    np.testing.assert_allclose(model.weights(frozenset()).columns[1:], peer.coef_[0], atol=2e-3)


def test_a_weight_never_has_the_sign_that_the_contract_forbids() -> None:
    matrix, labels, _ = rows()
    turned = matrix.copy()
    turned[:, 0] *= -1
    model = fitted(turned, labels).model
    moved = [
        model.functions(np.array([late, np.nan, np.nan, np.nan]), model.weights(frozenset()))[0] for late in (-2, 2)
    ]
    assert moved[0] == moved[1] == 0.0


def test_without_a_source_it_is_the_model_that_is_trained_without_it() -> None:
    matrix, labels, _ = rows()
    lost = matrix.copy()
    lost[:, :2] = np.nan
    without = additive.logits(fitted(matrix, labels), lost)
    again = additive.logits(fitted(lost, labels), lost)
    assert np.corrcoef(without, again)[0, 1] > 0.999
    assert roc_auc_score(labels, without) == pytest.approx(roc_auc_score(labels, again), abs=0.002)
    # The weights of the whole on what is left, as if the lost source were average, would rank worse.
    whole = fitted(matrix, labels).model
    average = whole.design(lost) @ whole.weights(frozenset()).columns
    assert np.abs(without - average).max() > 0.05


def test_columns_that_do_not_vary_are_left_out_and_nothing_but_such_is_no_model() -> None:
    matrix, labels, _ = rows(500)
    matrix[:, 0], matrix[:, 1] = 3.0, np.nan
    assert {curve.key for curve in fitted(matrix, labels).spec.curves} == {"court:cases"}
    assert additive.fit(np.full((50, 4), np.nan), labels[:50], SPEC) is None


def test_a_rare_event_has_a_curve() -> None:
    matrix, labels, _ = rows(3000)
    matrix[:, 0] = 0.0
    matrix[:4, 0] = 5.0
    assert "tax:late" in {curve.key for curve in fitted(matrix, labels).spec.curves}
