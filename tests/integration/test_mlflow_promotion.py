"""Promotion against a real MLflow server: the gate decides who is champion, and its reasons stand on the version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from credit301.errors import ConfigError, GateRefused, ModelError, NotFound
from credit301.model import promotions, stewardship
from credit301.model.bundle import read
from credit301.model.promotions import Act, Signature
from credit301.model.scorer import Scorer
from credit301.workspace import Workspace
from tests.support.ports import free_port
from tests.unit.training import synthetic
from training import gate, promotion, registry
from training.dataset import TrainingSet
from training.frames import matrix
from training.train import train

MODEL = "made_up-ensemble"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server on SQLite, on loopback."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, **registry.ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: registry.is_up(address), process, folder / "server.log")
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def until(true: Callable[[], bool], process: subprocess.Popen[bytes] | None = None, log: Path | None = None) -> None:
    """Wait for ``true``, for up to seven minutes."""
    for _ in range(2000):
        if true():
            return
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail(log.read_text() if log else "waited for seven minutes")


@pytest.fixture(scope="module")
def workspace(server: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return synthetic.workspace(tmp_path_factory.mktemp("promotion"), mlflow_url=server)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return synthetic.rows(1500, signal=1.5)


@pytest.fixture(scope="module")
def good(workspace: Workspace, data: TrainingSet) -> dict[str, Any]:
    """Summary of an honest training."""
    return train(workspace, data)


@pytest.fixture(scope="module")
def champion(workspace: Workspace, good: dict[str, Any]) -> str:
    """Version that was promoted by the verb."""
    return str(promotion.promote(workspace, good["registered"]["version"])["version"])


@pytest.fixture(scope="module")
def spoiled(workspace: Workspace, data: TrainingSet, champion: str) -> str:
    """Version trained on shuffled labels, registered after the champion."""
    shuffled = data.frame.assign(label=np.random.default_rng(1).permutation(data.labels))
    return str(train(workspace, TrainingSet(shuffled, "uscc"))["registered"]["version"])


@pytest.fixture(scope="module")
def client(server: str) -> Any:
    return registry.connect(registry.Target(server, local=False))


@pytest.fixture
def watcher(workspace: Workspace) -> Iterator[None]:
    """The loop that looks after the alias, in this process."""
    stop = threading.Event()
    thread = threading.Thread(target=promotion.watch, args=(workspace, stop, 0.2))
    thread.start()
    yield
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def registered_again(client: Any, number: str, model: str = MODEL) -> str:
    """A version that is what ``number`` was before it was judged, as a second training on the same data makes it."""
    first = client.get_model_version(model, number)
    trained = (
        registry.TAG_SHA256,
        registry.TAG_DIRECTORY,
        registry.TAG_VERSION,
        registry.TAG_DATA_AS_OF,
        registry.TAG_ROWS,
    )
    tags = {name: first.tags[name] for name in trained}
    # The model itself is one for both.
    same = first.source.removeprefix("models:/")
    return str(client.create_model_version(model, first.source, first.run_id, tags=tags, model_id=same).version)


def champion_of(client: Any) -> str | None:
    alias = client.get_registered_model(MODEL).aliases.get(stewardship.CHAMPION)
    return None if alias is None else str(alias)


def holder_of(workspace: Workspace) -> str | None:
    found = promotions.holder(promotions.read(workspace))
    return found.version if found else None


def test_training_registers_the_ensemble_and_each_source(client: Any, good: dict[str, Any]) -> None:
    names = {model.name for model in client.search_registered_models() if model.name.startswith("made_up")}
    assert names == {MODEL, "made_up-court", "made_up-registry", "made_up-tax"}
    version = client.get_model_version(MODEL, good["registered"]["version"])
    assert version.tags[registry.TAG_DIRECTORY] == good["bundle"]
    assert version.tags[registry.TAG_SHA256] == read(Path(good["bundle"])).sha256


def test_the_parent_run_has_metrics_plots_and_bundle_and_a_nested_run_per_source(
    client: Any, good: dict[str, Any]
) -> None:
    version = client.get_model_version(MODEL, good["registered"]["version"])
    run = client.get_run(version.run_id)
    ensemble = next(model for model in good["models"] if model["level"] == "ensemble")
    assert run.data.metrics["auc"] == pytest.approx(ensemble["auc"], abs=1e-6)
    assert {item.path for item in client.list_artifacts(version.run_id)} >= {"bundle", "plots", "models.json", "gate"}
    assert {item.path for item in client.list_artifacts(version.run_id, "plots")} == {
        "plots/reliability.png",
        "plots/score_distribution.png",
    }
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{version.run_id}'")
    assert {child.info.run_name for child in children} == {"tax", "registry", "court"}


def test_the_tested_rows_in_mlflow_do_not_say_who_they_are(client: Any, good: dict[str, Any], tmp_path: Path) -> None:
    version = client.get_model_version(MODEL, good["registered"]["version"])
    path = client.download_artifacts(version.run_id, "gate/test.parquet", str(tmp_path))
    assert not {"uscc", "decision_time"} & set(pd.read_parquet(path).columns)


def test_training_again_on_the_same_data_is_skipped(
    workspace: Workspace, data: TrainingSet, good: dict[str, Any]
) -> None:
    again = train(workspace, data)
    assert again["skipped"] is True
    assert again["version"] == good["version"]


def test_a_version_that_passes_the_gate_becomes_champion(client: Any, champion: str) -> None:
    assert champion_of(client) == champion
    version = client.get_model_version(MODEL, champion)
    assert version.tags[registry.TAG_GATE] == registry.PASSED
    report = json.loads(version.tags[registry.TAG_REPORT])
    assert all(passed for _, passed, _, _ in report["checks"])
    assert {name for name, *_ in report["checks"]} == set(gate.TITLES) - {"completed"}


def test_the_model_that_mlflow_loads_says_what_the_scorer_says(
    client: Any, good: dict[str, Any], champion: str, data: TrainingSet
) -> None:
    import mlflow

    scorer = Scorer(read(Path(good["bundle"])))
    features = data.features().head(50)
    loaded = mlflow.pyfunc.load_model(f"models:/{MODEL}@{stewardship.CHAMPION}").predict(features)
    scores = [scorer.score(row) for row in matrix(scorer, features)]
    assert loaded["probability"].tolist() == pytest.approx([score.probability for score in scores], abs=1e-12)
    assert loaded["score"].tolist() == [score.score for score in scores]
    by_source = [{source.source: source.probability for source in score.sources} for score in scores]
    for name in ("tax", "registry", "court"):
        expected = [np.nan if row[name] is None else row[name] for row in by_source]
        assert loaded[f"subscore__{name}"].tolist() == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_the_model_that_mlflow_loads_scores_without_a_source_and_gives_nothing_for_nothing(
    client: Any, champion: str, data: TrainingSet
) -> None:
    import mlflow

    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{champion}")
    features = data.features().head(3).copy()
    features[["tax__sales", "tax__late"]] = np.nan
    features.iloc[0] = None
    result = model.predict(features)
    assert result.iloc[0].isna().all()
    assert result["probability"].iloc[1:].between(0, 1, inclusive="neither").all()
    assert result["subscore__tax"].isna().all()


def test_the_verb_refuses_a_spoiled_version_and_leaves_the_champion(
    workspace: Workspace, client: Any, champion: str, spoiled: str
) -> None:
    with pytest.raises(GateRefused, match="AUC"):
        promotion.promote(workspace, spoiled)
    assert champion_of(client) == champion


def test_a_spoiled_version_promoted_by_hand_is_refused_and_the_alias_goes_back(
    workspace: Workspace, client: Any, champion: str, spoiled: str, watcher: None
) -> None:
    for tag in (registry.TAG_GATE, registry.TAG_REASON, registry.TAG_REPORT):
        if tag in client.get_model_version(MODEL, spoiled).tags:
            client.delete_model_version_tag(MODEL, spoiled, tag)
    client.set_registered_model_alias(MODEL, stewardship.CHAMPION, spoiled)
    until(lambda: champion_of(client) == champion)
    version = client.get_model_version(MODEL, spoiled)
    assert version.tags[registry.TAG_GATE] == registry.REFUSED
    zh, en = version.tags[registry.TAG_REASON].split(" | ")
    assert "低于下限" in zh
    assert "below the floor" in en
    assert "Gate refused" in version.description
    assert "AUC" in version.description
    until(lambda: promotions.read(workspace)[-1].act is Act.REFUSED)
    assert promotions.read(workspace)[-1].version == spoiled


def test_a_verdict_tag_written_by_hand_does_not_count(
    workspace: Workspace, client: Any, champion: str, spoiled: str, watcher: None
) -> None:
    client.delete_model_version_tag(MODEL, spoiled, registry.TAG_REPORT)
    client.set_model_version_tag(MODEL, spoiled, registry.TAG_GATE, registry.PASSED)
    client.set_registered_model_alias(MODEL, stewardship.CHAMPION, spoiled)
    until(lambda: champion_of(client) == champion)
    assert client.get_model_version(MODEL, spoiled).tags[registry.TAG_GATE] == registry.REFUSED


def test_a_good_version_promoted_by_hand_stays_and_can_be_rolled_back(
    workspace: Workspace, client: Any, champion: str, watcher: None
) -> None:
    newer = registered_again(client, champion)
    client.set_registered_model_alias(MODEL, stewardship.CHAMPION, newer)
    until(lambda: holder_of(workspace) == newer)
    assert client.get_model_version(MODEL, newer).tags[registry.TAG_GATE] == registry.PASSED
    assert promotions.read(workspace)[-1].by.startswith(promotion.BY_HAND)
    assert promotion.rollback(workspace)["version"] == champion
    assert champion_of(client) == champion
    assert holder_of(workspace) == champion


def test_where_there_is_no_champion_to_go_back_to_a_refused_version_loses_the_alias(
    server: str, client: Any, data: TrainingSet, tmp_path: Path
) -> None:
    fresh = synthetic.workspace(tmp_path, name="fresh", mlflow_url=server)
    shuffled = data.frame.assign(label=np.random.default_rng(1).permutation(data.labels))
    number = train(fresh, TrainingSet(shuffled, "uscc"))["registered"]["version"]
    client.set_registered_model_alias("fresh-ensemble", stewardship.CHAMPION, number)
    view = registry.RestRegistry(server, "fresh-ensemble")
    promotion.look(fresh, view)
    assert stewardship.CHAMPION not in view.aliases()
    assert promotions.read(fresh)[-1].act is Act.REFUSED
    view.close()


def test_an_alias_that_is_taken_away_by_hand_stays_away_and_is_written_down(
    workspace: Workspace, client: Any, champion: str, watcher: None
) -> None:
    client.delete_registered_model_alias(MODEL, stewardship.CHAMPION)
    until(lambda: promotions.read(workspace)[-1].act is Act.REMOVED)
    assert promotion.rollback(workspace)["version"] == champion


SIGNED = Signature("li", "validator", "out-of-time test read")
STRICT = "approval: {required: true, roles: {validator: {title: {zh: 验证, en: validation}}}}\n"


@pytest.fixture(scope="module")
def strict(server: str, client: Any, data: TrainingSet, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose policy wants an approval, with two good versions."""
    made = synthetic.workspace(tmp_path_factory.mktemp("strict"), name="strict", mlflow_url=server)
    (made.directory / stewardship.PLACE).write_text(STRICT, encoding="utf-8")
    train(made, data)
    assert registered_again(client, "1", "strict-ensemble") == "2"
    return made


