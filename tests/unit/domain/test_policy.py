"""The policy: each clause decides as written, on exact decimals, and nothing unknown passes in silence."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301.domain import policy as policies
from credit301.domain.policy import Outcome, Policy, Scalar, Verdict
from credit301.domain.text import Refusal
from credit301.errors import ModelError
from tests.support.scoring import GOOD, POLICY

SALES = "tax_declaration:declared_sales_12m_sum"
STATUS = "business_registration:status_last"
LISTED = "judicial_penalty:dishonest_listing_count_24m"
TABLE: list[dict[str, Any]] = [
    {"annual_rate": "0.04", "loss": {"A": "0", "B": "0"}},
    {"annual_rate": "0.0425", "loss": {"A": "0.094574", "B": "0.066800"}},
    {"annual_rate": "0.0465", "loss": {"A": "0.135727", "B": "0.135052"}},
    {"annual_rate": "0.15", "loss": {"A": "0.922061", "B": "0.885865"}},
]
RATE_TABLE = {"kind": "rate_table", "cost_of_funds": "0.02", "loss_given_default": "0.4", "table": "losses"}


def make(**changes: Any) -> Policy:
    return policies.parse({**copy.deepcopy(POLICY), **changes})


def run(
    policy: Policy,
    probability: float = 0.01,
    amount: str = "200000",
    term: int = 12,
    read: Mapping[str, Scalar] | None = None,
) -> Verdict:
    return policies.decide(
        policy,
        probability=probability,
        values={**GOOD, **(read or {})},
        amount=Decimal(amount),
        term_months=term,
    )


def codes(verdict: Verdict) -> list[str]:
    return [cause.code for cause in verdict.causes]


def test_a_safe_applicant_gets_what_was_asked_for() -> None:
    verdict = run(make())
    assert (verdict.outcome, verdict.limit, verdict.band, verdict.causes) == (
        Outcome.APPROVE,
        Decimal(200_000),
        "A",
        (),
    )


def test_the_cut_off_itself_is_still_approved() -> None:
    assert run(make(), 0.25).outcome is Outcome.APPROVE
    assert codes(run(make(), 0.2500001)) == ["probability_above_cut_off"]


def test_a_decline_has_neither_limit_nor_rate() -> None:
    verdict = run(make(), 0.9)
    assert (verdict.outcome, verdict.limit, verdict.annual_rate, verdict.band) == (Outcome.DECLINE, None, None, None)


@pytest.mark.parametrize("status", ["suspended", "revoked", "deregistered"])
def test_a_hard_rule_declines_and_reports_the_value_it_read(status: str) -> None:
    verdict = run(make(), read={STATUS: status})
    assert verdict.outcome is Outcome.DECLINE
    assert codes(verdict) == ["rule.not_in_operation"]
    assert [(rule.value, rule.hit) for rule in verdict.rules] == [(status, True), (0.0, False)]


def test_every_rule_that_hits_is_named() -> None:
    verdict = run(make(), 0.9, read={STATUS: "revoked", LISTED: 1.0})
    assert codes(verdict) == ["rule.not_in_operation", "rule.dishonest_debtor", "probability_above_cut_off"]


def test_a_missing_value_does_what_the_rule_says_of_it() -> None:
    verdict = run(make(), read={STATUS: None, LISTED: None})
    assert [(rule.id, rule.value, rule.hit) for rule in verdict.rules] == [
        ("not_in_operation", None, True),
        ("dishonest_debtor", None, False),
    ]
    assert "无数据" in verdict.causes[0].text.zh
    assert "not known" in verdict.causes[0].text.en


@pytest.mark.parametrize(
    ("operator", "value", "read", "hit"),
    [
        ("gt", 2, 2.0, False),
        ("gt", 2, 2.5, True),
        ("ge", 2, 2.0, True),
        ("lt", 2, 2.0, False),
        ("lt", 2, 1.0, True),
        ("le", 2, 2.0, True),
        ("in", ["a", "b"], "b", True),
        ("in", ["a", "b"], "c", False),
        ("not_in", ["a", "b"], "c", True),
        ("in", [1, 2], 2.0, True),
    ],
)
def test_operators_compare_as_named(operator: str, value: object, read: Scalar, hit: bool) -> None:
    rule = {**POLICY["rules"][0], "operator": operator, "value": value, "on_missing": "pass"}
    assert run(make(rules=[rule]), read={STATUS: read}).rules[0].hit is hit


def test_text_where_a_rule_needs_a_number_is_an_error_and_not_a_pass() -> None:
    with pytest.raises(ModelError, match="compares"):
        run(make(), read={LISTED: "many"})


def test_the_limit_is_the_share_of_sales_rounded_down() -> None:
    verdict = run(make(), amount="3000000", read={SALES: 812_345.67})
    assert verdict.limit == Decimal(243_000)
    assert codes(verdict) == ["sales_share"]


def test_the_bands_maximum_bounds_the_limit() -> None:
    verdict = run(make(), 0.1, amount="3000000", read={SALES: 1e9})
    assert (verdict.band, verdict.limit, codes(verdict)) == ("B", Decimal(500_000), ["band_maximum"])


def test_unknown_sales_bound_the_limit_as_told() -> None:
    verdict = run(make(), read={SALES: None})
    assert (verdict.limit, codes(verdict)) == (Decimal(100_000), ["sales_unknown"])


def test_unknown_sales_decline_where_told_to() -> None:
    verdict = run(make(sales={"feature": SALES, "maximum_amount_without": None}), read={SALES: None})
    assert (verdict.outcome, codes(verdict)) == (Outcome.DECLINE, ["sales_unknown"])


@pytest.mark.parametrize("sales", [0.0, -5000.0, 30_000.0])
def test_a_limit_below_the_products_minimum_is_a_decline(sales: float) -> None:
    verdict = run(make(), read={SALES: sales})
    assert (verdict.outcome, codes(verdict)) == (Outcome.DECLINE, ["sales_share", "limit_below_minimum"])


def test_the_rate_covers_funds_expected_loss_and_margin() -> None:
    # 0.022 + 0.05 * 0.55 / 0.95 + 0.012 = 0.062947..., rounded up to the next 0.05 %.
    assert run(make(), 0.05).annual_rate == Decimal("0.0630")


def test_the_rate_stays_between_floor_and_cap() -> None:
    assert run(make(), 1e-9).annual_rate == Decimal("0.0345")
    assert run(make(), 0.25).annual_rate == Decimal("0.15")


@given(low=st.floats(1e-6, 0.25), high=st.floats(1e-6, 0.25))
def test_more_risk_never_gets_a_lower_rate_or_a_higher_limit(low: float, high: float) -> None:
    low, high = sorted((low, high))
    safe, risky = (run(make(), p, amount="3000000") for p in (low, high))
    assert safe.annual_rate is not None
    assert risky.annual_rate is not None
    assert safe.limit is not None
    assert risky.limit is not None
    assert safe.annual_rate <= risky.annual_rate
    assert safe.limit >= risky.limit


@given(
    probability=st.floats(0, 0.25),
    amount=st.decimals(min_value=10_000, max_value=3_000_000, places=2),
    sales=st.one_of(st.none(), st.floats(-1e7, 1e10)),
)
def test_a_limit_is_never_above_what_was_asked_for_and_a_multiple_of_the_step(
    probability: float, amount: Decimal, sales: float | None
) -> None:
    verdict = run(make(), probability, amount=str(amount), read={SALES: sales})
    if verdict.limit is None:
        assert verdict.outcome is Outcome.DECLINE
        assert verdict.causes
    else:
        assert Decimal(10_000) <= verdict.limit <= amount
        assert verdict.limit % 1000 == 0


def test_the_table_rate_is_the_one_that_earns_most() -> None:
    policy = make(pricing=RATE_TABLE, tables={"losses": TABLE})
    profits = {
        Decimal(row["annual_rate"]): (1 - Decimal(row["loss"]["A"]))
        * (Decimal("0.99") * Decimal(row["annual_rate"]) - Decimal("0.01") * Decimal("0.4") - Decimal("0.02"))
        for row in TABLE
    }
    assert run(policy, 0.01).annual_rate == max(profits, key=lambda rate: profits[rate])


def test_the_band_chooses_the_column_of_the_table() -> None:
    table = [
        {"annual_rate": "0.04", "loss": {"A": "0", "B": "0.9"}},
        {"annual_rate": "0.08", "loss": {"A": "0.9", "B": "0"}},
    ]
    policy = make(pricing=RATE_TABLE, tables={"losses": table})
    assert [run(policy, p).annual_rate for p in (0.01, 0.03)] == [Decimal("0.04"), Decimal("0.08")]


def test_where_no_rate_of_the_table_earns_its_cost_nothing_is_lent() -> None:
    verdict = run(make(pricing=RATE_TABLE, tables={"losses": TABLE[:2]}), 0.2)
    assert (verdict.outcome, codes(verdict)) == (Outcome.DECLINE, ["unprofitable"])


@pytest.mark.parametrize(
    ("amount", "term", "field", "bound"),
    [
        ("9999.99", 12, "amount", "10,000"),
        ("3000000.01", 12, "amount", "3,000,000"),
        ("NaN", 12, "amount", "3,000,000"),
        ("sNaN", 12, "amount", "3,000,000"),
        ("-Infinity", 12, "amount", "3,000,000"),
        ("1E+999999", 12, "amount", "3,000,000"),
        ("200000.001", 12, "amount", "two decimals"),
        ("200000", 2, "term_months", "3 to 36"),
        ("200000", 37, "term_months", "3 to 36"),
    ],
)
def test_a_request_outside_the_product_is_refused_with_field_and_bounds(
    amount: str, term: int, field: str, bound: str
) -> None:
    with pytest.raises(Refusal) as caught:
        run(make(), amount=amount, term=term)
    assert caught.value.field == field
    assert bound in caught.value.text.en
    assert caught.value.text.zh
    assert caught.value.hint_text.zh


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"maximum_probability": 0.5},
        {"bands": list(reversed(POLICY["bands"]))},
        {"bands": []},
        {"sales": None},
        {"rules": [POLICY["rules"][0]] * 2},
        {"rules": [{**POLICY["rules"][0], "operator": "gt"}]},
        {"rules": [{key: value for key, value in POLICY["rules"][0].items() if key != "on_missing"}]},
        {"pricing": RATE_TABLE},
        {"pricing": RATE_TABLE, "tables": {"losses": [{"annual_rate": "0.04", "loss": {"A": "0"}}]}},
        {"pricing": {**POLICY["pricing"], "cap": "0.01"}},
        {"product": {**POLICY["product"], "minimum_amount": "9000000"}},
    ],
)
def test_a_policy_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="policy is not valid"):
        make(**changes)


def test_a_policy_that_reads_unknown_features_is_refused() -> None:
    make().check_features(GOOD)
    with pytest.raises(ModelError, match=STATUS):
        make().check_features([SALES, LISTED])
