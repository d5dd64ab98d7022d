"""Reasons of a trained model are faithful to its score, stable, and free of what law forbids."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from credit301.contracts.model import Classification
from credit301.domain.decision import Reason
from credit301.model.reasons import Explainer
from credit301.model.scorer import Scorer
from credit301.settings import Settings
from credit301.strategy import folder
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.unit.training import synthetic
from training import bundling, fitting, gate_rules, splits
from training.frames import matrix
from training.specs import source_specs

ROWS = 200


class Trained:
    """A trained model with rows that it has never seen, and the usual value of each feature."""

    def __init__(self, workspace: Workspace) -> None:
        data = synthetic.rows(3000, seed=21, missing=0.1)
        plan = splits.plan(data, synthetic.split_of(workspace))
        learnt, tested = plan.repeats[0][0].train, plan.repeats[0][0].test
        fitted = fitting.fit(data, learnt, plan, source_specs(workspace), threads=1)
        manifest, files = bundling.assemble(
            workspace,
            fitted,
            data.categories(["registry__sector"], learnt),
            version="-",
            created_at="-",
            cut_off=bundling.highest_cut_off(workspace),
        )
        self.scorer = Scorer(bundling.in_memory(manifest, files))
        self.explainer = Explainer(manifest)
        self.strategy = folder.find(workspace)
        self.vectors = matrix(self.scorer, data.frame.iloc[tested[:ROWS]])
        self.usual = np.nanmedian(matrix(self.scorer, data.frame.iloc[learnt]), axis=0)

    def reasons(self, vector: np.ndarray) -> list[Reason]:
        """Feature reasons of a decline and of an approval of the same applicant."""
        score = self.scorer.score(vector)
        values = {key: None if np.isnan(v) else float(v) for key, v in zip(self.scorer.plan, vector, strict=True)}
        found: list[Reason] = []
        for probability in (0.0001, 0.9999):
            verdict = self.strategy.decide(
                probability=probability, score=600, values=values, amount=Decimal(20_000), term_months=12
            )
            found += self.explainer.explain(score, values, verdict, "A")
        return [reason for reason in found if reason.kind == "feature"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(synthetic.workspace(tmp_path_factory.mktemp("reasons")))


def test_without_a_reasons_evidence_the_score_moves_the_way_that_it_says(model: Trained) -> None:
    """The named feature takes its usual value: an adverse reason then no longer raises the risk."""
    told, kept = 0, 0
    strongest = []
    for vector in model.vectors:
        before = model.scorer.score(vector).log_odds
        for number, reason in enumerate(sorted(model.reasons(vector), key=lambda r: -abs(r.contribution or 0.0))):
            usual = vector.copy()
            place = model.scorer.plan.index(reason.code)
            usual[place] = model.usual[place]
            moved = model.scorer.score(usual).log_odds - before
            as_said = moved < 1e-9 if reason.direction == "adverse" else moved > -1e-9
            told, kept = told + 1, kept + as_said
            if number == 0:
                strongest.append(as_said)
    assert told > ROWS
    assert np.mean(strongest) > 0.99
    assert kept / told > 0.95


def test_a_source_withdrawn_moves_the_score_by_what_was_said_of_it(model: Trained) -> None:
    """Without the source that raised the risk most the risk falls, and the other way round."""
    agreed = []
    for vector in model.vectors:
        score = model.scorer.score(vector)
        most = max((item for item in score.sources if item.has_data), key=lambda item: abs(item.contribution))
        lost = vector.copy()
        lost[[i for i, key in enumerate(model.scorer.plan) if key.startswith(f"{most.source}:")]] = np.nan
        if not np.isnan(lost).all():
            agreed.append((model.scorer.score(lost).log_odds < score.log_odds) == (most.contribution > 0))
    assert np.mean(agreed) > 0.97


def test_reasons_stay_the_same_under_a_trace_of_noise(model: Trained) -> None:
    noise = np.random.default_rng(8)
    same = []
    for vector in model.vectors:
        shaken = np.where(vector == np.round(vector), vector, vector * (1 + 1e-6 * noise.standard_normal(len(vector))))
        before, after = ([(r.code, r.direction) for r in model.reasons(v)] for v in (vector, shaken))
        same.append(before == after)
    assert np.mean(same) > 0.98


def test_no_feature_of_the_reference_city_tells_what_law_forbids() -> None:
    """Nothing of what a reason could name is, or is computed from, a forbidden attribute or a personal value."""
    workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", Settings(_env_file=None))
    words = gate_rules.load(workspace).forbidden_features
    assert {"gender", "ethnicity", "religion"} <= set(words)
    for contract in workspace.featured():
        personal = {column.name for column in contract.columns if column.classification is Classification.PERSONAL}
        for feature in contract.features:
            assert not feature.tells & personal, f"{contract.name}:{feature.name}"
            assert not [word for word in words for name in {feature.name, *feature.reads} if word in name]