def aliases_of(client: Any) -> dict[str, str]:
    return {alias: str(number) for alias, number in client.get_registered_model("strict-ensemble").aliases.items()}


def test_where_approval_is_needed_the_verb_wants_a_name_and_a_role(strict: Workspace, client: Any) -> None:
    with pytest.raises(ConfigError, match="no role that approves"):
        promotion.promote(strict, "1")
    with pytest.raises(ConfigError, match="may not act"):
        promotion.promote(strict, "1", signed=Signature("", "validator"))
    assert aliases_of(client) == {}


def test_where_approval_is_needed_retraining_makes_a_shadow_and_no_champion(strict: Workspace, client: Any) -> None:
    assert promotion.nominate(strict)["alias"] == stewardship.SHADOW
    assert aliases_of(client) == {stewardship.SHADOW: "2"}
    assert promotion.nominate(strict)["skipped"] is True


def test_an_alias_moved_by_hand_without_approval_goes_back_with_the_reason_on_the_version(
    strict: Workspace, client: Any, server: str
) -> None:
    view = registry.RestRegistry(server, "strict-ensemble")
    client.set_registered_model_alias("strict-ensemble", stewardship.CHAMPION, "1")
    promotion.look(strict, view)
    assert stewardship.CHAMPION not in view.aliases()
    tags = client.get_model_version("strict-ensemble", "1").tags
    assert tags[registry.TAG_GATE] == registry.PASSED
    assert "未经批准" in tags[registry.TAG_PROMOTION]
    assert "not approved" in tags[registry.TAG_PROMOTION]
    promotion.approve(strict, "1", SIGNED)
    client.set_registered_model_alias("strict-ensemble", stewardship.CHAMPION, "1")
    promotion.look(strict, view)
    assert view.aliases()[stewardship.CHAMPION] == "1"
    assert holder_of(strict) == "1"
    view.close()


