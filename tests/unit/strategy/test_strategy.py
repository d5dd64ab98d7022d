"""A strategy decides as written, on exact decimals; nothing unknown passes in silence, and what is wrong is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301.domain.text import Refusal
from credit301.domain.verdict import Outcome, Scalar, Verdict
from credit301.strategy.definition import Document
from credit301.strategy.errors import StrategyError
from credit301.strategy.strategy import Strategy
from tests.support.strategies import DOCUMENT, GOOD, LISTED, SALES, STATUS, VELOCITY, strategy
from tests.unit.strategy.graphs import Json


def run(
    made: Strategy,
    probability: float = 0.01,
    amount: str = "200000",
    term: int = 12,
    read: Mapping[str, Scalar] | None = None,
) -> Verdict:
    return made.decide(
        probability=probability,
        score=600,
        values={**GOOD, **(read or {})},
        amount=Decimal(amount),
        term_months=term,
    )


def codes(verdict: Verdict) -> list[str]:
    return [cause.code for cause in verdict.causes]


def test_a_safe_applicant_gets_what_was_asked_for() -> None:
    verdict = run(strategy())
    assert (verdict.outcome, verdict.limit, verdict.band, verdict.causes) == (
        Outcome.APPROVE,
        Decimal(200_000),
        "A",
        (),
    )


def test_the_cut_off_itself_is_still_approved() -> None:
    assert run(strategy(), 0.25).outcome is Outcome.APPROVE
    assert codes(run(strategy(), 0.2500001)) == ["probability_above_cut_off"]


def test_a_decline_has_neither_limit_nor_rate() -> None:
    verdict = run(strategy(), 0.9)
    assert (verdict.outcome, verdict.limit, verdict.annual_rate, verdict.band) == (Outcome.DECLINE, None, None, None)


def test_every_rule_that_hits_is_named_with_what_it_read() -> None:
    verdict = run(strategy(), 0.9, read={STATUS: "revoked", LISTED: 1.0})
    assert codes(verdict) == ["rule.not_in_operation", "rule.dishonest_debtor", "probability_above_cut_off"]
    told = {rule.id: rule for rule in verdict.rules}
    assert told["not_in_operation"].read == {"features.business_registration.status_last": "revoked"}
    assert (told["not_in_operation"].hit, told["registration_unknown"].hit) == (True, False)
    assert told["dishonest_debtor"].said == {"code": "dishonest_debtor"}
    assert told["dishonest_debtor"].text is not None


def test_what_is_not_known_does_what_the_strategy_says_of_it() -> None:
    assert codes(run(strategy(), read={STATUS: None})) == ["rule.registration_unknown"]
    assert run(strategy(), read={LISTED: None}).outcome is Outcome.APPROVE
    assert codes(run(strategy(), amount="190000", read={SALES: None})) == ["sales_unknown"]


@pytest.mark.parametrize(("unknown_value", "outcome"), [("decline", Outcome.DECLINE), ("refer", Outcome.REFER)])
def test_a_value_that_nobody_thought_of_never_passes(unknown_value: str, outcome: Outcome) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["definition"]["unknown_value"] = unknown_value
    rows = document["graphs"]["admission"]["nodes"][1]["content"]["rules"]
    document["graphs"]["admission"]["nodes"][1]["content"]["rules"] = rows[1:]
    verdict = run(strategy(document), read={STATUS: None})
    assert verdict.outcome is outcome
    assert codes(verdict) == ["value_unknown.business_registration:status_last"]


def test_anti_fraud_reads_windows_and_may_call_for_a_person() -> None:
    assert run(strategy(), read={VELOCITY: None}).outcome is Outcome.APPROVE
    verdict = run(strategy(), read={VELOCITY: 6})
    assert (verdict.outcome, codes(verdict)) == (Outcome.REFER, ["rule.device_velocity"])
    # A decline is not softened by what a person is to look at.
    assert run(strategy(), 0.9, read={VELOCITY: 6}).outcome is Outcome.DECLINE


def test_the_lowest_bound_counts_and_is_named_with_its_amount() -> None:
    verdict = run(strategy(), amount="3000000", read={SALES: 1_000_000.0})
    assert (verdict.limit, codes(verdict)) == (Decimal(300_000), ["sales_share"])
    assert "300,000" in verdict.causes[0].text.en
    verdict = run(strategy(), 0.2, amount="3000000", read={SALES: 10_000_000.0})
    assert (verdict.limit, codes(verdict)) == (Decimal(500_000), ["band_maximum"])


def test_a_limit_is_rounded_down_and_never_below_the_products_minimum() -> None:
    assert run(strategy(), amount="123456.78").limit == Decimal(123_000)
    verdict = run(strategy(), read={SALES: 30_000.0})
    assert (verdict.outcome, codes(verdict)) == (Outcome.DECLINE, ["sales_share", "limit_below_minimum"])
    assert run(strategy(), read={SALES: -5.0}).outcome is Outcome.DECLINE


def test_the_rate_is_what_the_formula_says_to_the_digit() -> None:
    # 0.022 + 0.02 * 0.55 / 0.98 + 0.012 = 0.0452..., up to the next 0.0005.
    assert run(strategy(), 0.02).annual_rate == Decimal("0.045500")
    assert run(strategy(), 0.0001).annual_rate == Decimal("0.034500")
    assert run(strategy(), 0.25).annual_rate == Decimal("0.150000")


@pytest.mark.parametrize(
    ("amount", "term", "code"),
    [
        ("9999.99", 12, "amount_out_of_range"),
        ("3000000.01", 12, "amount_out_of_range"),
        ("NaN", 12, "amount_out_of_range"),
        ("20000.001", 12, "amount_precision"),
        ("20000", 2, "term_out_of_range"),
        ("20000", 37, "term_out_of_range"),
    ],
)
def test_a_request_outside_the_product_is_refused_by_field(amount: str, term: int, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        run(strategy(), amount=amount, term=term)
    assert refused.value.code == code


probabilities = st.floats(0.0001, 0.9999)
amounts = st.decimals(10_000, 3_000_000, places=2)


@given(one=probabilities, other=probabilities, amount=amounts)
def test_more_risk_never_gets_more_money_or_a_lower_rate(one: float, other: float, amount: Decimal) -> None:
    low, high = (run(MADE, probability, str(amount)) for probability in sorted((one, other)))
    if high.limit is not None:
        assert low.limit is not None
        assert low.limit >= high.limit
        assert low.annual_rate is not None
        assert high.annual_rate is not None
        assert low.annual_rate <= high.annual_rate


MADE = strategy()


def by_lot(verdict: Verdict, most: int = 50_000, read: Mapping[str, Scalar] | None = None) -> Verdict | None:
    return MADE.admit_by_lot(
        verdict,
        score=400,
        most=Decimal(most),
        values={**GOOD, **(read or {})},
        amount=Decimal(200_000),
        term_months=12,
    )


def test_the_lot_lends_a_little_to_who_was_declined_for_the_score_alone() -> None:
    lent = by_lot(run(MADE, 0.9))
    assert lent is not None
    assert (lent.outcome, lent.limit, lent.band) == (Outcome.APPROVE, Decimal(50_000), None)
    assert codes(lent) == ["probability_above_cut_off", "accept_lane"]
    assert by_lot(run(MADE, 0.9, read={STATUS: "revoked"})) is None
    assert by_lot(run(MADE)) is None
    assert by_lot(run(MADE, 0.9), most=5_000) is None


def test_a_strategy_is_known_by_its_content_and_comes_back_from_it() -> None:
    kept = Strategy(Document.model_validate(json.loads(MADE.text)))
    assert kept.sha256 == MADE.sha256
    assert run(kept, 0.02) == run(MADE, 0.02)
    other = copy.deepcopy(DOCUMENT)
    other["definition"]["cut_off"] = 0.2
    assert strategy(other).sha256 != MADE.sha256


def cell(document: Json, stage: str, node: int, row: int, column: str, text: str) -> None:
    document["graphs"][stage]["nodes"][node]["content"]["rules"][row][column] = text


WRONG: dict[str, tuple[tuple[str, int, int, str, str], str]] = {
    "a cell that is no expression": (("admission", 1, 1, "admission_i0", "in ["), "row 2, column"),
    "a code without words": (("admission", 1, 1, "admission_o0", "'nonsense'"), "no wording says what that means"),
    "a band that there is not": (("policy", 1, 0, "bands_o0", "'Z'"), "no such band"),
    "a parameter that there is not": (("policy", 2, 0, "sales_o0", "parameters.none"), "no such parameter"),
    "a feature that there is not": (("policy", 2, 1, "sales_o1", "features.tax_declaration.none * 2"), "no contract"),
    "a path that nobody says": (("policy", 2, 1, "sales_o1", "sahre.sales * 2"), "neither given nor said before"),
    "an action that there is not": (("fraud", 1, 0, "velocity_o1", "'phone'"), "an action is"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_by_its_cell_when_it_is_loaded(case: str) -> None:
    change, problem = WRONG[case]
    document = copy.deepcopy(DOCUMENT)
    cell(document, *change)
    with pytest.raises(StrategyError, match=problem):
        strategy(document)


def test_the_strategies_of_the_repository_are_sound() -> None:
    from credit301.strategy.folder import load_all
    from credit301.workspace import Workspace

    made = load_all(Workspace.load(Path(__file__).parents[3] / "workspaces" / "wuhan"))
    assert [one.name for one in made] == ["credit"]


def test_a_wrong_key_is_named_with_its_line(tmp_path: Path) -> None:
    from credit301.errors import ContractError
    from credit301.strategy.folder import load
    from credit301.workspace import Workspace

    source = Path(__file__).parents[3] / "workspaces" / "wuhan"
    folder = tmp_path / "credit"
    folder.mkdir()
    for path in (source / "strategies" / "credit").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    file = folder / "strategy.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("cut_off:", "cutoff:"), encoding="utf-8")
    with pytest.raises(ContractError, match=r"strategy\.yaml:\d+: cutoff: unknown key"):
        load(Workspace.load(source), folder)
