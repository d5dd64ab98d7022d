"""A training set that stays on disk trains the same model as one in memory, whatever is read at once, and in less."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from credit301.errors import ModelError
from tests.unit.training import synthetic
from training import baselines, evaluation, learners, memory, report, splits, tracking
from training.dataset import TrainingSet, evenly
from training.scorecard import scorecard
from training.specs import source_specs
from training.splits import Fold
from training.train import write_bundle

ROWS_AT_MOST, GROUP = 1_500, 400
COLUMNS, LONG = 100, 100_000


def kept(data: TrainingSet, path: Path) -> Path:
    data.frame.to_parquet(path, index=False, row_group_size=GROUP)
    return path


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return synthetic.rows(ROWS_AT_MOST)


@pytest.fixture(scope="module")
def path(data: TrainingSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(data, tmp_path_factory.mktemp("rows") / "training_set.parquet")


@pytest.fixture
def stored(path: Path) -> TrainingSet:
    return TrainingSet.on_disk(path, "uscc")


def trained(data: TrainingSet, directory: Path) -> dict[str, bytes]:
    """Every file of the bundle."""
    workspace = synthetic.workspace(directory)
    plan = splits.plan(data, synthetic.split_of(workspace))
    found = evaluation.evaluate(workspace, data, plan, source_specs(workspace), threads=2)
    _, bundle = write_bundle(workspace, data, found, "f" * 64, datetime(2026, 1, 1, tzinfo=UTC))
    return {path.name: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def test_memory_or_disk_a_thousand_rows_or_all_at_once_the_model_is_the_same(
    data: TrainingSet, stored: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the bounds of the bins come from a part of the rows, and the bins are filled batch by batch.
    monkeypatch.setattr(learners, "SAMPLE", 300)
    at_once = trained(data, tmp_path / "memory")
    monkeypatch.setattr(memory, "rows_at_once", lambda _: 100)
    in_parts = trained(stored, tmp_path / "disk")
    assert len(at_once) == 6
    # Trees, curves and sums to the byte; the stack's few numbers as far as sums of another order round alike.
    assert _numbers(at_once.pop("manifest.json")) == pytest.approx(_numbers(in_parts.pop("manifest.json")), rel=1e-9)
    assert in_parts == at_once


def _numbers(manifest: bytes) -> list[float]:
    read = json.loads(manifest)
    ensemble, additive = read["ensemble"], read["ensemble"]["additive"]
    terms = [value for term in ensemble["terms"] for value in (term["weight"], term["missing_logit"])]
    return [ensemble["intercept"], additive["weight"], *terms, read["calibration"]["a"], read["metrics"]["auc"]]


def test_a_digest_does_not_depend_on_where_the_rows_lie(
    data: TrainingSet, stored: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "rows_at_once", lambda _: 77)
    assert stored.digest() == data.digest()


@pytest.mark.parametrize("size", [7, 400, 5_000])
def test_any_rows_in_batches_of_any_size_are_those_of_the_frame(
    data: TrainingSet, stored: TrainingSet, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "rows_at_once", lambda _: size)
    columns = ["registry__sector", "tax__late"]
    chosen = np.flatnonzero(np.random.default_rng(1).random(len(data)) < 0.1)
    for rows in (chosen, chosen[:1], chosen[:0], np.arange(len(data))[-300:]):
        found = list(stored.batches(columns, rows))
        assert [len(frame) for _, frame in found] == [min(size, len(rows) - k) for k in range(0, len(rows), size)]
        pd.testing.assert_frame_equal(stored.take(columns, rows), data.take(columns, rows), check_dtype=len(rows) > 0)


def test_what_is_left_of_a_file_can_be_lessened_again(data: TrainingSet, stored: TrainingSet) -> None:
    numbers = np.arange(len(data))
    even = stored.where(numbers % 2 == 0)
    found = even.where(np.arange(len(even)) % 3 == 0)
    pd.testing.assert_frame_equal(found.frame, data.frame.iloc[::6].reset_index(drop=True))
    assert found.labels.tolist() == data.labels[::6].tolist()


def test_a_file_in_another_order_is_refused(data: TrainingSet, tmp_path: Path) -> None:
    path = tmp_path / "training_set.parquet"
    data.frame.iloc[::-1].to_parquet(path, index=False)
    with pytest.raises(ModelError, match="not in the order"):
        TrainingSet.on_disk(path, "uscc")


def test_what_may_be_used_decides_where_the_rows_are_kept_and_too_little_is_said_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_value = memory.FRAME + memory.OF_A_SAMPLE
    in_memory = memory.AT_LEAST + ROWS_AT_MOST * 10 * of_a_value / memory.GIB
    monkeypatch.setattr(memory, "OF_A_ROW", 0)
    assert memory.room(path, in_memory).whole
    assert not memory.room(path, in_memory - 1e-5).whole
    with pytest.raises(ModelError, match="may be used") as refused:
        memory.room(path, memory.AT_LEAST / 2)
    assert "--cluster" in refused.value.hint


def test_what_is_left_of_the_memory_says_of_how_many_rows_a_model_learns_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LEAST_SAMPLED", 100)
    monkeypatch.setattr(memory, "BOUNDED", 0)
    monkeypatch.setattr(memory, "BINNED", 0)
    beside = memory.AT_LEAST + ROWS_AT_MOST * memory.OF_A_ROW / memory.GIB
    of_a_row = 10 * memory.OF_A_SAMPLE / memory.GIB
    found = [memory.room(path, beside + (rows + 0.5) * of_a_row).sampled for rows in (100, 400, 800)]
    assert found == [100, 400, 800]
    with pytest.raises(ModelError, match="may be used"):
        memory.room(path, beside + 99 * of_a_row)


def test_where_memory_is_short_the_report_says_from_how_many_rows_the_peers_learnt(path: Path, tmp_path: Path) -> None:
    workspace, data = synthetic.workspace(tmp_path), TrainingSet.on_disk(path, "uscc", sampled=400)
    whole, specs = TrainingSet.on_disk(path, "uscc"), source_specs(workspace)
    plan = splits.plan(data, synthetic.split_of(workspace))
    (fold,) = plan.repeats[0]
    evaluated: Any = SimpleNamespace(plan=plan)
    assert report._sampled(data, evaluated) == {"rows": 400, "of": len(fold.train)}
    assert report._sampled(whole, evaluated) is None
    fewer = Fold(evenly(fold.train, 400), fold.test)
    for peer in (scorecard, partial(baselines.logistic, seed=7)):
        assert peer(data, fold, specs) == pytest.approx(peer(whole, fewer, specs))
        assert peer(data, fold, specs) != pytest.approx(peer(whole, fold, specs))


def test_the_rows_that_the_gate_asks_for_are_written_batch_by_batch_as_they_are(
    data: TrainingSet, stored: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.flatnonzero(np.arange(len(data)) % 3 == 0)
    said = np.linspace(0, 1, len(rows))
    expected = data.features(rows).assign(label=data.labels[rows], said=said)
    # So that a source, and with it a category, is absent on every row of some batches.
    monkeypatch.setattr(memory, "rows_at_once", lambda _: 3)
    for name, of in (("memory", data), ("disk", stored)):
        tracking._write_rows(tmp_path / name, of, rows, {"said": said})
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / name), expected)


WIDE = """
import json, resource, sys
from pathlib import Path
import numpy as np
from training import learners, submodels
from training.dataset import TrainingSet
from training.specs import Input, ModelSpec

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