def test_an_approved_version_is_promoted_and_rolled_back_by_name(strict: Workspace, client: Any) -> None:
    promotion.promote(strict, "2", signed=SIGNED)
    # As champion it shadows nobody any more.
    assert aliases_of(client) == {stewardship.CHAMPION: "2"}
    assert SIGNED.by in client.get_model_version("strict-ensemble", "2").tags[registry.TAG_APPROVAL]
    with pytest.raises(ConfigError):
        promotion.rollback(strict)
    assert promotion.rollback(strict, SIGNED)["version"] == "1"
    records = promotions.read(strict)
    assert [(r.act, r.version, r.by) for r in records[-2:]] == [
        (Act.APPROVED, "1", "li"),
        (Act.ROLLED_BACK, "1", "li"),
    ]


def test_a_former_champion_whose_bundle_was_exchanged_is_not_rolled_back_to(strict: Workspace, client: Any) -> None:
    promotion.promote(strict, "2", signed=SIGNED)
    true = client.get_model_version("strict-ensemble", "1").tags[registry.TAG_SHA256]
    client.set_model_version_tag("strict-ensemble", "1", registry.TAG_SHA256, "0" * 64)
    with pytest.raises(GateRefused, match="no longer the bundle"):
        promotion.rollback(strict, SIGNED)
    client.set_model_version_tag("strict-ensemble", "1", registry.TAG_SHA256, true)


