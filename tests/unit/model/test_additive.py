"""The additive model: a sum of functions whose weights are solved again for whatever sources are there."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.errors import ModelError
from credit301.model import additive
from credit301.model.additive import Additive, AdditiveSpec, Curve, Levels
from credit301.model.booster import FloatArray
from credit301.model.bounded import Nearby, solve
from credit301.model.bundle import AdditiveTerm, Bundle
from credit301.model.scorer import Scorer
from tests.support.scoring import BAD, GOOD, trained

PLAN = ("tax:late", "tax:sales", "court:cases", "court:kind")
SPEC = AdditiveSpec(
    curves=(
        Curve("tax:late", 1, (0.0, 1.0, 5.0), (-1.0, 0.5, 3.0), (-1.2, 1.0, 2.0)),
        Curve("tax:sales", -1, (10.0, 20.0), (-1.0, 1.0), (-1.5, 1.5)),
        Curve("court:cases", 1, (0.0, 2.0), (-0.5, 2.0), (-0.3, 2.5)),
    ),
    categories=(Levels("court:kind", (0, 2), (0.5, 0.25)),),
)


def sums(spec: AdditiveSpec = SPEC, seed: int = 1) -> FloatArray:
    """Sums of squares of made-up columns that depend on one another, with a target that they tell something of."""
    random = np.random.default_rng(seed)
    table = random.normal(size=(200, spec.width)) + random.normal(size=(200, 1))
    table[:, 0] = 1.0
    target = table @ np.where(spec.signs == 0, 0.3, 0.4 * spec.signs) + random.normal(size=200)
    return np.column_stack([table.T @ table + np.eye(spec.width), table.T @ target])


@pytest.fixture(scope="module")
def model() -> Additive:
    return Additive(SPEC, sums(), PLAN)


@given(seed=st.integers(0, 10_000), width=st.integers(1, 12), warm=st.booleans())
@settings(max_examples=60, deadline=None)
def test_weights_have_the_signs_that_they_may_have_and_none_would_be_better(seed: int, width: int, warm: bool) -> None:
    random = np.random.default_rng(seed)
    table = random.normal(size=(width + 5, width)) + random.normal(size=(width + 5, 1))
    gram, target = table.T @ table + 0.1 * np.eye(width), random.normal(size=width) * 5
    signs = random.integers(-1, 2, width).astype(np.int8)
    weights = solve(gram, target, signs, random.random(width) < 0.5 if warm else None)
    slope = target - gram @ weights
    assert (signs * weights >= 0).all()
    moved = (weights != 0) | (signs == 0)
    np.testing.assert_allclose(slope[moved], 0, atol=1e-6)
    assert (signs[~moved] * slope[~moved] <= 1e-6).all()


def test_sums_that_cannot_be_solved_are_an_error() -> None:
    with pytest.raises(ModelError, match="singular"):
        solve(np.zeros((2, 2)), np.ones(2), np.zeros(2, dtype=np.int8))


values = st.one_of(st.just(float("nan")), st.floats(-50, 50), st.just(float("inf")), st.just(-float("inf")))


@given(row=st.tuples(values, values, values, st.sampled_from([float("nan"), -1.0, 0.0, 1.0, 2.0, 9.0])))
@settings(max_examples=150, deadline=None)
def test_one_row_and_many_are_scored_alike_and_always_to_a_number(model: Additive, row: tuple[float, ...]) -> None:
    vector = np.array(row)
    known = ~np.isnan(vector)
    present = {"tax": bool(known[:2].any()), "court": bool(known[2:].any())}
    weights = model.weights(frozenset(name for name, there in present.items() if not there))
    one = weights.intercept + model.functions(vector, weights).sum()
    many = model.batch(np.vstack([vector, vector]), {name: np.array([there] * 2) for name, there in present.items()})
    assert np.isfinite(one)
    np.testing.assert_allclose(many, one, rtol=0, atol=1e-12)


@given(low=st.floats(-5, 60), high=st.floats(-5, 60), missing=st.sampled_from([(), ("court",), ("tax",)]))
@settings(max_examples=60, deadline=None)
def test_it_rises_and_falls_as_the_contract_says_also_without_a_source(
    model: Additive, low: float, high: float, missing: tuple[str, ...]
) -> None:
    low, high = sorted((low, high))
    weights = model.weights(frozenset(missing))
    for place, sign in ((0, 1), (1, -1), (2, 1)):
        vectors = [np.full(len(PLAN), np.nan) for _ in range(2)]
        vectors[0][place], vectors[1][place] = low, high
        fell, rose = (model.functions(vector, weights).sum() for vector in vectors)
        assert sign * (rose - fell) >= -1e-12


def test_what_is_not_known_adds_nothing_and_an_unknown_category_is_none_of_the_known(model: Additive) -> None:
    weights = model.weights(frozenset())
    assert model.functions(np.full(4, np.nan), weights).tolist() == [0.0] * 4
    codes = {code: model.functions(np.array([np.nan, np.nan, np.nan, code]), weights)[3] for code in (-1.0, 1.0, 7.0)}
    assert len(set(codes.values())) == 1


def there(model: Additive, rows: FloatArray) -> dict[str, Any]:
    """By source: which rows have any value of it."""
    keys = (*(curve.key for curve in model.spec.curves), *(item.key for item in model.spec.categories))
    views = np.array([key.partition(":")[0] for key in keys])
    return {name: (~np.isnan(rows))[:, views == name].any(axis=1) for name in model.sources}


def wide(seed: int, sources: int) -> tuple[Additive, FloatArray]:
    """A model of so many sources, whose columns depend on one another, and rows that lack some of them each."""
    random = np.random.default_rng(seed)
    curves, categories = [], []
    for source in range(sources):
        for feature in range(int(random.integers(1, 5))):
            at = np.sort(random.normal(size=4))
            heights = (tuple(np.sort(random.normal(size=4)).tolist()) for _ in range(2))
            key = f"s{source}:f{feature}"
            curves.append(Curve(key, int(random.integers(-1, 2)), tuple(at.tolist()), *heights))
        if random.random() < 0.5:
            categories.append(Levels(f"s{source}:kind", (0, 1), (0.5, 0.3)))
    spec = AdditiveSpec(tuple(curves), tuple(categories))
    plan = (*(curve.key for curve in curves), *(item.key for item in categories))
    rows = random.normal(size=(40, len(plan)))
    rows[:, len(curves) :] = random.integers(-1, 3, (40, len(categories)))
    gone = random.random((40, sources)) < random.uniform(0.05, 0.9)
    rows[np.array([gone[:, int(key[1 : key.index(":")])] for key in plan]).T] = np.nan
    # Fewer rows than columns, and two sources alike in all but a little: as ill-conditioned as the penalty lets it be.
    table = random.normal(size=(20, spec.width)) + 2 * random.normal(size=(20, 1))
    table[:, 0] = 1.0
    gram = table.T @ table + 0.05 * np.eye(spec.width)
    return Additive(spec, np.column_stack([gram, table.T @ random.normal(size=20) * 3]), plan), rows


@given(seed=st.integers(0, 100_000), sources=st.integers(1, 14), twice=st.booleans())
@settings(max_examples=60, deadline=None)
def test_many_sets_of_missing_sources_are_solved_together_as_each_is_by_itself(
    seed: int, sources: int, twice: bool
) -> None:
    model, rows = wide(seed, sources)
    present = there(model, rows)
    if twice:
        model.batch(rows[::2], there(model, rows[::2]))
    together = model.batch(rows, present)
    for number, row in enumerate(rows):
        weights = model.weights(frozenset(name for name, known in present.items() if not known[number]))
        alone = weights.intercept + model.functions(row, weights).sum()
        assert together[number] == pytest.approx(alone, rel=0, abs=1e-9)


def test_what_a_row_is_given_does_not_depend_on_the_rows_beside_it() -> None:
    one, rows = wide(3, 9)
    other, _ = wide(3, 9)
    together = one.batch(rows, there(one, rows)).tolist()
    assert [other.batch(row[None], there(other, row[None]))[0] for row in rows] == together


@given(seed=st.integers(0, 10_000), width=st.integers(2, 25))
@settings(max_examples=80, deadline=None)
def test_nearby_problems_are_solved_as_each_is_by_itself(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    table = random.normal(size=(width + 5, width)) + random.normal(size=(width + 5, 1))
    gram, target = table.T @ table + 0.1 * np.eye(width), random.normal(size=width) * 5
    signs = random.integers(-1, 2, width).astype(np.int8)
    kept = random.random((12, width)) < random.uniform(0.1, 1.0)
    found = Nearby(gram, target, signs, solve(gram, target, signs)).solve(kept)
    for weights, there in zip(found, kept, strict=True):
        places = np.flatnonzero(there)
        assert not weights[~there].any()
        expected = solve(gram[np.ix_(places, places)], target[places], signs[places])
        np.testing.assert_allclose(weights[places], expected, rtol=0, atol=1e-8)


def test_without_a_source_the_weights_are_those_of_its_equations_without_its_columns(model: Additive) -> None:
    kept = np.flatnonzero(np.array(SPEC.owners) != "court")
    expected = solve(sums()[np.ix_(kept, kept)], sums()[kept, -1], SPEC.signs[kept])
    weights = model.weights(frozenset({"court"}))
    np.testing.assert_allclose(weights.columns[kept], expected, atol=1e-9)
    gone = np.setdiff1d(np.arange(SPEC.width), kept)
    assert not weights.columns[gone].any()
    assert np.abs(weights.columns[kept] - model.weights(frozenset()).columns[kept]).max() > 0.01


def test_a_source_that_it_does_not_read_may_be_missing(model: Additive) -> None:
    assert model.weights(frozenset({"elsewhere"})) is model.weights(frozenset())


def test_it_is_read_as_it_was_written() -> None:
    again = additive.read(*additive.write(SPEC, sums()), PLAN)
    vector = np.array([1.5, 12.0, 1.0, 2.0])
    first = Additive(SPEC, sums(), PLAN)
    assert again.functions(vector, again.weights(frozenset())).tolist() == (
        first.functions(vector, first.weights(frozenset())).tolist()
    )


@pytest.mark.parametrize("damage", ["columns", "sums", "shape", "plan", "pickle"])
def test_what_is_not_such_a_model_is_refused(damage: str) -> None:
    columns, numbers = additive.write(SPEC, sums())
    plan: tuple[str, ...] = PLAN
    if damage == "columns":
        columns = b'{"curves": 1}'
    elif damage == "sums":
        numbers = numbers[:40]
    elif damage == "shape":
        numbers = additive.write(SPEC, sums()[:-1])[1]
    elif damage == "plan":
        plan = PLAN[1:]
    else:
        import io

        buffer = io.BytesIO()
        np.save(buffer, np.array([object()], dtype=object), allow_pickle=True)
        numbers = buffer.getvalue()
    with pytest.raises(ModelError):
        additive.read(columns, numbers, plan)


def _scorer(**changes: Any) -> Scorer:
    """The small bundle with an additive model over its three sources."""
    made = trained()
    keys = [key for key in GOOD if key != "business_registration:status_last"]
    curves = tuple(Curve(key, 0, (0.0, 1.0, 4000.0), (-1.0, 0.0, 1.0), (-2.0, 0.5, 1.0)) for key in keys)
    spec = AdditiveSpec(curves, (Levels("business_registration:status_last", (0, 1), (0.6, 0.2)),))
    term = AdditiveTerm(weight=0.7, columns="models/additive.json", sums="models/additive.npy")
    ensemble = msgspec.structs.replace(made.manifest.ensemble, additive=term)
    columns, numbers = additive.write(spec, sums(spec))
    manifest = msgspec.structs.replace(made.manifest, ensemble=ensemble, **changes)
    return Scorer(Bundle(manifest, {**made.files, term.columns: columns, term.sums: numbers}, sha256=""))


LOST = [(), ("tax_declaration",), ("judicial_penalty", "business_registration")]


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("values", [GOOD, BAD])
def test_contributions_explain_an_ensemble_with_it_exactly(lost: tuple[str, ...], values: dict[str, Any]) -> None:
    scorer = _scorer()
    score = scorer.score({key: value for key, value in values.items() if key.partition(":")[0] not in lost})
    by_source = {item.source: item.contribution for item in score.sources}
    assert scorer.baseline + sum(by_source.values()) == pytest.approx(score.log_odds, abs=1e-10)
    assert set(score.missing_sources) == set(lost)
    for item in score.sources:
        of_features = [c for key, c in score.contributions.items() if key.startswith(f"{item.source}:")]
        assert bool(of_features) == item.has_data
        if item.has_data:
            assert sum(of_features) == pytest.approx(item.contribution, abs=1e-12)


def test_an_ensemble_with_it_scores_one_row_and_a_batch_alike() -> None:
    scorer = _scorer()
    matrix = np.vstack([scorer.encode(values) for values in (GOOD, BAD)] * 3)
    matrix[2, :3] = matrix[3, 3:6] = np.nan
    batch = scorer.score_batch(matrix)
    np.testing.assert_allclose(batch.log_odds, [scorer.score(row).log_odds for row in matrix], atol=1e-12)


def test_a_model_of_a_source_that_nothing_is_said_of_is_refused() -> None:
    bundle = _scorer().bundle
    ensemble = msgspec.structs.replace(bundle.manifest.ensemble, terms=bundle.manifest.ensemble.terms[1:])
    fewer = bundle.manifest.submodels[1:]
    changed = Bundle(msgspec.structs.replace(bundle.manifest, submodels=fewer, ensemble=ensemble), bundle.files, "")
    with pytest.raises(ModelError, match="no sub-model"):
        Scorer(changed)
