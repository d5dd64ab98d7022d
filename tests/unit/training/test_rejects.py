"""What a training makes of the declined: weights, no knowledge of their outcomes, and a bias that becomes smaller."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301.errors import ModelError
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import fitting, reject_page, reject_study, rejects, splits
from training.dataset import INFERRED, LABEL, WEIGHT, TrainingSet
from training.rejects import Method, Population
from training.specs import source_specs
from training.splits import Fold, Plan


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return synthetic.workspace(tmp_path)


def fit(workspace: Workspace) -> Any:
    specs = source_specs(workspace)
    return lambda data, rows, plan: fitting.fit(data, rows, plan, specs, threads=1)


def played(workspace: Workspace, count: int = 900, bank: str = "by_score", lane: float = 0.2) -> Population:
    """Synthetic rows of which an old bank declined a third, with outcomes of lots."""
    data = synthetic.rows(count, missing=0.1)
    plan = splits.plan(data, synthetic.split_of(workspace))
    found = reject_study.play(workspace, data, plan, source_specs(workspace), bank, declined=0.33, lane=lane)
    return reject_study.population(data, plan, found, lots=True)


def infer(workspace: Workspace, population: Population, method: Method) -> rejects.Inferred:
    return rejects.infer(method, workspace, population, source_specs(workspace), fit(workspace))


@pytest.mark.parametrize("method", [Method.FUZZY, Method.PARCELLING])
def test_a_declined_application_counts_one_in_two_rows_and_is_never_tested(
    workspace: Workspace, method: Method
) -> None:
    population = played(workspace, 500)
    found = infer(workspace, population, method)
    head, fold = found.data.head, found.plan.repeats[0][0]
    inferred = head[head[INFERRED]]
    each = inferred.groupby(["uscc", "decision_time"])
    assert len(each) == found.declined == len(rejects.usable(population))
    np.testing.assert_allclose(each[WEIGHT].sum(), 1.0)
    assert set(each[LABEL].apply(lambda two: tuple(sorted(two)))) == {(0, 1)}
    assert not head[INFERRED].iloc[fold.test].any()
    # Who was accepted counts one, with the outcome that was seen, and the same rows are tested.
    assert (head.loc[~head[INFERRED], WEIGHT] == 1).all()
    tested = population.data.head.iloc[population.plan.repeats[0][0].test]
    assert head["uscc"].iloc[fold.test].tolist() == tested["uscc"].tolist()
    assert set(inferred["uscc"]).isdisjoint(tested["uscc"])


@pytest.mark.parametrize("method", [Method.REWEIGHT, Method.LANE])
def test_reweighted_rows_count_as_many_as_they_are(workspace: Workspace, method: Method) -> None:
    population = played(workspace)
    found = infer(workspace, population, method)
    train = found.plan.repeats[0][0].train
    weights = found.data.weights_of(train)
    assert weights is not None
    assert weights.sum() == pytest.approx(len(train))
    assert (weights > 0).all()
    # Who looks like the declined counts more: the riskier half of the accepted, by what the columns tell.
    risk = found.data.frame["court__cases"].fillna(0).to_numpy()[train]
    assert weights[risk > 0.5].mean() > weights[risk < -0.5].mean()


@pytest.mark.parametrize("method", list(Method))
def test_outcomes_of_the_declined_are_read_nowhere(workspace: Workspace, method: Method) -> None:
    population = played(workspace, 500)
    declined = population.declined
    assert declined is not None
    turned = declined.frame.assign(**{LABEL: np.arange(len(declined)) % 2})
    other = Population(population.data, population.plan, TrainingSet(turned, "uscc"), population.propensity)
    one, two = infer(workspace, population, method), infer(workspace, other, method)
    assert one.data.digest() == two.data.digest()


def test_later_applications_and_those_of_tested_enterprises_are_left_out(workspace: Workspace) -> None:
    population = played(workspace)
    test = population.plan.repeats[0][0].test
    tested, begins = population.data.head["uscc"].iloc[test].iloc[0], population.data.times[test].min()
    declined = population.declined
    assert declined is not None
    frame = declined.frame
    frame.loc[frame.index[:5], "uscc"] = tested
    frame.loc[frame.index[5:12], "decision_time"] = pd.Timestamp(begins)
    changed = Population(population.data, population.plan, TrainingSet(frame, "uscc"))
    assert len(rejects.usable(changed)) == len(rejects.usable(population)) - 12


def test_without_declined_applications_or_lots_it_says_so(workspace: Workspace) -> None:
    population = played(workspace, 400)
    with pytest.raises(ModelError, match="no declined applications"):
        infer(workspace, Population(population.data, population.plan), Method.FUZZY)
    ones = np.ones(len(population.data))
    with pytest.raises(ModelError, match="accept lane"):
        infer(workspace, Population(population.data, population.plan, None, ones), Method.LANE)


def test_folds_are_refused_by_name(tmp_path: Path) -> None:
    workspace = synthetic.workspace(tmp_path, "kfold")
    data = synthetic.rows(300)
    plan = splits.plan(data, synthetic.split_of(workspace))
    with pytest.raises(ModelError, match="split by time or by sides"):
        infer(workspace, Population(data, plan), Method.FUZZY)


@given(st.lists(st.floats(0.001, 0.9), min_size=1, max_size=60), st.integers(0, 200))
def test_a_parcel_never_has_more_than_it_may_and_follows_the_bands(p: list[float], accepted: int) -> None:
    said = np.array(p)
    random = np.random.default_rng(accepted)
    seen = random.uniform(0, 1, accepted)
    labels = (random.random(accepted) < seen).astype(int)
    found = rejects.parcels(said, seen, labels)
    assert found.shape == said.shape
    assert ((found >= 0) & (found <= rejects.LARGEST)).all()
    # Equal probabilities are one band.
    assert all(len(set(found[said == value].tolist())) == 1 for value in set(p))


def test_weights_count_as_repeated_rows_would(workspace: Workspace) -> None:
    """A row that counts two is learnt from as the same row twice, in every part but the trees, which count leaves."""
    data = synthetic.rows(400, missing=0.1)
    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(300, 3)), random.integers(0, 2, 300)
    counted = random.integers(1, 4, 300)
    from training import calibration, ensemble

    twice = np.repeat(np.arange(300), counted)
    weighted, repeated = ensemble.fit(logits, labels, counted), ensemble.fit(logits[twice], labels[twice])
    np.testing.assert_allclose(weighted.weights, repeated.weights, atol=1e-4)
    assert weighted.intercept == pytest.approx(repeated.intercept, abs=1e-4)
    one, other = calibration.platt(logits[:, 0], labels, counted), calibration.platt(logits[twice, 0], labels[twice])
    assert (one.a, one.b) == pytest.approx((other.a, other.b), abs=1e-4)
    assert data.outcomes(np.arange(len(data)))[0] == data.labels.sum()


def test_reweighting_by_acceptance_reduces_a_planted_bias(workspace: Workspace) -> None:
    """Risk bends beyond what is mostly accepted; a straight line through the accepted misses it, reweighted less so."""
    random = np.random.default_rng(5)
    count = 6_000
    x = random.normal(size=count)
    labels = (random.random(count) < 1 / (1 + np.exp(2.5 - 0.4 * x - 0.6 * np.maximum(x, 0) ** 2))).astype(int)
    accepted = random.random(count) < 1 / (1 + np.exp(3.0 * (x - 0.5)))
    base = synthetic.rows(10).frame
    frame = pd.DataFrame({name: np.nan for name in base.columns if "__" in str(name)}, index=range(count))
    frame = frame.assign(
        uscc=[f"E{number}" for number in range(count)],
        decision_time=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(count), "h"),
        label=labels,
        court__cases=x,
    )
    train = np.arange(count) < 4_000
    seen = frame[accepted | ~train].reset_index(drop=True)
    data = TrainingSet(seen, "uscc")
    learnt = int((accepted & train).sum())
    plan = Plan("time", ((Fold(np.arange(learnt), np.arange(learnt, len(data))),),), 3, 7)
    declined = TrainingSet(frame[train & ~accepted].assign(label=0).reset_index(drop=True), "uscc")
    found = infer(workspace, Population(data, plan, declined), Method.REWEIGHT)
    weights = found.data.weights_of(np.arange(learnt))
    assert weights is not None
    before = abs(x[accepted & train].mean() - x[train].mean())
    after = abs(np.average(data.frame["court__cases"][:learnt], weights=weights) - x[train].mean())
    assert after < 0.5 * before


def test_a_lane_of_known_lots_undoes_what_the_banks_people_saw_and_the_page_says_so(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bank's people saw part of the outcome: of the accepted alone the model misjudges all who apply."""
    found = reject_page.show(workspace, synthetic.rows(1_000, missing=0.1), declined=0.35, lane=0.2)
    of = {(row["bank"], row["method"]): row for row in found["rows"]}
    alone, lane = of["by_insight", "accepted_only"], of["by_insight", "lane"]
    assert alone["predicted"] < 0.75 * alone["observed"]
    assert abs(lane["predicted"] - lane["observed"]) < 0.6 * abs(alone["predicted"] - alone["observed"])
    assert lane["auc"] > alone["auc"]
    assert of["by_insight", "all_outcomes"]["auc"] == of["by_score", "all_outcomes"]["auc"]
    # What does not help is said not to help.
    said = reject_study.words({**found, "rows": [{**row, "difference": 0.0} for row in found["rows"]]})
    assert "no method is better beyond chance" in said["en"]
    assert "没有方法" in said["zh"]
    page = html.unescape(Path(found["page"]).read_text(encoding="utf-8"))
    assert all(text in page for text in found["words"].values())
    assert "仅用已放款样本" in capsys.readouterr().out
    kept, _ = reject_page.read(workspace)
    assert kept is not None
    assert kept["rows"] == found["rows"]