def test_a_damaged_bundle_is_refused(client: Any, workspace: Workspace, champion: str) -> None:
    number = registered_again(client, champion)
    client.set_model_version_tag(MODEL, number, registry.TAG_SHA256, "0" * 64)
    verdict = gate.run(workspace, number)
    assert [check.name for check in verdict.failed] == ["bundle_integrity"]


def test_a_version_that_does_not_exist_is_not_found(workspace: Workspace, champion: str) -> None:
    with pytest.raises(NotFound, match="no version 99"):
        gate.run(workspace, "99")


def test_without_a_server_the_workspace_keeps_its_own_store(tmp_path: Path) -> None:
    alone = synthetic.workspace(tmp_path, mlflow_port=free_port())
    first = train(alone, synthetic.rows(800, signal=1.5))
    assert first["registered"]["at"] == f"sqlite:///{alone.paths.root / 'mlflow' / 'mlflow.db'}"
    assert promotion.promote(alone)["version"] == first["registered"]["version"]
    assert train(alone, synthetic.rows(800, signal=1.5))["skipped"] is True
    with pytest.raises(NotFound, match="no earlier champion"):
        promotion.rollback(alone)


def test_a_server_that_was_asked_for_and_does_not_answer_is_an_error(tmp_path: Path) -> None:
    away = synthetic.workspace(tmp_path, mlflow_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ModelError, match="does not answer"):
        train(away, synthetic.rows(300))


def test_the_watcher_ends_on_sigterm_and_loads_no_mlflow_while_nothing_happens(server: str, tmp_path: Path) -> None:
    code = """
import os, signal, sys, threading, time
from pathlib import Path
from tests.unit.training import synthetic
from training import verbs
workspace = synthetic.workspace(Path(sys.argv[1]), mlflow_url=sys.argv[2])
def end():
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.05)
    time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end).start()
verbs.watch_promotions(workspace)
print(sorted({"mlflow", "lightgbm", "sklearn", "feast"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), server], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip().endswith("[]")
