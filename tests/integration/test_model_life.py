"""The life of a model end to end on a made-up city: champion, drift, retraining, shadow, comparison, pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from credit301.errors import NotFound
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.identity.keyed_hash import KeyedHash
from credit301.model import stewardship
from credit301.model.promotions import Signature
from credit301.workspace import Workspace
from tests.support.ports import free_port
from tests.unit.training import synthetic
from training import compare, life_verbs, memory, monitoring, promotion, registry, verbs
from training.dataset import TrainingSet
from training.train import train

RULES = """\
approval: {required: true, roles: {validator: {title: {zh: 验证, en: validation}}}}
segments: [{feature: "registry:sector", title: {zh: 行业, en: sector}}]
monitoring: {minimum_rows: 30, minimum_defaults: 5}
"""
SIGNED = Signature("li", "validator", "read the card")


def keep(workspace: Workspace, data: TrainingSet) -> None:
    """Make ``data`` what the verb ``training_set`` has left."""
    workspace.paths.training_set.parent.mkdir(parents=True, exist_ok=True)
    data.frame.to_parquet(workspace.paths.training_set, index=False)


def later(data: TrainingSet, *, moved: float) -> TrainingSet:
    """``data`` and two more months of decisions, whose cases in court have gone up by ``moved``."""
    frame = synthetic.rows(300, seed=21, signal=1.5).frame
    last = data.frame["decision_time"].max()
    days = pd.to_timedelta(np.linspace(1, 58, len(frame)), "D")
    frame = frame.assign(decision_time=last.normalize() + pd.offsets.MonthBegin() + days)
    frame["uscc"] = "N" + frame["uscc"]
    frame["court__cases"] = frame["court__cases"] + moved
    return TrainingSet(pd.concat([data.frame, frame], ignore_index=True), "uscc")


@pytest.fixture(scope="module")
def first() -> TrainingSet:
    return synthetic.rows(1500, signal=1.5)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, first: TrainingSet) -> Workspace:
    """With a champion, and then outcomes of two more months in which the city has changed."""
    # What has moved by so much is not calibrated on its own test; the gate is not the matter here.
    gate = synthetic.GATE.replace("brier_ratio: 1.0", "brier_ratio: 9.0").replace("error: 0.15", "error: 1.0")
    made = synthetic.workspace(tmp_path_factory.mktemp("life"), gate=gate, mlflow_port=free_port())
    (made.directory / stewardship.PLACE).write_text(RULES, encoding="utf-8")
    assert life_verbs.monitor(made)["skipped"] is True
    train(made, first)
    promotion.promote(made, signed=SIGNED)
    keep(made, later(first, moved=3.0))
    decide(made)
    return made


def decide(workspace: Workspace) -> None:
    """What an endpoint would have recorded."""
    hashed = KeyedHash.from_settings(workspace.settings)
    with AuditWriter.of(workspace) as audit:
        for number, outcome in enumerate(("approve", "decline", "approve")):
            said: dict[str, str | int | float] = {"probability": 0.1 * number, "outcome": outcome}
            by_champion = {**said, "alias": "champion", "registered": "1"}
            by_shadow = {**said, "outcome": "approve", "registered": "2"}
            for event, detail in ((Event.DECIDED, by_champion), (Event.SHADOWED, by_shadow)):
                entity = hashed(f"A{number}")
                audit.append(Entry(event=event, who="bank", entity=entity, decision=f"d{number}", detail=detail))


@pytest.fixture(scope="module")
def watched(workspace: Workspace) -> dict[str, Any]:
    return life_verbs.monitor(workspace)


@pytest.fixture(scope="module")
def shadow(workspace: Workspace, watched: dict[str, Any], first: TrainingSet) -> str:
    """The version that the drift has led to."""
    assert "score" in life_verbs.retraining_due(workspace)["due"]
    train(workspace, later(first, moved=3.0))
    nominated = life_verbs.nominate(workspace)
    assert nominated["alias"] == stewardship.SHADOW
    return str(nominated["version"])


def test_months_that_were_learnt_from_raise_nothing_and_a_changed_month_does(
    workspace: Workspace, watched: dict[str, Any]
) -> None:
    assert "the PSI of the score" in watched["drift"]
    before = life_verbs.monitor(workspace, month="2024-03")
    assert before["drift"] is None
    assert "has learnt from this month" in before["not_judged"]
    assert watched["not_judged"] is None
    # Looking back at an old month takes nothing back of what is known of the newest.
    assert life_verbs.drifted(workspace)["alarms"]


def test_an_unchanged_city_does_not_drift(tmp_path: Path, first: TrainingSet) -> None:
    calm = synthetic.workspace(tmp_path, mlflow_port=free_port())
    (calm.directory / stewardship.PLACE).write_text(RULES.replace("required: true", "required: false"))
    train(calm, first)
    assert promotion.nominate(calm)["alias"] == stewardship.CHAMPION
    keep(calm, later(first, moved=0.0))
    assert life_verbs.monitor(calm)["drift"] is None
    assert life_verbs.drifted(calm)["skipped"] is True
    # A month with too few outcomes is not called calm.
    (calm.directory / stewardship.PLACE).write_text("monitoring: {minimum_rows: 10000}")
    found = life_verbs.monitor(calm)
    assert "of at least 10000" in found["not_judged"]
    page = Path(found["page"]).read_text(encoding="utf-8")
    assert "of at least 10000" in page
    assert "no drift found" not in page


def test_the_figures_are_in_parquet_by_month_and_segment_and_in_mlflow(
    workspace: Workspace, watched: dict[str, Any]
) -> None:
    query = "select segment, value, metric, number from read_parquet(?) where month = ?"
    rows = duckdb.execute(query, [watched["table"], watched["month"]]).fetchall()
    found = {(segment, value, metric): number for segment, value, metric, number in rows}
    assert found["", "", "auc"] == pytest.approx(watched["auc"])
    assert {value for segment, value, _ in found if segment == "registry:sector"} == {"A", "B", "C", "-"}
    assert found["feature", "court__cases", "psi_excess"] > 1
    assert found["feature", "registry__age", "psi_excess"] < 0.25
    client = registry.connect(registry.target(workspace))
    version = client.get_model_version("made_up-ensemble", "1")
    history = client.get_metric_history(version.run_id, "monitor_auc")
    step = int(watched["month"].replace("-", ""))
    life_verbs.monitor(workspace)
    assert [point.value for point in history if point.step == step] == [pytest.approx(watched["auc"])]
    again = client.get_metric_history(version.run_id, "monitor_auc")
    assert [point.step for point in again].count(step) == 1


def test_what_is_read_at_once_changes_nothing_that_is_found(
    workspace: Workspace, shadow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
        watched = monitoring.watch(workspace)
        assert watched is not None
        return watched.table, watched.decisions, compare.summary(compare.compare(workspace, "1", shadow))

    at_once = found()
    monkeypatch.setattr(memory, "VALUES_AT_ONCE", 200)
    in_parts = found()
    for whole, part in zip(at_once[:2], in_parts[:2], strict=True):
        pd.testing.assert_frame_equal(whole, part)
    assert in_parts[2] == at_once[2]


def test_a_month_without_outcomes_is_an_error_that_says_which_there_are(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="There are outcomes of 2024-01"):
        life_verbs.monitor(workspace, month="2031-01")


def test_a_drift_leads_to_a_shadow_that_the_champion_knows_nothing_of(workspace: Workspace, shadow: str) -> None:
    client = registry.connect(registry.target(workspace))
    aliases = {alias: str(number) for alias, number in client.get_registered_model("made_up-ensemble").aliases.items()}
    assert aliases == {stewardship.CHAMPION: "1", stewardship.SHADOW: shadow}
    assert life_verbs.retraining_due(workspace)["skipped"] is True


def test_a_comparison_has_measures_agreement_and_a_swap_set_that_adds_up(workspace: Workspace, shadow: str) -> None:
    found = life_verbs.compare(workspace)
    assert (found["a"], found["b"]) == ("1", shadow)
    assert sum(part["rows"] for part in found["swap_set"].values()) == found["rows"]
    assert -1 <= found["rank_correlation"] <= 1
    assert found["live"] == {
        "decisions": 3,
        "same_outcome": pytest.approx(2 / 3, abs=1e-6),
        "mean_difference": 0.0,
        "outcomes": 0,
    }
    same = life_verbs.compare(workspace, "1", "1")
    assert (same["rank_correlation"], same["mean_difference"], same["psi"]) == (pytest.approx(1), 0, 0)
    assert same["swap_set"]["only_a"]["rows"] == same["swap_set"]["only_b"]["rows"] == 0


def test_the_pages_say_who_approved_what_was_found_and_by_what_right(
    workspace: Workspace, watched: dict[str, Any], shadow: str
) -> None:
    made = verbs.report(workspace, "champion")
    card = Path(made["page"]).read_text(encoding="utf-8")
    for text in ("read the card", "validator", "AUC", "公平性", "Fairness", "lawful basis", "冠军", "rollback"):
        assert text in card
    client = registry.connect(registry.target(workspace))
    run = client.get_model_version("made_up-ensemble", "1").run_id
    assert [item.path for item in client.list_artifacts(run, "governance")] == [made["artifact"]]
    monitor = Path(watched["page"]).read_text(encoding="utf-8")
    assert "漂移" in monitor
    for page in (card, monitor):
        # Plots stand in the page, whole, and nothing is fetched from elsewhere.
        assert page.count("<svg") == page.count("</svg>") >= 4
        assert 'src="http' not in page
    index = (Path(made["page"]).parent / "index.html").read_text(encoding="utf-8")
    assert "version-1.html" in index
    assert "monitor.html" in index


def test_a_report_without_a_version_is_of_the_last_training(workspace: Workspace, shadow: str) -> None:
    made = verbs.report(workspace)
    assert made["page"].endswith(f"version-{shadow}.html")
    assert json.loads(json.dumps(made["models"]))
