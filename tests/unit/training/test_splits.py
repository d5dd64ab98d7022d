"""Who is trained on and who is tested on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.errors import ModelError
from credit301.workspace import ColumnSplit, KFoldSplit, TimeSplit
from tests.unit.training import synthetic
from training import splits
from training.dataset import TrainingSet


@st.composite
def decisions(draw: st.DrawFn) -> TrainingSet:
    """Rows of few entities that decide again and again, each label known some days after its decision."""
    count = draw(st.integers(60, 160))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    days = random.integers(0, draw(st.integers(20, 400)), count)
    frame = pd.DataFrame(
        {
            "uscc": [f"E{n}" for n in random.integers(0, draw(st.integers(20, 200)), count)],
            "decision_time": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, "D"),
            "label": random.integers(0, 2, count),
            "tax__sales": random.normal(size=count),
        }
    )
    if draw(st.booleans()):
        delay = pd.to_timedelta(random.integers(0, 60, count), "D")
        frame["label_known_at"] = frame["decision_time"] + delay
    return TrainingSet(frame, "uscc")


def entities(data: TrainingSet, rows: np.ndarray) -> set[str]:
    return set(data.frame["uscc"].iloc[rows])


@settings(max_examples=60, deadline=None)
@given(data=decisions(), share=st.floats(0.1, 0.6))
def test_a_split_by_time_has_no_entity_on_both_sides(data: TrainingSet, share: float) -> None:
    fold = splits.out_of_time(data, share)
    assert not entities(data, fold.train) & entities(data, fold.test)


@settings(max_examples=60, deadline=None)
@given(data=decisions(), share=st.floats(0.1, 0.6))
def test_a_split_by_time_trains_only_on_what_was_known_before_the_test_began(data: TrainingSet, share: float) -> None:
    fold = splits.out_of_time(data, share)
    if len(fold.train) and len(fold.test):
        start = data.times[fold.test].min()
        assert (data.times[fold.train] < start).all()
        assert (data.known_at[fold.train] <= start).all()


@settings(max_examples=40, deadline=None)
@given(data=decisions(), folds=st.integers(2, 6), seed=st.integers(0, 99))
def test_folds_test_each_row_once_and_never_split_an_entity(data: TrainingSet, folds: int, seed: int) -> None:
    found = splits.grouped_folds(data, np.arange(len(data)), folds, seed)
    assert sorted(np.concatenate([fold.test for fold in found])) == list(range(len(data)))
    for fold in found:
        assert not entities(data, fold.train) & entities(data, fold.test)


@settings(max_examples=40, deadline=None)
@given(data=decisions(), folds=st.integers(2, 6))
def test_forward_folds_know_only_the_past_and_other_entities(data: TrainingSet, folds: int) -> None:
    for fold in splits.forward_folds(data, np.arange(len(data)), folds, per_class=5):
        start = data.times[fold.test].min()
        assert (data.times[fold.train] < start).all()
        assert (data.known_at[fold.train] <= start).all()
        assert not entities(data, fold.train) & entities(data, fold.test)


def test_forward_folds_leave_out_a_block_without_enough_of_a_past() -> None:
    data = synthetic.rows(200)
    known = data.frame.assign(label_known_at=data.frame["decision_time"] + pd.Timedelta(days=600))
    assert len(splits.forward_folds(data, np.arange(200), 4, per_class=5)) == 4
    assert splits.forward_folds(TrainingSet(known, "uscc"), np.arange(200), 4, per_class=5) == ()


def test_a_workspace_may_do_without_the_embargo_where_it_would_leave_nothing_to_learn_from() -> None:
    data = synthetic.rows(2000)
    late = data.frame.assign(label_known_at=data.frame["decision_time"] + pd.Timedelta(days=600))
    known_late = TrainingSet(late, "uscc")
    with pytest.raises(ModelError, match="training side"):
        splits.plan(known_late, TimeSplit(kind="time", folds=4))
    without = TimeSplit(kind="time", folds=4, embargo=False)
    found, plain = splits.plan(known_late, without), splits.plan(data, without)
    for one, other in zip(found.repeats[0], plain.repeats[0], strict=True):
        assert one.train.tolist() == other.train.tolist()
    train = found.repeats[0][0].train
    inner, plain_inner = splits.inner_folds(known_late, train, found), splits.inner_folds(data, train, plain)
    assert [fold.train.tolist() for fold in inner] == [fold.train.tolist() for fold in plain_inner]


def test_inner_folds_go_forward_in_time_where_there_is_enough_of_a_past() -> None:
    data = synthetic.rows(2000)
    plan = splits.plan(data, TimeSplit(kind="time", test_share=0.3, folds=4))
    for fold in splits.inner_folds(data, plan.repeats[0][0].train, plan):
        assert data.times[fold.train].max() < data.times[fold.test].min()


def test_inner_folds_are_grouped_where_there_is_not() -> None:
    data = synthetic.rows(300)
    plan = splits.plan(data, TimeSplit(kind="time", test_share=0.3, folds=4))
    rows = plan.repeats[0][0].train
    found = splits.inner_folds(data, rows, plan)
    assert sorted(np.concatenate([fold.test for fold in found])) == rows.tolist()


def test_a_repeat_of_folds_differs_from_the_one_before() -> None:
    data = synthetic.rows(200)
    plan = splits.plan(data, KFoldSplit(kind="kfold", folds=3, repeats=2, seed=1))
    first, second = (repeat[0].test for repeat in plan.repeats)
    assert set(first) != set(second)


def test_the_same_seed_gives_the_same_folds() -> None:
    split = KFoldSplit(kind="kfold", folds=3, repeats=2, seed=1)
    one, two = (splits.plan(synthetic.rows(200), split).repeats for _ in range(2))
    for left, right in zip(one, two, strict=True):
        assert [fold.test.tolist() for fold in left] == [fold.test.tolist() for fold in right]


def test_a_column_decides_the_split_where_the_workspace_says_so() -> None:
    data = synthetic.rows(300)
    fold = splits.plan(data, ColumnSplit(kind="column", column="side")).repeats[0][0]
    assert set(data.frame["side"].iloc[fold.test]) == {"test"}
    assert set(data.frame["side"].iloc[fold.train]) == {"train"}


def test_a_column_that_puts_an_entity_on_both_sides_is_refused() -> None:
    frame = synthetic.rows(300).frame.copy()
    frame["uscc"] = ["A", "B"] * (len(frame) // 2)
    frame["decision_time"] = pd.date_range("2024-01-01", periods=len(frame))
    frame["side"] = ["train", "test", "test", "train"] * (len(frame) // 4)
    with pytest.raises(ModelError, match="both sides"):
        splits.plan(TrainingSet(frame, "uscc"), ColumnSplit(kind="column", column="side"))


def test_the_words_of_the_two_sides_are_the_workspaces_own() -> None:
    data = synthetic.rows(300)
    frame = data.frame.assign(held_out=data.frame["side"] == "test")
    split = ColumnSplit(kind="column", column="held_out", train=False, test=True)
    fold = splits.plan(TrainingSet(frame, "uscc"), split).repeats[0][0]
    assert frame["held_out"].iloc[fold.test].all()
    assert not frame["held_out"].iloc[fold.train].any()


def test_given_folds_are_tested_one_by_one() -> None:
    data = synthetic.rows(300)
    frame = data.frame.assign(fold=data.groups % 4)
    plan = splits.plan(TrainingSet(frame, "uscc"), ColumnSplit(kind="column", column="fold", holds="folds"))
    assert plan.nested
    (folds,) = plan.repeats
    assert [sorted(set(frame["fold"].iloc[fold.test])) for fold in folds] == [[0], [1], [2], [3]]
    assert all(len(fold.train) + len(fold.test) == len(frame) for fold in folds)


@pytest.mark.parametrize(("values", "message"), [(0, "one fold only"), (None, "no fold on some rows")])
def test_a_column_that_gives_no_folds_is_refused(values: int | None, message: str) -> None:
    data = synthetic.rows(300)
    frame = data.frame.assign(fold=values)
    with pytest.raises(ModelError, match=message):
        splits.plan(TrainingSet(frame, "uscc"), ColumnSplit(kind="column", column="fold", holds="folds"))


def test_a_column_with_another_word_is_refused() -> None:
    frame = synthetic.rows(300).frame.assign(side="train")
    frame.loc[0, "side"] = "validate"
    with pytest.raises(ModelError, match="'validate'"):
        splits.plan(TrainingSet(frame, "uscc"), ColumnSplit(kind="column", column="side"))


def test_too_few_defaults_are_refused_with_their_number() -> None:
    frame = synthetic.rows(300).frame.assign(label=0)
    frame.loc[:2, "label"] = 1
    with pytest.raises(ModelError, match="3 defaults among the 300 rows"):
        splits.plan(TrainingSet(frame, "uscc"), KFoldSplit(kind="kfold"))


def test_a_test_side_without_defaults_is_refused() -> None:
    data = synthetic.rows(300)
    frame = data.frame.assign(label=np.where(np.arange(300) < 150, data.labels, 0))
    with pytest.raises(ModelError, match="test side"):
        splits.plan(TrainingSet(frame, "uscc"), TimeSplit(kind="time"))


def test_of_many_rows_two_blocks_are_tested_by_one_past_and_some_of_their_rows_by_all_of_it() -> None:
    data = synthetic.rows(6_000, entities=2_500)
    folds = splits.one_past(data, np.arange(len(data)), most=300)
    assert len(folds) == 2
    train, tests = folds[0].train, [fold.test for fold in folds]
    assert folds[1].train is train
    assert sum(map(len, tests)) == 300
    assert data.times[train].max() < data.times[tests[0]].min()
    assert data.times[tests[0]].max() < data.times[tests[1]].min()
    assert not entities(data, train) & entities(data, np.concatenate(tests))
    (learnt, tested), *more = splits.joined(folds)
    assert not more
    assert learnt is train
    assert tested.tolist() == sorted(np.concatenate(tests).tolist())
    assert splits.one_past(synthetic.rows(300), np.arange(250)) == ()
