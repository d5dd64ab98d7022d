"""The checks of the gate, each with a version that fails it and only it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from credit301.contracts.model import Classification, Column, LogicalType
from credit301.errors import ConfigError, ContractError
from credit301.model import stewardship
from credit301.model.bundle import Bundle, read
from credit301.model.scorer import Scorer
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import gate_checks, gate_rules
from training.frames import matrix
from training.gate import TITLES, Verdict
from training.gate_checks import Candidate
from training.gate_result import Check
from training.train import train


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return synthetic.workspace(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def bundle(workspace: Workspace) -> Bundle:
    return read(Path(train(workspace, synthetic.rows(1500, signal=1.5), register=False)["bundle"]))


@pytest.fixture
def candidate(workspace: Workspace, bundle: Bundle) -> Candidate:
    """A version that passes: tested on fresh rows of the same city."""
    data = synthetic.rows(800, seed=99, signal=1.5)
    rows = data.features().assign(label=data.labels)
    scorer = Scorer(bundle)

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"probability": scorer.score_batch(matrix(scorer, features)).probability})

    return Candidate(workspace, gate_rules.load(workspace), bundle, rows, predict, None)


def failed(candidate: Candidate) -> list[str]:
    return [check.name for check in gate_checks.run(candidate) if not check.passed]


def test_an_honest_version_passes_every_check(candidate: Candidate) -> None:
    checks = gate_checks.run(candidate)
    assert [check.name for check in checks if not check.passed] == []
    assert {check.name for check in checks} == set(TITLES) - {"bundle_integrity", "completed"}


@pytest.mark.parametrize(
    ("threshold", "value", "name"),
    [
        ("minimum_auc", 0.999, "auc_floor"),
        ("maximum_auc", 0.6, "auc_ceiling"),
        ("minimum_ks", 0.99, "ks_floor"),
        ("maximum_calibration_error", 0.0, "calibration_error"),
        ("maximum_brier_ratio", 0.1, "brier"),
        ("maximum_latency_ms_p99", 0.0001, "latency"),
        ("forbidden_features", ("sales",), "forbidden_attributes"),
    ],
)
def test_a_version_beyond_a_threshold_is_refused_for_it(
    candidate: Candidate, threshold: str, value: object, name: str
) -> None:
    rules = candidate.rules.model_copy(update={threshold: value})
    assert failed(replace(candidate, rules=rules)) == [name]


def test_a_version_that_ranks_by_chance_is_refused_for_auc_and_ks(candidate: Candidate) -> None:
    shuffled = np.random.default_rng(1).permutation(candidate.rows["label"])
    names = failed(replace(candidate, rows=candidate.rows.assign(label=shuffled)))
    assert {"auc_floor", "ks_floor"} <= set(names)


def test_an_mlflow_model_that_says_something_else_is_refused(candidate: Candidate) -> None:
    honest = candidate.predict
    off = replace(candidate, predict=lambda features: honest(features) + 1e-6)
    assert failed(off) == ["parity"]


def test_an_mlflow_model_that_gives_no_number_where_the_scorer_does_is_refused(candidate: Candidate) -> None:
    silent = replace(candidate, predict=lambda f: pd.DataFrame({"probability": np.full(len(f), np.nan)}))
    assert failed(silent) == ["parity"]


def test_a_version_far_below_the_champion_on_the_same_test_is_refused(
    candidate: Candidate, tmp_path: Path, bundle: Bundle
) -> None:
    poor = synthetic.workspace(tmp_path)
    weak = read(Path(train(poor, synthetic.rows(1500, signal=0.1), register=False)["bundle"]))
    rules = candidate.rules.model_copy(
        update={"minimum_auc": 0.0, "minimum_ks": 0.0, "maximum_brier_ratio": 9.0, "maximum_calibration_error": 1.0}
    )
    scorer = Scorer(weak)
    challenger = replace(
        candidate,
        rules=rules,
        bundle=weak,
        champion=bundle,
        predict=lambda f: pd.DataFrame({"probability": scorer.score_batch(matrix(scorer, f)).probability}),
    )
    assert failed(challenger) == ["champion"]
    assert failed(replace(candidate, champion=weak)) == []


def test_a_feature_that_the_contracts_no_longer_have_is_named(candidate: Candidate) -> None:
    now = candidate.workspace
    court = now.sources["court"].model_copy(update={"features": now.sources["court"].features[:1]})
    changed = replace(now, sources={**now.sources, "court": court})
    check = next(c for c in gate_checks.run(replace(candidate, workspace=changed)) if c.name == "feature_plan")
    assert not check.passed
    assert "court:amount" in check.en
    assert "court:amount" in check.zh


def test_a_feature_whose_meaning_changed_is_refused(candidate: Candidate) -> None:
    now = candidate.workspace
    court = now.sources["court"]
    cases = court.features[0].model_copy(update={"window_months": 6})
    changed = replace(
        now, sources={**now.sources, "court": court.model_copy(update={"features": (cases, *court.features[1:])})}
    )
    assert failed(replace(candidate, workspace=changed)) == ["feature_plan"]


def test_a_feature_on_a_personal_column_is_refused(candidate: Candidate) -> None:
    now = candidate.workspace
    column = Column(
        name="sales",
        physical_name="sales",
        label=synthetic.text("sales"),
        logical_type=LogicalType.NUMBER,
        sql_type="DOUBLE",
        classification=Classification.PERSONAL,
    )
    tax = now.sources["tax"].model_copy(update={"columns": (column,)})
    assert failed(replace(candidate, workspace=replace(now, sources={**now.sources, "tax": tax}))) == [
        "forbidden_attributes"
    ]


def test_a_version_without_a_strategy_is_refused(candidate: Candidate, tmp_path: Path) -> None:
    workspace = synthetic.workspace(tmp_path)
    (workspace.directory / "strategies" / "credit" / "strategy.yaml").unlink()
    assert failed(replace(candidate, workspace=workspace)) == ["strategies"]


def test_a_strategy_that_reads_what_the_version_has_not_is_refused(candidate: Candidate) -> None:
    fewer = tuple(view for view in candidate.bundle.manifest.views if view.name != "court")
    path = candidate.workspace.directory / "strategies" / "credit" / "policy.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("score.probability * 0.5", "features.court.cases * 0.5"), encoding="utf-8")
    try:
        assert failed(candidate) == []
        manifest = msgspec.structs.replace(candidate.bundle.manifest, views=fewer)
        check = gate_checks._strategies(
            replace(candidate, bundle=msgspec.structs.replace(candidate.bundle, manifest=manifest))
        )
        assert (check.name, check.passed) == ("strategies", False)
        assert "court:cases" in check.en
    finally:
        path.write_text(text, encoding="utf-8")


def test_a_version_tested_by_folds_is_judged_by_what_the_nested_evaluation_found(
    candidate: Candidate, tmp_path: Path
) -> None:
    workspace = synthetic.workspace(tmp_path, "kfold")
    found = read(Path(train(workspace, synthetic.rows(200), register=False)["bundle"]))
    measured = gate_checks.measure(candidate, found)
    assert measured.auc == found.manifest.metrics["auc"]


def test_a_verdict_says_why_in_both_languages_and_in_a_table() -> None:
    good = Check("auc_floor", passed=True, value="0.8", limit=">= 0.7")
    bad = Check("ks_floor", passed=False, value="0.1", limit=">= 0.2", zh="KS 过低", en="KS is too low")
    verdict = Verdict("3", (good, bad), "0" * 64, "2026-01-01T00:00:00+00:00")
    assert not verdict.passed
    assert verdict.reason == "KS 过低 | KS is too low"
    assert "| KS 下限 · KS floor | **未通过 refused** | 0.1 | >= 0.2 |" in verdict.description()
    assert verdict.report()["checks"][1] == ["ks_floor", False, "0.1", ">= 0.2"]


def test_a_workspace_without_rules_promotes_nothing(tmp_path: Path) -> None:
    workspace = synthetic.workspace(tmp_path)
    (workspace.directory / gate_rules.RULES).unlink()
    with pytest.raises(ConfigError, match=r"gate\.yaml"):
        gate_rules.load(workspace)


def test_a_misspelt_threshold_is_an_error_with_its_line(tmp_path: Path) -> None:
    workspace = synthetic.workspace(tmp_path, gate=synthetic.GATE.replace("minimum_ks", "minimun_ks"))
    with pytest.raises(ContractError, match=r"gate\.yaml:\d+"):
        gate_rules.load(workspace)


def test_the_reference_citys_rules_are_valid(wuhan: Workspace) -> None:
    assert gate_rules.load(wuhan).minimum_auc > 0.5


STEWARDSHIP = 'segments: [{feature: "registry:sector", title: {zh: 行业, en: sector}}]\n'
FAIR = gate_rules.Fairness(
    minimum_rows=50,
    minimum_defaults=5,
    minimum_approval_ratio=0.1,
    maximum_auc_gap=0.5,
    maximum_calibration_gap=0.5,
)


@pytest.fixture
def fair(candidate: Candidate) -> Candidate:
    """The honest version, held to rules on the groups of the made-up sector, which are wide enough for it."""
    (candidate.workspace.directory / stewardship.PLACE).write_text(STEWARDSHIP, encoding="utf-8")
    rules = candidate.rules.model_copy(
        update={
            "fairness": FAIR,
            "stability": gate_rules.Stability(maximum_score_psi=0.25, maximum_champion_psi=0.25),
        }
    )
    rows = synthetic.rows(1500, signal=1.5)
    return replace(candidate, rules=rules, reference=rows.features().assign(label=rows.labels))


def test_an_honest_version_is_fair_and_stable_and_says_how(fair: Candidate) -> None:
    checks = {check.name: check for check in gate_checks.run(replace(fair, champion=fair.bundle))}
    assert [check.name for check in checks.values() if not check.passed] == []
    assert checks["stability_champion"].value == "0.0000"
    assert checks["fairness_auc"].value.endswith(")")
    assert float(checks["speed"].value.split()[0]) > 0


@pytest.mark.parametrize(
    ("threshold", "value", "name"),
    [
        ("minimum_approval_ratio", 1.0, "fairness_approval"),
    ],
)
def test_a_version_that_treats_a_group_worse_is_refused_for_it(
    fair: Candidate, threshold: str, value: float, name: str
) -> None:
    fairness = FAIR.model_copy(update={threshold: value})
    strict = replace(fair, rules=fair.rules.model_copy(update={"fairness": fairness}))
    failing = [check for check in gate_checks.run(strict) if not check.passed]
    assert [check.name for check in failing] == [name]
    assert "registry:sector=" in failing[0].en
    assert "registry:sector=" in failing[0].zh


def test_a_version_that_does_not_rank_one_group_is_refused_for_it(fair: Candidate) -> None:
    rows = fair.rows.copy()
    of = (rows["registry__sector"] == "A").to_numpy()
    rows.loc[of, "label"] = np.random.default_rng(1).permutation(rows.loc[of, "label"])
    rules = fair.rules.model_copy(update={"fairness": FAIR.model_copy(update={"maximum_auc_gap": 0.05})})
    failing = {check.name: check for check in gate_checks.run(replace(fair, rows=rows, rules=rules))}
    assert not failing["fairness_auc"].passed
    assert "registry:sector=A" in failing["fairness_auc"].zh


def test_a_version_that_is_wrong_on_one_group_is_refused_for_it(fair: Candidate) -> None:
    rows = fair.rows.copy()
    of = (rows["registry__sector"] == "C").to_numpy()
    rows.loc[of, "label"] = 1
    rules = fair.rules.model_copy(update={"fairness": FAIR.model_copy(update={"maximum_calibration_gap": 0.05})})
    assert "fairness_calibration" in failed(replace(fair, rows=rows, rules=rules))


def test_a_small_group_is_not_judged(fair: Candidate) -> None:
    fairness = FAIR.model_copy(update={"minimum_rows": 10_000, "minimum_approval_ratio": 1.0, "maximum_auc_gap": 0.0})
    assert failed(replace(fair, rules=fair.rules.model_copy(update={"fairness": fairness}))) == []


def test_scores_that_have_moved_since_training_are_refused(fair: Candidate) -> None:
    rows = fair.rows.copy()
    rows["court__cases"] = rows["court__cases"] + 3.0
    assert "stability_training" in failed(replace(fair, rows=rows))


def test_scores_that_mean_something_else_than_the_champions_are_refused(fair: Candidate) -> None:
    manifest = fair.bundle.manifest
    shifted = msgspec.structs.replace(
        manifest, ensemble=msgspec.structs.replace(manifest.ensemble, intercept=manifest.ensemble.intercept + 2.0)
    )
    champion = msgspec.structs.replace(fair.bundle, manifest=shifted)
    assert "stability_champion" in failed(replace(fair, champion=champion))


def test_a_slow_version_is_refused_for_it(candidate: Candidate) -> None:
    rules = candidate.rules.model_copy(update={"maximum_microseconds_per_row": 0.001})
    assert failed(replace(candidate, rules=rules)) == ["speed"]
