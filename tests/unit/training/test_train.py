"""Training from end to end, without MLflow."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from credit301.errors import ModelError
from credit301.model.bundle import read
from credit301.strategy.errors import StrategyError
from tests.unit.training import synthetic
from training import evaluation, registry, report, splits, tracking
from training.bundling import feature_version
from training.dataset import TrainingSet
from training.specs import source_specs
from training.train import train, write_bundle

MODEL_KEYS = {"name", "level", "title", "auc", "auc_spread", "ks", "brier"}


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_same_data_and_seed_give_the_same_bundle_byte_for_byte(tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        workspace = synthetic.workspace(tmp_path / name)
        data = synthetic.rows(400)
        plan = splits.plan(data, synthetic.split_of(workspace))
        found = evaluation.evaluate(workspace, data, plan, source_specs(workspace), threads=2)
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        written.append(files_of(write_bundle(workspace, data, found, "f" * 64, moment)[1]))
    assert written[0] == written[1]
    # The manifest, three sub-models, and the additive model's columns and sums.
    assert len(written[0]) == 6


def test_the_summary_has_what_the_metrics_file_needs(tmp_path: Path) -> None:
    summary = train(synthetic.workspace(tmp_path), synthetic.rows(400), register=False)
    assert (summary["workspace"], summary["rows"], summary["skipped"]) == ("made_up", 400, False)
    assert summary["split"]["kind"] == "time"
    assert summary["split"]["train_until"] < summary["split"]["test_from"]
    assert all(set(model) == MODEL_KEYS for model in summary["models"])
    json.dumps(summary)


def test_the_bundle_carries_plan_reasons_cut_off_and_metrics(tmp_path: Path) -> None:
    workspace = synthetic.workspace(tmp_path)
    summary = train(workspace, synthetic.rows(400), register=False)
    manifest = read(Path(summary["bundle"])).manifest
    assert manifest.version == summary["version"]
    assert set(manifest.reasons) == {f"{v.name}:{f.name}" for v in manifest.views for f in v.features}
    assert manifest.cut_off == 0.3
    assert manifest.feature_version == feature_version(workspace)
    ensemble = next(model for model in summary["models"] if model["level"] == "ensemble")
    assert manifest.metrics["auc"] == pytest.approx(ensemble["auc"], abs=1e-6)
    sector = next(f for v in manifest.views if v.name == "registry" for f in v.features if f.name == "sector")
    assert sector.categories == ("A", "B", "C")


def test_training_again_on_the_same_data_is_skipped_unless_forced(tmp_path: Path) -> None:
    workspace, data = synthetic.workspace(tmp_path), synthetic.rows(300)
    first = train(workspace, data, register=False)
    second = train(workspace, data, register=False)
    assert second == {**first, "skipped": True}
    assert train(workspace, data, register=False, force=True)["skipped"] is False


def test_a_new_label_is_reason_enough_to_train_again(tmp_path: Path) -> None:
    workspace, data = synthetic.workspace(tmp_path), synthetic.rows(300)
    train(workspace, data, register=False)
    changed = data.frame.copy()
    changed["label"] = data.labels ^ (np.arange(len(data)) == 0)
    assert train(workspace, TrainingSet(changed, "uscc"), register=False)["skipped"] is False


def test_rows_without_data_from_any_source_are_left_out(tmp_path: Path) -> None:
    data = synthetic.rows(400)
    frame = data.frame.copy()
    frame.loc[:49, [name for name in frame if "__" in str(name)]] = None
    assert train(synthetic.workspace(tmp_path), TrainingSet(frame, "uscc"), register=False)["rows"] == 350


def test_a_strategy_on_a_feature_that_nobody_computes_stops_the_training(tmp_path: Path) -> None:
    workspace = synthetic.workspace(tmp_path)
    path = workspace.directory / "strategies" / "credit" / "policy.json"
    text = path.read_text(encoding="utf-8").replace("score.probability * 0.5", "features.tax.profit * 0.5")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StrategyError, match=r"features\.tax\.profit"):
        train(workspace, synthetic.rows(300), register=False)


def test_the_report_and_its_plots_are_kept(tmp_path: Path) -> None:
    workspace = synthetic.workspace(tmp_path)
    summary = train(workspace, synthetic.rows(300), register=False)
    assert report.read(workspace)["models"] == summary["models"]
    for name in ("reliability.png", "score_distribution.png"):
        assert (workspace.paths.reports / name).read_bytes().startswith(b"\x89PNG")
    page = (workspace.paths.reports / "training.html").read_text(encoding="utf-8")
    assert summary["verdict"]["zh"] in page
    assert all(f"{peer['auc']:.4f}" in page for peer in summary["against"])
    assert all(item["lost"][0] in page for item in summary["reduced"])
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_the_table_is_printed_with_every_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = train(synthetic.workspace(tmp_path), synthetic.rows(300), register=False)
    report.table(summary)
    printed = capsys.readouterr().out
    assert all(model["name"] in printed for model in summary["models"])


def test_the_limit_of_a_simulated_city_is_the_auc_of_its_own_probabilities(tmp_path: Path) -> None:
    workspace, data = synthetic.workspace(tmp_path), synthetic.rows(300)
    folder = workspace.paths.root / "city"
    folder.mkdir(parents=True)
    truth = data.frame[["uscc"]].assign(decided_at=data.times, true_pd=0.2 + 0.6 * data.labels)
    truth.to_parquet(folder / "truth.parquet")
    limit = train(workspace, data, register=False)["limit"]
    assert (limit["name"], limit["level"], limit["auc"]) == ("bayes_limit", "limit", 1.0)


def test_two_loans_of_one_decision_are_one_risk_in_the_limit(tmp_path: Path) -> None:
    workspace, data = synthetic.workspace(tmp_path), synthetic.rows(60)
    folder = workspace.paths.root / "city"
    folder.mkdir(parents=True)
    one = data.frame[["uscc"]].assign(decided_at=data.times, true_pd=0.5)
    pd.concat([one, one]).to_parquet(folder / "truth.parquet")
    limit = report.bayes_limit(workspace, data, data.groups * 0 + range(len(data)))
    assert limit is not None
    expected = ((0.75 - data.labels) ** 2).mean()
    assert limit["brier"] == pytest.approx(expected, abs=1e-6)


def test_an_mlflow_that_went_away_meanwhile_is_named_and_what_was_trained_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise MlflowException("API request failed")

    monkeypatch.setattr(tracking, "log", gone)
    monkeypatch.setattr(registry, "is_up", lambda _: False)
    workspace = synthetic.workspace(tmp_path)
    with pytest.raises(ModelError, match="did not take the training: API request failed") as caught:
        train(workspace, synthetic.rows(300))
    (bundle,) = workspace.paths.bundles.iterdir()
    assert bundle.name in caught.value.hint
