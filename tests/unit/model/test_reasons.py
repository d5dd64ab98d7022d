"""Reasons say what moved the decision, in both languages, and never hold silence against anyone."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from credit301.domain.decision import Reason
from credit301.domain.verdict import Outcome, Scalar, Verdict
from credit301.model.bundle import Bundle
from credit301.model.reasons import LIMIT, OTHER, Explainer
from credit301.model.scorer import Score, Scorer
from tests.support.scoring import BAD, GOOD, trained
from tests.support.strategies import DOCUMENT, strategy

ASKED = Decimal(100_000)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    model = trained()
    return Scorer(Bundle(manifest=model.manifest, files=model.files, sha256=""))


def _explain(
    scorer: Scorer, values: Mapping[str, Scalar], cut_off: float = 0.25, amount: Decimal = ASKED
) -> tuple[Score, Verdict, tuple[Reason, ...]]:
    definition = {**DOCUMENT["definition"], "cut_off": cut_off}
    made = strategy({**DOCUMENT, "definition": definition})
    score = scorer.score(values)
    verdict = made.decide(
        probability=score.probability, score=score.score, values=values, amount=amount, term_months=12
    )
    return score, verdict, Explainer(scorer.bundle.manifest).explain(score, values, verdict, "A")


def test_a_decline_gives_the_policys_cause_then_what_raised_the_probability(scorer: Scorer) -> None:
    score, verdict, reasons = _explain(scorer, BAD, cut_off=0.01)
    assert verdict.outcome is Outcome.DECLINE
    assert [reason.code for reason in reasons if reason.kind == "policy"] == ["probability_above_cut_off"]
    assert reasons[0].kind == "policy"
    features = [reason for reason in reasons if reason.kind == "feature"]
    assert {reason.direction for reason in features} == {"adverse"}
    strongest = sorted(score.contributions, key=lambda key: -score.contributions[key])
    assert [reason.code for reason in features] == [key for key in strongest if score.contributions[key] > 0][:LIMIT]


def test_an_approval_in_the_best_band_gives_only_what_lowered_it(scorer: Scorer) -> None:
    _, verdict, reasons = _explain(scorer, GOOD)
    assert (verdict.outcome, verdict.band, verdict.causes) == (Outcome.APPROVE, "A", ())
    assert {reason.direction for reason in reasons} == {"favourable"}
    assert 0 < len(reasons) <= LIMIT


def test_an_approval_that_could_be_better_also_says_what_stood_in_the_way(scorer: Scorer) -> None:
    _, verdict, reasons = _explain(scorer, BAD, amount=Decimal(2_000_000))
    assert (verdict.outcome, verdict.band) == (Outcome.APPROVE, "B")
    adverse = [reason for reason in reasons if reason.kind == "feature" and reason.direction == "adverse"]
    assert len(adverse) == OTHER
    assert [reason.code for reason in reasons if reason.kind == "policy"] == ["sales_share"]


def test_a_reason_carries_the_value_that_was_read(scorer: Scorer) -> None:
    for values in (GOOD, BAD):
        for reason in _explain(scorer, values)[2]:
            if reason.kind == "feature":
                assert reason.value == values[reason.code]


def test_a_value_that_is_not_known_is_not_described_as_good_or_bad(scorer: Scorer) -> None:
    unknown = [
        reason.text
        for key in BAD
        for cut_off in (0.25, 0.0001)
        for reason in _explain(scorer, {**BAD, key: None}, cut_off)[2]
        if reason.code == key
    ]
    assert unknown
    assert all(text.zh.endswith("暂无数据") and text.en.endswith("no data") for text in unknown)


def test_a_source_without_data_is_said_as_such_and_not_as_adverse(scorer: Scorer) -> None:
    values = {key: value for key, value in BAD.items() if not key.startswith("judicial_penalty")}
    for cut_off in (0.25, 0.0001):
        missing = [reason for reason in _explain(scorer, values, cut_off)[2] if reason.kind == "missing_source"]
        assert [(reason.source, reason.direction) for reason in missing] == [("judicial_penalty", "neutral")]


def test_every_reason_is_in_chinese_and_english(scorer: Scorer) -> None:
    for values in (GOOD, BAD, {"tax_declaration:declared_sales_12m_sum": 1.0}):
        for cut_off in (0.25, 0.0001):
            for reason in _explain(scorer, values, cut_off)[2]:
                assert any("\u4e00" <= character <= "\u9fff" for character in reason.text.zh)
                assert reason.text.en.isascii()
