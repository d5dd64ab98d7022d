"""The report's words follow its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training import metrics, verdict
from training.scorecard import scorecard
from training.splits import Fold
from training.subsets import subsets


def results(difference: float = 0.02, error: float = 0.005, **changes: Any) -> dict[str, Any]:
    """Numbers of a training with one peer and two sources."""
    title = {"zh": "对照", "en": "one LightGBM"}
    models = [
        {"name": "ensemble", "level": "ensemble", "auc": 0.86, "title": title},
        {"name": "one_lightgbm", "level": "baseline", "auc": 0.86 - difference, "title": title},
        *({"name": name, "level": "source", "auc": 0.7, "title": title} for name in ("tax", "court")),
    ]
    lost = [
        {"kept": ["court"], "lost": ["tax"], "auc": 0.80, "peer": 0.79},
        {"kept": ["tax"], "lost": ["court"], "auc": 0.84, "peer": 0.85},
        {"kept": [], "lost": ["tax", "court"], "auc": 0.5, "peer": None},
    ]
    against = [{"peer": "one_lightgbm", "auc": 0.86 - difference, "difference": difference, "error": error}]
    made = {"models": models, "against": against, "reduced": lost, "test_rows": 1000, "calibration": {"observed": 0.1}}
    return {**made, **changes}


@pytest.mark.parametrize(
    ("difference", "error", "said"),
    [
        (0.02, 0.005, "beats one LightGBM"),
        (0.02, 0.05, "is above, though not beyond chance"),
        (-0.02, 0.05, "does not beat, within chance"),
        (-0.02, 0.005, "is beaten by one LightGBM"),
    ],
)
def test_it_says_who_wins_and_whether_beyond_chance(difference: float, error: float, said: str) -> None:
    words = verdict.words(results(difference, error))
    assert said in words["en"]
    assert f"{difference:+.4f}" in words["zh"]


def test_where_it_does_not_win_it_says_why() -> None:
    assert "100 defaults" in verdict.words(results(-0.01, 0.02))["en"]
    alone = [model for model in results()["models"] if model["name"] != "court"]
    assert "nothing to combine" in verdict.words(results(-0.01, 0.02, models=alone))["en"]
    assert "defaults tell" not in verdict.words(results(0.02))["en"]


def test_it_counts_the_sources_whose_loss_it_survives_and_names_the_dearest() -> None:
    words = verdict.words(results())
    assert "1 of 2 sources; tax costs most (0.8000)" in words["en"]
    assert "1/2" in words["zh"]


@pytest.mark.parametrize(("limit", "said"), [(0.865, "within 0.01"), (0.88, "more than 0.01")])
def test_it_tells_the_distance_to_the_limit(limit: float, said: str) -> None:
    assert said in verdict.words(results(limit={"auc": limit}))["en"]


def test_a_difference_of_aucs_has_the_error_of_paired_rows() -> None:
    random = np.random.default_rng(2)
    labels = (random.random(3000) < 0.2).astype(int)
    one = labels + random.normal(size=3000)
    other = one + 0.05 * random.normal(size=3000)
    difference, error = metrics.auc_difference(labels, one, other)
    assert difference == pytest.approx(roc_auc_score(labels, one) - roc_auc_score(labels, other), abs=1e-12)
    assert error < metrics.auc_error(labels, one) / 5
    drawn = []
    for _ in range(200):
        chosen = random.integers(0, 3000, 3000)
        drawn.append(metrics.auc_difference(labels[chosen], one[chosen], other[chosen])[0])
    assert error == pytest.approx(np.std(drawn), rel=0.25)


def test_of_up_to_six_sources_every_subset_is_measured_and_of_more_each_lost_and_each_alone() -> None:
    six = subsets(tuple("abcdef"))
    assert len(six) == len(set(six)) == 2**6 - 2
    seven = subsets(tuple("abcdefg"))
    assert sorted(map(len, seven)) == [1] * 7 + [6] * 7
    assert subsets(("a",)) == ()


def test_the_scorecard_ranks_as_well_as_the_columns_allow_and_says_the_rate_where_they_say_nothing() -> None:
    from tests.unit.training import synthetic
    from training.dataset import TrainingSet
    from training.specs import Input, ModelSpec

    spec = ModelSpec(
        "tax",
        "fiscal",
        (
            Input("tax", "sales", category=False, monotone=-1),
            Input("tax", "late", category=False, monotone=1),
            Input("registry", "sector", category=True, monotone=0),
        ),
    )
    data = synthetic.rows(1500, missing=0.2)
    fold = Fold(np.arange(1000), np.arange(1000, len(data)))
    probability = scorecard(data, fold, (spec,))
    assert roc_auc_score(data.labels[fold.test], probability) > 0.7
    assert probability.mean() == pytest.approx(data.labels.mean(), abs=0.05)
    same = data.frame.assign(tax__sales=1.0, tax__late=np.nan, registry__sector="A")
    flat = scorecard(TrainingSet(same, "uscc"), fold, (spec,))
    assert set(flat) == {data.labels[fold.train].mean()}
