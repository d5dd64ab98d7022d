"""Measures without the bias of selection, on made-up applicants whose every outcome is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from training.weighted import corrected


def applicants(seed: int, count: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes, and a probability that is right on average but does not know everything."""
    random = np.random.default_rng(seed)
    known, unknown = random.normal(size=(2, count))
    true = 1 / (1 + np.exp(2.2 - known - unknown))
    return (random.random(count) < true).astype(int), 1 / (1 + np.exp(2.0 - 0.9 * known))


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_accept_lane_shows_what_approvals_alone_hide(share: float) -> None:
    errors = []
    for seed in range(5):
        labels, p = applicants(seed)
        approved = p <= 0.1
        drawn = ~approved & (np.random.default_rng(seed + 100).random(len(p)) < share)
        seen = approved | drawn
        found = corrected(labels[seen], p[seen], np.where(approved, 1.0, share)[seen])
        assert found is not None
        truth = {"auc": roc_auc_score(labels, p), "brier": brier_score_loss(labels, p), "rate": labels.mean()}
        naive = corrected(labels[approved], p[approved], np.ones(approved.sum()))
        assert naive is not None
        # Of the approved alone the model seems worse at ranking, and the city safer, than they are.
        assert naive.auc_weighted < truth["auc"] - 0.05
        assert naive.rate_weighted < truth["rate"] - 0.05
        errors.append([getattr(found, f"{name}_weighted") - value for name, value in truth.items()])
        assert found.lots == drawn.sum()
        assert found.effective < found.rows
    assert np.abs(np.mean(errors, axis=0)).max() < 0.01


def test_with_every_outcome_known_nothing_is_corrected() -> None:
    labels, p = applicants(7, 2_000)
    found = corrected(labels, p, np.ones(len(p)))
    assert found is not None
    assert (found.auc, found.brier, found.rate) == pytest.approx(
        (found.auc_weighted, found.brier_weighted, found.rate_weighted)
    )
    assert found.effective == pytest.approx(found.rows)


def test_without_both_outcomes_there_is_nothing_to_measure() -> None:
    assert corrected(np.zeros(5, dtype=int), np.full(5, 0.1), np.ones(5)) is None