spec = ModelSpec("wide", "", tuple(Input("wide", f"c{n}", False, 0) for n in range(int(sys.argv[2]))))
learners.SAMPLE = 5_000
small = TrainingSet.on_disk(Path(sys.argv[1]), "uscc").where(np.arange(int(sys.argv[3])) < 5_000)
submodels.refit(small, np.arange(len(small)), spec, trees=3, seed=1, threads=1)  # libraries are loaded
before = peak()
data = TrainingSet.on_disk(Path(sys.argv[1]), "uscc")
found = submodels.refit(data, np.arange(len(data)), spec, trees=3, seed=1, threads=1)
print(json.dumps({"grown": peak() - before, "rows": found.rows}))
"""


def test_a_model_is_learnt_in_a_fraction_of_what_its_matrix_would_take(tmp_path: Path) -> None:
    random, path = np.random.default_rng(1), tmp_path / "wide.parquet"
    values = random.integers(0, 200, (LONG, COLUMNS)).astype(np.float64)
    frame = pd.DataFrame(values, columns=[f"wide__c{n}" for n in range(COLUMNS)])
    frame.insert(0, "label", (values[:, 0] + random.normal(0, 50, LONG) > 150).astype(int))
    frame.insert(0, "decision_time", pd.date_range("2020-01-01", periods=LONG, freq="min"))
    frame.insert(0, "uscc", "E" + pd.Series(range(LONG)).astype(str))
    frame.to_parquet(path, index=False, row_group_size=20_000)
    command = [sys.executable, "-c", WIDE, str(path), str(COLUMNS), str(LONG)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["rows"] == LONG
    assert found["grown"] < values.nbytes / 2
