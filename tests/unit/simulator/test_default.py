"""The causal story: who defaults, with which probability, and how the records show it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.metrics import roc_auc_score

from simulator.city import City, auc, facts

CLASSES = {"substandard", "doubtful", "loss"}


def observed_defaults(city: City) -> dict[str, bool]:
    """default_12m of every loan, from the served records alone."""
    loans = {row["loan_id"]: row["disbursed_on"] for row in city.sources["bank_loan"].to_pylist()}
    bad = dict.fromkeys(loans, False)
    for row in city.sources["bank_repayment"].to_pylist():
        start = loans[row["loan_id"]]
        leap_day = (start.month, start.day) == (2, 29)
        end = start.replace(year=start.year + 1, day=28 if leap_day else start.day)
        if row["event_time"].date() < end and (row["days_past_due"] >= 90 or row["five_level_class"] in CLASSES):
            bad[row["loan_id"]] = True
    return bad


def test_the_records_show_exactly_the_defaults_that_were_drawn(city: City) -> None:
    shown = observed_defaults(city)
    complete = np.datetime64(city.config.end) - np.timedelta64(400, "D")
    rows = [row for row in city.truth.to_pylist() if np.datetime64(row["decided_at"]) < complete]
    assert len(rows) > 3000
    assert [row["loan_id"] for row in rows if shown[row["loan_id"]] != row["defaulted"]] == []


def test_labels_come_up_as_often_as_their_probabilities_say(city: City) -> None:
    probability = city.truth["true_pd"].to_numpy()
    defaulted = city.truth["defaulted"].to_numpy().astype(float)
    for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 1.0), (0.0, 1.0)):
        within = (probability >= low) & (probability < high)
        error = np.sqrt((probability * (1 - probability))[within].sum())
        assert abs((defaulted - probability)[within].sum()) < 4 * error


def test_the_bayes_limit_and_the_default_rate_are_in_their_range(city: City) -> None:
    known = facts(city.config, city.truth)
    assert 0.84 <= known["bayes_auc"] <= 0.90
    assert 0.06 <= known["default_rate"] <= 0.09
    assert known["loans"] >= 6000
    assert known["loans_complete"] >= 3500
    assert known["defaults_complete"] >= 250


def test_the_auc_agrees_with_scikit_learn_also_with_ties() -> None:
    rng = np.random.default_rng(1)
    score = rng.integers(0, 12, 400) / 12
    label = rng.random(400) < score
    assert auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


def test_the_truth_is_in_no_served_source(city: City) -> None:
    served = {name for table in city.sources.values() for name in table.schema.names}
    assert not served & {"true_pd", "defaulted"}


def test_defaults_are_more_frequent_in_the_downturn(city: City) -> None:
    decided = city.truth["decided_at"].to_numpy().astype("datetime64[M]").astype(int)
    probability = city.truth["true_pd"].to_numpy()
    month = decided - city.config.month0
    trough = (month >= 12) & (month < 21)
    assert probability[trough].mean() > 1.2 * probability[month >= 27].mean()


def test_sales_fall_in_the_downturn_most_in_cyclical_industries(city: City) -> None:
    tax, register = city.sources["tax_declaration"], city.sources["business_registration"]
    founding = register.filter(pc.equal(register["change_kind"], "founding")).select(["uscc", "industry_code"])
    vat = tax.filter(pc.equal(tax["tax_type"], "VAT")).select(["uscc", "tax_period", "declared_sales"])
    joined = vat.join(founding, "uscc")
    building = pc.is_in(joined["industry_code"], pa.array(["E4813", "E4999", "E5011", "F5164", "C3670"]))

    def change(rows: pa.Table) -> float:
        # The same calendar months a year apart, so that the season cancels out.
        means = {}
        for year in ("2024", "2025"):
            months = rows.filter(pc.is_in(rows["tax_period"], pa.array([f"{year}-0{month}" for month in range(1, 5)])))
            means[year] = np.log1p(months["declared_sales"].cast(pa.float64()).to_numpy()).mean()
        return float(means["2025"] - means["2024"])

    assert change(joined.filter(building)) < change(joined.filter(pc.invert(building)))


def test_only_loans_in_arrears_stop_further_lending(city: City) -> None:
    loans = city.sources["bank_loan"].group_by("uscc").aggregate([("loan_id", "count")])
    counts = np.bincount(loans["loan_id_count"].to_numpy())
    assert len(counts) == 4
    assert counts[1:].min() > 300


def test_unpaid_instalments_are_told_again_with_more_days_past_due(city: City) -> None:
    table = city.sources["bank_repayment"]
    unpaid = table.filter(pc.is_null(table["paid_on"])).to_pylist()
    states: dict[tuple[str, int], list[int]] = {}
    for row in unpaid:
        states.setdefault((row["loan_id"], row["instalment_no"]), []).append(row["days_past_due"])
    assert all(days == sorted(set(days)) for days in states.values())
    assert max(len(days) for days in states.values()) <= 6
    assert any(len(days) >= 5 for days in states.values())


def test_classes_follow_days_past_due(city: City) -> None:
    table = city.sources["bank_repayment"]
    days = table["days_past_due"].to_numpy()
    unpaid = table["paid_on"].is_null().to_numpy()
    bad = pc.is_in(table["five_level_class"], pa.array(sorted(CLASSES))).to_numpy(zero_copy_only=False)
    assert np.all(bad[unpaid & (days >= 90)])
    in_time = table.filter(pa.array(~unpaid & (days == 0)))
    assert set(in_time["five_level_class"].to_pylist()) == {"normal"}
