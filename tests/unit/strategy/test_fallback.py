"""Where something is missing, the strategy says what becomes of it: nothing is decided on nulls in silence."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from credit301.domain.verdict import FallbackTaken, Outcome, Verdict
from credit301.errors import ContractError
from credit301.strategy import folder
from credit301.strategy.errors import StrategyError
from credit301.strategy.fallback import Gap
from credit301.strategy.strategy import Strategy
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.support import strategies
from tests.support.strategies import DOCUMENT, GOOD, STATUS, VELOCITY, strategy

RULES_ONLY = {"probability": 0.1, "maximum_amount": 30_000}


def with_fallbacks(**said: Any) -> Strategy:
    document = copy.deepcopy(DOCUMENT)
    document["definition"]["fallbacks"] = said
    return strategy(document)


def run(
    made: Strategy,
    *gaps: Gap,
    probability: float | None = 0.01,
    amount: int = 200_000,
    read: dict[str, Any] | None = None,
) -> tuple[Verdict, list[FallbackTaken]]:
    values = {**GOOD, **(read or {})}
    taken = made.fallen([*gaps, *made.gaps(values)])
    verdict = made.decide(
        probability=probability,
        score=None if probability is None else 600,
        values=values,
        amount=Decimal(amount),
        term_months=12,
        taken=taken,
    )
    return verdict, [item.taken for item in taken]


def test_by_default_only_sources_and_windows_may_be_missing() -> None:
    made = strategy()
    for gap in (Gap("store"), Gap("model")):
        assert made.without(gap, Decimal(200_000), 12) is None
    verdict, taken = run(made, Gap("source", "tax_declaration"), read={VELOCITY: None})
    assert (verdict.outcome, taken) == (Outcome.APPROVE, [])


@pytest.mark.parametrize(("said", "outcome"), [("decline", Outcome.DECLINE), ("refer", Outcome.REFER)])
@pytest.mark.parametrize("missing", ["store", "model"])
def test_without_anything_to_decide_from_it_ends(missing: Any, said: str, outcome: Outcome) -> None:
    verdict = with_fallbacks(**{missing: said}).without(Gap(missing, "why"), Decimal(200_000), 12)
    assert verdict is not None
    assert (verdict.outcome, verdict.limit, [cause.code for cause in verdict.causes]) == (
        outcome,
        None,
        [f"fallback.{missing}"],
    )


def test_rules_alone_lend_little_at_the_assumed_risk() -> None:
    made = with_fallbacks(model=RULES_ONLY)
    verdict, taken = run(made, Gap("model", "NothingKnown"), probability=None)
    assert (verdict.outcome, verdict.limit) == (Outcome.APPROVE, Decimal(30_000))
    assert [cause.code for cause in verdict.causes] == ["fallback.model"]
    assert "30,000" in verdict.causes[0].text.zh
    assert "30,000" in verdict.causes[0].text.en
    assert taken == [FallbackTaken("model", "NothingKnown", "rules_only")]
    scored, _ = run(made, probability=0.1)
    assert (verdict.annual_rate, verdict.band) == (scored.annual_rate, scored.band)
    declined, _ = run(made, Gap("model"), probability=None, read={STATUS: "revoked"})
    assert declined.outcome is Outcome.DECLINE
    with pytest.raises(StrategyError, match="without a score"):
        run(strategy(), probability=None)


def test_a_cap_bounds_the_limit_and_is_no_reason_where_it_does_not() -> None:
    made = with_fallbacks(sources={"tax_declaration": {"maximum_amount": 50_000}, "judicial_penalty": "refer"})
    verdict, taken = run(made, Gap("source", "tax_declaration"))
    assert verdict.limit == Decimal(50_000)
    assert [cause.code for cause in verdict.causes] == ["fallback.source.tax_declaration"]
    assert "tax_declaration" in verdict.causes[0].text.en
    assert [item.action for item in taken] == ["capped"]
    small, taken = run(made, Gap("source", "tax_declaration"), amount=40_000)
    assert (small.limit, small.causes, len(taken)) == (Decimal(40_000), (), 1)
    referred, _ = run(made, Gap("source", "tax_declaration"), Gap("source", "judicial_penalty"))
    assert (referred.outcome, referred.limit) == (Outcome.REFER, None)
    other, taken = run(made, Gap("source", "business_registration"))
    assert (other.limit, taken) == (Decimal(200_000), [])


def test_windows_are_missing_where_a_graph_reads_one_that_is_not_known() -> None:
    made = with_fallbacks(windows="refer")
    assert run(made, read={VELOCITY: None})[0].outcome is Outcome.REFER
    assert run(made, read={VELOCITY: 0})[0].outcome is Outcome.APPROVE


def test_one_that_declines_is_not_softened_by_one_that_refers() -> None:
    made = with_fallbacks(sources={"tax_declaration": "decline"}, windows="refer")
    verdict, _ = run(made, Gap("source", "tax_declaration"), read={VELOCITY: None})
    assert verdict.outcome is Outcome.DECLINE
    assert [cause.code for cause in verdict.causes] == ["fallback.source.tax_declaration", "fallback.windows"]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"model": {"probability": 0.9, "maximum_amount": 30_000}}, "above the cut_off"),
        ({"windows": {"maximum_amount": 5_000}}, "less than the product's minimum_amount"),
        ({"store": {"maximum_amount": 30_000}}, "fallbacks.store"),
        ({"stores": "decline"}, "fallbacks.stores"),
    ],
)
def test_a_fallback_that_cannot_be_is_refused(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        with_fallbacks(**said)


def test_a_source_that_is_not_there_is_named_with_its_line(tmp_path: Any) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["definition"]["fallbacks"] = {"sources": {"nowhere": "decline"}}
    place = strategies.write(tmp_path, document)
    with pytest.raises(ContractError, match=r"strategy\.yaml.*nowhere"):
        folder.load(Workspace.load(REPOSITORY / "workspaces" / "wuhan"), place)
