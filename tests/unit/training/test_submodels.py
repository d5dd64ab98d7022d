"""One model per source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from credit301.model.scorer import UNKNOWN_CATEGORY
from tests.unit.training import synthetic
from training import frames, splits, submodels
from training.dataset import TrainingSet
from training.specs import ModelSpec, source_specs
from training.submodels import Fitted


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSpec]:
    return {spec.name: spec for spec in source_specs(synthetic.workspace(tmp_path_factory.mktemp("specs")))}


def fit(data: TrainingSet, spec: ModelSpec) -> Fitted:
    rows = np.arange(len(data))
    found = submodels.fit(data, rows, splits.grouped_folds(data, rows, 3, 7), spec, seed=7, threads=2)
    assert found is not None
    return found


def test_a_row_that_the_source_does_not_know_is_not_trained_on(specs: dict[str, ModelSpec]) -> None:
    data = synthetic.rows(400, missing=0.3)
    unknown = data.frame[["tax__sales", "tax__late"]].isna().all(axis=1).to_numpy()
    folds = splits.grouped_folds(data, np.arange(len(data)), 3, 7)
    flipped = TrainingSet(data.frame.assign(label=np.where(unknown, 1 - data.labels, data.labels)), "uscc")
    texts = []
    for rows in (data, flipped):
        found = submodels.fit(rows, np.arange(len(rows)), folds, specs["tax"], seed=7, threads=2)
        assert found is not None
        texts.append(found.model.text)
    assert texts[0] == texts[1]
    assert np.isnan(fit(data, specs["tax"]).out_of_fold[unknown]).all()


def test_out_of_fold_a_model_cannot_recognise_an_entity(specs: dict[str, ModelSpec]) -> None:
    """Labels belong to entities by lot and the feature names the entity: only memory could rank them."""
    random = np.random.default_rng(5)
    lot, name = random.integers(0, 2, 60), random.normal(size=60)
    who = np.repeat(np.arange(60), 12)
    frame = pd.DataFrame(
        {
            "uscc": [f"E{n}" for n in who],
            "decision_time": pd.date_range("2024-01-01", periods=len(who)),
            "label": lot[who],
            "court__cases": 0.0,
            "court__amount": name[who],
        }
    )
    data = TrainingSet(frame, "uscc")
    found = fit(data, specs["court"])
    remembered = roc_auc_score(data.labels, found.model.logits(data.frame))
    assert remembered > 0.7
    assert roc_auc_score(data.labels, found.out_of_fold) < 0.6


def test_risk_moves_only_as_the_contract_lets_it(specs: dict[str, ModelSpec]) -> None:
    model = fit(synthetic.rows(800), specs["tax"]).model
    late = np.linspace(-3, 3, 50)
    rising = pd.DataFrame({"tax__sales": 20_000.0, "tax__late": late})
    falling = pd.DataFrame({"tax__sales": np.exp(10 + late), "tax__late": 0.0})
    assert (np.diff(model.logits(rising)) >= -1e-12).all()
    assert (np.diff(model.logits(falling)) <= 1e-12).all()
    assert np.ptp(model.logits(rising)) > 0


def test_the_same_seed_gives_the_same_model(specs: dict[str, ModelSpec]) -> None:
    one, two = (fit(synthetic.rows(300), specs["registry"]) for _ in range(2))
    assert one.model.text == two.model.text
    np.testing.assert_array_equal(one.out_of_fold, two.out_of_fold)


def test_a_category_that_training_never_saw_is_coded_as_unknown_not_as_missing(specs: dict[str, ModelSpec]) -> None:
    frame = pd.DataFrame({"registry__age": [1.0, 1.0, 1.0], "registry__sector": ["B", "Z", None]})
    matrix = frames.encode(frame, specs["registry"], {"registry__sector": ("A", "B")})
    assert matrix[:2, 1].tolist() == [1.0, UNKNOWN_CATEGORY]
    assert np.isnan(matrix[2, 1])


def lottery(seed: int = 5) -> TrainingSet:
    """Outcomes by lot, 25 rows for each of 60 towns: enough for LightGBM to encode a town by its outcomes."""
    random = np.random.default_rng(seed)
    count = 1_500
    frame = pd.DataFrame(
        {
            "uscc": [f"E{n:04d}" for n in range(count)],
            "decision_time": pd.date_range("2024-01-01", periods=count),
            "label": random.integers(0, 2, count),
            "registry__age": 1.0,
            "registry__sector": [f"town {n % 60:02d}" for n in range(count)],
        }
    )
    return TrainingSet(frame, "uscc")


def test_a_category_is_encoded_by_outcomes_of_the_training_folds_only(specs: dict[str, ModelSpec]) -> None:
    """Encoded over all rows, the mean outcome of a town would rank its own rows: here that is the only way to rank."""
    data = lottery()
    towns = data.frame["registry__sector"]
    leaking = data.frame.groupby(towns)["label"].transform("mean")
    assert roc_auc_score(data.labels, leaking) > 0.58
    found = fit(data, specs["registry"])
    assert roc_auc_score(data.labels, found.model.logits(data.frame)) > 0.55
    assert roc_auc_score(data.labels, found.out_of_fold) < 0.54


def test_a_category_that_training_never_saw_scores_as_a_missing_one(specs: dict[str, ModelSpec]) -> None:
    model = fit(synthetic.rows(900, missing=0.0), specs["registry"]).model
    frame = pd.DataFrame({"registry__age": [0.1, 0.1, 0.1], "registry__sector": ["unheard of", None, "B"]})
    unseen, missing, known = model.logits(frame)
    assert unseen == missing
    assert known != missing


def test_a_constant_feature_says_nothing_and_breaks_nothing(specs: dict[str, ModelSpec]) -> None:
    data = synthetic.rows(300, missing=0.0)
    constant = TrainingSet(data.frame.assign(court__cases=1.0, court__amount=2.0), "uscc")
    found = fit(constant, specs["court"])
    assert np.ptp(found.model.logits(constant.frame)) == 0


def test_a_source_with_too_few_outcomes_has_no_model(specs: dict[str, ModelSpec]) -> None:
    data = synthetic.rows(200)
    frame = data.frame.copy()
    frame.loc[frame["label"] == 1, ["tax__sales", "tax__late"]] = np.nan
    poor = TrainingSet(frame, "uscc")
    rows = np.arange(len(poor))
    assert submodels.fit(poor, rows, splits.grouped_folds(poor, rows, 3, 7), specs["tax"], seed=7, threads=1) is None


def test_classes_are_not_reweighted_so_the_mean_probability_is_the_rate(specs: dict[str, ModelSpec]) -> None:
    data = synthetic.rows(1200, missing=0.0)
    rare = TrainingSet(data.frame[(data.labels == 0) | (np.arange(len(data)) % 4 == 0)], "uscc")
    probability = 1 / (1 + np.exp(-fit(rare, specs["tax"]).model.logits(rare.frame)))
    assert probability.mean() == pytest.approx(rare.labels.mean(), abs=0.01)


def test_columns_of_a_model_are_in_the_order_of_the_contract(tmp_path: Path) -> None:
    spec = next(s for s in source_specs(synthetic.workspace(tmp_path)) if s.name == "tax")
    assert [(item.column, item.monotone) for item in spec.inputs] == [("tax__sales", -1), ("tax__late", 1)]


@pytest.mark.parametrize(("rows", "few"), [(100, True), (900, False)])
def test_with_few_defaults_a_tree_is_one_split(specs: dict[str, ModelSpec], rows: int, few: bool) -> None:
    model = fit(synthetic.rows(rows, missing=0.0), specs["tax"]).model
    assert (model.positives < submodels.FEW_POSITIVES) == few
    leaves = [int(line.partition("=")[2]) for line in model.text.splitlines() if line.startswith("num_leaves=")]
    assert (max(leaves) == 2) == few
