"""Scoring: exact, explained to the last digit, and never of nothing."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.domain import scale
from credit301.errors import ModelError
from credit301.model import bundle
from credit301.model.bundle import Calibration, Identity, Isotonic, Platt
from credit301.model.scorer import UNKNOWN_CATEGORY, NothingKnown, Scalar, Scorer, calibrate
from tests.support.scoring import BAD, GOOD, NUMBERS, STATUSES, rows, trained


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return _scorer(tmp_path_factory.mktemp("bundle"))


def _scorer(folder: Path, calibration: Calibration | None = None) -> Scorer:
    model = trained()
    manifest = model.manifest
    if calibration is not None:
        manifest = msgspec.structs.replace(manifest, calibration=calibration)
    return Scorer(bundle.write(folder / "b", manifest, model.files))


def _matrix(count: int, seed: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [rows(view, count, rng) for view in NUMBERS]
    for part in parts:
        part[rng.random(count) < 0.25] = np.nan
    matrix = np.concatenate(parts, axis=1)
    return matrix[~np.isnan(matrix).all(axis=1)]


def test_the_probability_is_the_formula_of_the_manifest(scorer: Scorer) -> None:
    model = trained()
    z = model.manifest.ensemble.intercept
    for term, sub in zip(model.manifest.ensemble.terms, model.manifest.submodels, strict=True):
        values = [GOOD[f"{sub.view}:{name}"] for name in sub.features]
        row = [STATUSES.index(value) if isinstance(value, str) else value for value in values]
        z += term.weight * (model.boosters[sub.name].predict([row], raw_score=True)[0] + sub.logit_shift)
    score = scorer.score(GOOD)
    assert score.log_odds == pytest.approx(z, abs=1e-12)
    assert score.probability == pytest.approx(1 / (1 + math.exp(-(0.9 * z - 1.0))), abs=1e-12)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_contributions_explain_the_log_odds_exactly(scorer: Scorer, seed: int) -> None:
    for row in _matrix(4, seed):
        score = scorer.score(row)
        by_source = {item.source: item.contribution for item in score.sources}
        assert scorer.baseline + sum(by_source.values()) == pytest.approx(score.log_odds, abs=1e-10)
        for item in score.sources:
            of_features = [c for key, c in score.contributions.items() if key.startswith(f"{item.source}:")]
            if item.has_data:
                assert sum(of_features) == pytest.approx(item.contribution, abs=1e-12)
            else:
                assert of_features == []
        assert sum(item.contribution for item in score.dimensions) == pytest.approx(sum(by_source.values()), abs=1e-10)


def test_the_baseline_is_the_same_for_every_applicant(scorer: Scorer) -> None:
    assert {scorer.score(row).baseline for row in _matrix(20)} == {scorer.baseline}


def test_one_row_and_a_batch_give_the_same_numbers(scorer: Scorer) -> None:
    matrix = _matrix(300)
    batch = scorer.score_batch(matrix)
    single = [scorer.score(row) for row in matrix]
    np.testing.assert_allclose(batch.probability, [s.probability for s in single], rtol=0, atol=1e-14)
    np.testing.assert_allclose(batch.log_odds, [s.log_odds for s in single], rtol=0, atol=1e-12)
    assert batch.score.tolist() == [s.score for s in single]
    missing = [{name for name, logits in batch.sources.items() if np.isnan(logits[i])} for i in range(len(matrix))]
    assert missing == [set(s.missing_sources) for s in single]


def test_a_source_without_data_counts_its_missing_logit_and_is_named(scorer: Scorer) -> None:
    known = {key: value for key, value in GOOD.items() if not key.startswith("tax_declaration")}
    score = scorer.score(known)
    tax = next(item for item in score.sources if item.source == "tax_declaration")
    assert score.missing_sources == ("tax_declaration",)
    assert (tax.has_data, tax.probability, tax.score) == (False, None, None)
    others = sum(item.contribution for item in score.sources if item.source != "tax_declaration")
    with_it = scorer.score(GOOD)
    same = sum(item.contribution for item in with_it.sources if item.source != "tax_declaration")
    assert others == pytest.approx(same, abs=1e-12)
    assert score.log_odds - with_it.log_odds == pytest.approx(tax.contribution - _contribution(with_it), abs=1e-12)


def _contribution(score: object) -> float:
    return next(item.contribution for item in score.sources if item.source == "tax_declaration")  # type: ignore[attr-defined]


def test_null_values_and_absent_keys_are_the_same_absence(scorer: Scorer) -> None:
    absent = {key: value for key, value in GOOD.items() if not key.startswith("judicial")}
    null = {**absent, **{key: None for key in GOOD if key.startswith("judicial")}}
    nan = {**absent, **{key: math.nan for key in GOOD if key.startswith("judicial")}}
    assert scorer.score(absent) == scorer.score(null) == scorer.score(nan)


def test_a_row_of_nulls_is_never_scored(scorer: Scorer) -> None:
    with pytest.raises(NothingKnown):
        scorer.score({})
    with pytest.raises(NothingKnown, match="2 rows"):
        scorer.score_batch(np.vstack([np.full((2, len(scorer.plan)), np.nan), _matrix(3)]))


def test_a_category_never_seen_goes_to_the_missing_bin_but_is_data(scorer: Scorer) -> None:
    key = "business_registration:status_last"
    unseen, null = scorer.score({**GOOD, key: "merged"}), scorer.score({**GOOD, key: None})
    assert scorer.encode({key: "merged"})[scorer.plan.index(key)] == UNKNOWN_CATEGORY
    assert unseen.log_odds == null.log_odds
    only = scorer.score({key: "merged"})
    assert "business_registration" not in only.missing_sources


def test_worse_records_score_worse(scorer: Scorer) -> None:
    good, bad = scorer.score(GOOD), scorer.score(BAD)
    assert bad.probability > good.probability
    assert bad.score < good.score


def test_a_dimension_is_scored_as_if_only_it_left_the_baseline(scorer: Scorer) -> None:
    score = scorer.score(GOOD)
    tax = next(item for item in score.dimensions if item.dimension == "tax")
    assert tax.probability is not None
    assert tax.probability == pytest.approx(
        scale.probability(0.9 * (scorer.baseline + tax.contribution) - 1.0), abs=1e-15
    )


@pytest.mark.parametrize(
    "values", [{"tax_declaration:nonsense": 1.0}, {"tax_declaration:declared_sales_12m_sum": "many"}]
)
def test_values_that_do_not_fit_the_plan_are_refused(scorer: Scorer, values: dict[str, Scalar]) -> None:
    with pytest.raises(ModelError):
        scorer.score(values)


def test_arrays_of_another_width_are_refused(scorer: Scorer) -> None:
    with pytest.raises(ModelError, match="shape"):
        scorer.score(np.zeros(3))
    with pytest.raises(ModelError, match="shape"):
        scorer.score_batch(np.zeros((2, 3)))
    with pytest.raises(ModelError, match="values"):
        scorer.encode_row([1.0])


@given(
    z=st.floats(-20, 20),
    other=st.floats(-20, 20),
    calibration=st.one_of(
        st.just(Identity()),
        st.builds(Platt, a=st.floats(0.01, 5), b=st.floats(-5, 5)),
        st.lists(st.floats(-10, 10), min_size=1, max_size=8, unique=True).map(
            lambda points: Isotonic(z=tuple(sorted(points)), log_odds=tuple(sorted(point * 0.7 for point in points)))
        ),
    ),
)
def test_calibration_never_changes_the_order(z: float, other: float, calibration: Calibration) -> None:
    low, high = sorted((z, other))
    # The interpolation itself may be off by a rounding.
    assert calibrate(calibration, low) <= calibrate(calibration, high) + 1e-9


def test_isotonic_calibration_is_linear_between_its_points_and_flat_outside() -> None:
    calibration = Isotonic(z=(-1.0, 1.0), log_odds=(-3.0, 1.0))
    assert [calibrate(calibration, z) for z in (-9.0, -1.0, 0.0, 1.0, 9.0)] == [-3.0, -3.0, -1.0, 1.0, 1.0]


def test_the_calibration_of_the_manifest_is_the_one_used(tmp_path: Path) -> None:
    score = _scorer(tmp_path, Identity()).score(GOOD)
    assert score.probability == scale.probability(score.log_odds)


def test_a_bundle_whose_model_does_not_load_is_an_error(tmp_path: Path) -> None:
    model = trained()
    files = {**model.files, "models/tax_declaration.txt": b"\xff\xfe"}
    with pytest.raises(ModelError, match="not a text model"):
        Scorer(bundle.write(tmp_path / "b", model.manifest, files))


def test_trees_too_large_for_tables_score_the_same(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credit301.model.scorer.fits", lambda _text: False)
    slow = _scorer(tmp_path)
    for row in _matrix(60):
        told, expected = scorer.score(row), slow.score(row)
        assert (told.log_odds, told.probability, told.missing_sources) == (
            expected.log_odds,
            expected.probability,
            expected.missing_sources,
        )
        assert told.contributions == pytest.approx(expected.contributions, abs=1e-12)
