"""Every level of the model on rows that it has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from credit301.errors import ModelError
from credit301.model.scorer import Scorer
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import additive, bundling, evaluation, fitting, splits, subsets
from training.dataset import TrainingSet
from training.evaluation import Evaluation
from training.frames import matrix
from training.specs import source_specs


def evaluate(workspace: Workspace, data: TrainingSet) -> Evaluation:
    plan = splits.plan(data, synthetic.split_of(workspace))
    return evaluation.evaluate(workspace, data, plan, source_specs(workspace), threads=1)


def scorer_of(workspace: Workspace, found: Evaluation) -> Scorer:
    parts = bundling.assemble(workspace, found.fitted, found.categories, version="-", created_at="-")
    return Scorer(bundling.in_memory(*parts))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return synthetic.workspace(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return synthetic.rows(1200)


@pytest.fixture(scope="module")
def found(workspace: Workspace, data: TrainingSet) -> Evaluation:
    return evaluate(workspace, data)


@pytest.fixture(scope="module")
def by_folds(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate(synthetic.workspace(tmp_path_factory.mktemp("folds"), "kfold"), synthetic.rows(150))


def shuffled() -> TrainingSet:
    """Labels by lot, which nothing tells anything of."""
    data = synthetic.rows(300)
    return TrainingSet(data.frame.assign(label=np.random.default_rng(2).permutation(data.labels)), "uscc")


@pytest.fixture(scope="module")
def by_lot(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate(synthetic.workspace(tmp_path_factory.mktemp("lot"), "kfold"), shuffled())


def test_the_table_has_every_source_dimension_the_ensemble_and_the_baselines(found: Evaluation) -> None:
    assert [(model.level, model.name) for model in found.models] == [
        ("source", "court"),
        ("source", "registry"),
        ("source", "tax"),
        ("dimension", "fiscal"),
        ("dimension", "risk"),
        ("ensemble", "ensemble"),
        ("baseline", "logistic"),
        ("baseline", "one_lightgbm"),
        ("baseline", "scorecard"),
    ]


def test_the_ensemble_is_better_than_its_best_source(found: Evaluation) -> None:
    assert found.ensemble.metrics.auc > max(m.metrics.auc for m in found.models if m.level == "source")


def test_out_of_fold_scores_end_before_the_test_begins(found: Evaluation) -> None:
    for source in found.fitted.sources:
        assert np.isnan(source.out_of_fold[found.rows]).all()


def test_the_model_that_ships_has_not_seen_the_test(workspace: Workspace, data: TrainingSet, found: Evaluation) -> None:
    labels = data.labels.copy()
    labels[found.rows] = 1 - labels[found.rows]
    other = TrainingSet(data.frame.assign(label=labels), "uscc")
    plan = found.plan
    fitted = fitting.fit(other, plan.repeats[0][0].train, plan, source_specs(workspace), threads=1)
    assert [s.model.text for s in fitted.sources] == [s.model.text for s in found.fitted.sources]
    assert fitted.calibration == found.fitted.calibration


def test_the_scorer_says_what_was_evaluated(workspace: Workspace, data: TrainingSet, found: Evaluation) -> None:
    scorer = scorer_of(workspace, found)
    vectors = matrix(scorer, data.frame.iloc[found.rows])
    assert scorer.score_batch(vectors).probability.tolist() == found.ensemble.probability[0].tolist()


def test_a_sub_models_log_odds_are_the_scorers(workspace: Workspace, data: TrainingSet, found: Evaluation) -> None:
    batch = scorer_of(workspace, found).score_batch(matrix(scorer_of(workspace, found), data.frame))
    for source in found.fitted.sources:
        expected = source.model.logits(data.frame)
        np.testing.assert_array_equal(batch.sources[source.model.spec.name], expected)


def test_the_stacks_sum_is_the_scorers(workspace: Workspace, data: TrainingSet, found: Evaluation) -> None:
    scorer = scorer_of(workspace, found)
    vectors = matrix(scorer, data.frame)
    batch = scorer.score_batch(vectors)
    whole = found.fitted.additive
    assert whole is not None
    places = [scorer.plan.index(key) for key in whole.keys]
    over_all = additive.logits(whole, vectors[:, places])
    logits = np.column_stack([*(batch.sources[s.model.spec.name] for s in found.fitted.sources), over_all])
    np.testing.assert_allclose(found.fitted.stack.z(logits), batch.log_odds, atol=1e-10)


def test_a_planted_leak_is_visible_in_its_source_and_the_ensemble(workspace: Workspace, data: TrainingSet) -> None:
    frame = data.frame.copy()
    frame["court__cases"] = data.labels + np.random.default_rng(1).normal(size=len(frame)) * 0.05
    leaking = evaluate(workspace, TrainingSet(frame, "uscc"))
    assert leaking.model("court", "source").metrics.auc > 0.99
    assert leaking.ensemble.metrics.auc > 0.99
    assert leaking.model("tax", "source").metrics.auc < 0.9


def test_shuffled_labels_teach_nothing_by_folds(by_lot: Evaluation) -> None:
    assert by_lot.ensemble.metrics.auc == pytest.approx(0.5, abs=0.1)


def test_what_the_additive_model_learnt_by_heart_earns_it_no_weight(tmp_path: Path) -> None:
    """Labels by lot: in its own rows it finds something, out of fold nothing, and the stack must see the latter."""
    data, workspace = shuffled(), synthetic.workspace(tmp_path)
    plan = splits.plan(data, synthetic.split_of(workspace))
    fitted = fitting.fit(data, plan.repeats[0][0].train, plan, source_specs(workspace), threads=1)
    assert fitted.whole.members[-1] == fitting.ADDITIVE
    assert fitted.stack.weights[-1] < 0.6


def test_by_folds_every_row_is_tested_and_the_spread_is_over_repeats(by_folds: Evaluation) -> None:
    found = by_folds
    assert found.rows.tolist() == list(range(150))
    assert found.ensemble.probability.shape == (2, 150)
    by_repeat = [roc_auc_score(found.labels, probability) for probability in found.ensemble.probability]
    assert found.ensemble.metrics.auc == pytest.approx(np.mean(by_repeat))
    assert found.ensemble.metrics.auc_spread == pytest.approx(np.std(by_repeat, ddof=1))


def test_probabilities_are_calibrated_on_the_test(workspace: Workspace) -> None:
    found = evaluate(workspace, synthetic.rows(4000, seed=11))
    assert found.ensemble.metrics.ece < 0.05
    assert found.ensemble.probability.mean() == pytest.approx(found.labels.mean(), abs=0.03)


def test_a_source_without_data_on_a_row_says_what_it_says_on_average(
    workspace: Workspace, data: TrainingSet, found: Evaluation
) -> None:
    unknown = data.frame["court__cases"].isna().to_numpy()[found.rows]
    said = found.model("court", "source").probability[0][unknown]
    court = next(source for source in found.fitted.sources if source.model.spec.name == "court")
    assert len(set(said)) == 1
    assert said[0] == pytest.approx(np.nanmean(expit(court.out_of_fold)))


def test_a_dimension_of_one_source_ranks_as_that_source_does(found: Evaluation) -> None:
    """Stack and calibration only rise with the one score that they are given; rows without it are one tie."""
    assert found.model("risk", "dimension").metrics.auc == pytest.approx(
        found.model("court", "source").metrics.auc, abs=0.02
    )


def test_a_dimension_is_its_own_sources_combined_and_no_other(workspace: Workspace, data: TrainingSet) -> None:
    frame = data.frame.copy()
    frame["court__cases"] = data.labels + np.random.default_rng(1).normal(size=len(frame)) * 0.05
    before, leaking = evaluate(workspace, data), evaluate(workspace, TrainingSet(frame, "uscc"))
    assert leaking.model("risk", "dimension").metrics.auc > 0.99
    np.testing.assert_array_equal(
        leaking.model("fiscal", "dimension").probability, before.model("fiscal", "dimension").probability
    )


def test_one_source_alone_has_an_ensemble_too(workspace: Workspace, data: TrainingSet) -> None:
    only = tuple(spec for spec in source_specs(workspace) if spec.name == "tax")
    plan = splits.plan(data, synthetic.split_of(workspace))
    found = evaluation.evaluate(workspace, data, plan, only, threads=1)
    names = ["tax", "fiscal", "ensemble", "logistic", "one_lightgbm", "scorecard"]
    assert [model.name for model in found.models] == names
    assert found.ensemble.metrics.auc == pytest.approx(found.model("tax", "source").metrics.auc, abs=0.03)
    assert found.reduced == ()


def test_every_subset_of_few_sources_is_measured_and_the_peer_without_each(found: Evaluation) -> None:
    kept = [item.kept for item in found.reduced]
    assert sorted(map(len, kept), reverse=True) == [2, 2, 2, 1, 1, 1]
    assert all(item.peer is not None for item in found.reduced if len(item.kept) == 2)
    assert all(item.peer is None for item in found.reduced if len(item.kept) == 1)
    by = {item.kept: item.auc for item in found.reduced}
    assert all(found.ensemble.metrics.auc > auc > 0.5 for auc in by.values())
    assert by["tax", "court"] > by["tax", "registry"] - 0.1


def test_what_is_left_without_a_source_stands_beside_the_ensemble_of_the_main_table(
    found: Evaluation, by_folds: Evaluation
) -> None:
    for one in (found, by_folds):
        assert one.whole.rows == len(one.rows)
        assert one.whole.auc == pytest.approx(one.ensemble.metrics.auc, abs=1e-12)


def test_by_folds_no_row_is_scored_without_a_source_by_a_model_that_has_seen_it(
    workspace: Workspace, by_lot: Evaluation
) -> None:
    """A model that has learnt from the rows ranks them well, and one that has not by chance."""
    data = shuffled()
    shipped = scorer_of(workspace, by_lot)
    vectors = matrix(shipped, data.frame)
    for item in by_lot.reduced:
        seen = subsets.probability(shipped, vectors, item.kept)
        known = ~np.isnan(seen)
        if len(item.kept) > 1:
            assert roc_auc_score(data.labels[known], seen[known]) > item.auc + 0.05
        assert item.auc == pytest.approx(0.5, abs=0.1)


def test_every_repeat_and_every_fold_counts_for_what_is_left_without_a_source() -> None:
    """Two folds, the second of which could not fit ``b``; who nobody knows is average; a row that is not tested."""
    labels = np.array([0, 1, 0, 1, 1])

    def repeat(*first: float) -> tuple[np.ndarray, subsets.Lessened]:
        folds = [
            subsets.Lessened(np.array([0, 1]), {("a",): np.array(first), ("b",): np.array([0.1, 0.9])}, {}),
            subsets.Lessened(np.array([2, 3, 4]), {("a",): np.array([0.1, np.nan, 0.0])}, {}),
        ]
        return np.array([0.1, 0.9, 0.2, 0.8, 0.0]), subsets.together(folds)

    whole, reduced = subsets.table([repeat(0.2, 0.7), repeat(0.7, 0.2)], labels, np.arange(4), rate=0.5)
    assert whole == subsets.Whole(1.0, 4)
    assert [(item.kept, item.peer) for item in reduced] == [(("a",), None), (("b",), None)]
    # One repeat ranks every pair well by ``a``, the other half of them; ``b`` leaves one pair tied.
    assert reduced[0].auc == pytest.approx((1.0 + 0.5) / 2)
    assert reduced[1].auc == pytest.approx(3.5 / 4)


def test_a_lost_source_costs_what_it_alone_could_tell(workspace: Workspace) -> None:
    """Nothing is trained again, yet the rest weighs what it would if it had been trained without the source."""
    data = synthetic.rows(3000, seed=5, missing=0.0)
    twin = data.frame["tax__sales"] * np.exp(0.1 * np.random.default_rng(6).normal(size=len(data)))
    frame = data.frame.assign(court__amount=-np.log(twin))
    found = evaluate(workspace, TrainingSet(frame, "uscc"))
    lost = next(item for item in found.reduced if item.kept == ("registry", "court"))
    assert lost.peer is not None
    assert lost.auc > lost.peer - 0.01


def test_tested_rows_of_one_outcome_are_refused_in_words(workspace: Workspace, data: TrainingSet) -> None:
    test = splits.plan(data, synthetic.split_of(workspace)).repeats[0][0].test
    frame = data.frame.copy()
    features = [name for name in frame if "__" in str(name)]
    frame.loc[frame.index[test[data.labels[test] == 1]], features] = None
    with pytest.raises(ModelError, match="same outcome"):
        evaluate(workspace, TrainingSet(frame, "uscc"))


def test_a_source_that_nobody_can_learn_from_is_skipped_and_the_rest_goes_on(workspace: Workspace) -> None:
    data = synthetic.rows(600)
    empty = data.frame.assign(court__cases=np.nan, court__amount=np.nan)
    found = evaluate(workspace, TrainingSet(empty, "uscc"))
    assert found.fitted.skipped == ("court",)
    assert ("source", "court") not in [(model.level, model.name) for model in found.models]
