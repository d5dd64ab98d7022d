"""The figures of a back-test are those of its rows whatever is read at once, and the swap set adds up."""

from __future__ import annotations

import copy
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from credit301.domain.text import Refusal
from credit301.errors import ConfigError, NotFound
from credit301.model import stewardship
from credit301.model.bundle import Bundle
from credit301.model.stewardship import Stewardship
from credit301.workspace import Workspace
from tests.support.scoring import NUMBERS, STATUSES, rows, trained
from tests.support.strategies import DOCUMENT, strategy
from tests.unit.training import synthetic
from training import backtest, backtest_page, pages, versions
from training.backtest import run
from training.backtest_sums import WHOLE

ROWS, UNKNOWN = 400, 50
"""Applications, and that each so-manieth is of an enterprise of which nothing is known."""


def past(bundle: Bundle) -> pd.DataFrame:
    """Applications whose outcomes are drawn by what the model says of them."""
    random = np.random.default_rng(3)
    columns: dict[str, Any] = {}
    for view, numbers in NUMBERS.items():
        columns |= {
            f"{view}__{name}": values for name, values in zip(numbers, rows(view, ROWS, random).T, strict=False)
        }
    columns["tax_declaration__declared_sales_12m_sum"] = random.uniform(1e5, 5e6, ROWS)
    columns["judicial_penalty__dishonest_listing_count_24m"] = random.choice([0.0, 0.0, 0.0, 1.0], ROWS)
    columns["business_registration__status_last"] = random.choice(["active", "active", *STATUSES], ROWS)
    features = pd.DataFrame(columns)
    features.iloc[::UNKNOWN] = None
    p = np.nan_to_num(versions.probabilities(bundle, features))
    head = pd.DataFrame(
        {
            "uscc": [f"E{n:04}" for n in range(ROWS)],
            "decision_time": pd.date_range("2024-01-01", periods=ROWS, freq="12h"),
            "label": (random.uniform(size=ROWS) < p).astype(int),
        }
    )
    return pd.concat([head, features], axis=1)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workspace:
    model = trained(intercept=1.5)
    bundle = Bundle(model.manifest, model.files, "")
    version = SimpleNamespace(number="1", bundle=bundle, seen_until="2024-03-01")
    monkeypatch.setattr(versions, "find", lambda *_: version)
    by_status = {"feature": "business_registration:status_last", "title": {"zh": "状态", "en": "status"}}
    segments = Stewardship.model_validate({"segments": [by_status]})
    monkeypatch.setattr(stewardship, "load", lambda _: segments)
    made = synthetic.workspace(tmp_path)
    made.paths.training_set.parent.mkdir(parents=True)
    past(bundle).to_parquet(made.paths.training_set)
    return made


def stricter() -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document["definition"] |= {"cut_off": 0.1, "version": "test-2"}
    return document


def figures(found: backtest.Backtest) -> dict[str, Any]:
    """All that was found but for who was asked."""
    return {name: value for name, value in asdict(found).items() if name not in {"candidate", "current", "model"}}


def test_a_stricter_cut_off_takes_part_of_what_the_other_takes(workspace: Workspace) -> None:
    found = run(workspace, strategy(stricter()), strategy())
    new, old = found.sums[WHOLE, WHOLE]
    assert new.applications == old.applications == ROWS - ROWS // UNKNOWN
    assert 0 < new.approved < old.approved
    assert new.bad_rate is not None
    assert old.bad_rate is not None
    assert new.bad_rate < old.bad_rate
    swaps = found.swaps
    assert (swaps["only_candidate"].applications, swaps["both"].applications) == (0, new.approved)
    assert swaps["both"].approved + swaps["only_current"].approved == old.approved
    assert sum(part.applications for part in swaps.values()) == new.applications
    assert "probability_above_cut_off" in found.causes[0]
    assert sum(found.causes[0].values()) == new.applications - new.approved


def test_the_money_is_that_of_each_loan(workspace: Workspace) -> None:
    """Asked one by one, in exact numbers."""
    data, made = pd.read_parquet(workspace.paths.training_set), strategy()
    bundle = versions.find(workspace, "champion").bundle
    probability = versions.probabilities(bundle, data)
    features = {key: key.replace(":", "__") for key in made.features()}
    lent = []
    for place in np.flatnonzero(~np.isnan(probability)):
        row = data.iloc[place].astype(object).where(data.iloc[place].notna(), None)
        verdict = made.decide(
            probability=float(probability[place]),
            score=0,
            values={key: row.get(name) for key, name in features.items()},
            amount=Decimal("150000.00"),
            term_months=12,
        )
        if verdict.limit is not None and verdict.annual_rate is not None:
            lent.append((verdict.limit, verdict.annual_rate, int(row["label"])))
    whole = run(workspace, made, made, amount=Decimal("150000.00"), term=12).sums[WHOLE, WHOLE][0]
    profit = sum(-limit * Decimal("0.55") if bad else limit * (rate - Decimal("0.022")) for limit, rate, bad in lent)
    assert (whole.approved, whole.defaults) == (len(lent), sum(bad for *_, bad in lent))
    assert Decimal(str(whole.limits)) == sum(limit for limit, *_ in lent)
    assert whole.mean_rate == pytest.approx(float(sum(rate for _, rate, _ in lent)) / len(lent), rel=1e-14)
    assert whole.profit == pytest.approx(float(profit), abs=0.005)


def test_nothing_depends_on_how_many_are_read_at_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(workspace, strategy(stricter()), strategy())
    assert {title for title, _ in whole.sums} == {WHOLE, "状态 status"}
    assert len(whole.by_month) > 1
    for size, processes in ((37, 10**9), (101, 0)):
        monkeypatch.setattr(backtest, "MOST_AT_ONCE", size)
        monkeypatch.setattr(backtest, "WORTH_A_PROCESS", processes)
        assert figures(run(workspace, strategy(stricter()), strategy())) == figures(whole)
    assert "applications are tried" not in capsys.readouterr().err
    monkeypatch.setattr(backtest, "PROGRESS_ROWS", 100)
    run(workspace, strategy(), strategy())
    assert capsys.readouterr().err.count("of 400 applications are tried") == ROWS // 100


def test_a_period_is_from_the_first_day_to_before_the_last(workspace: Workspace) -> None:
    found = run(workspace, strategy(), strategy(), start="2024-02-01", end="2024-03-01")
    assert (found.first, found.last) == ("2024-02-01", "2024-02-29")
    assert found.learnt_from == found.sums[WHOLE, WHOLE][0].applications
    assert run(workspace, strategy(), strategy(), start="2024-04-01").learnt_from == 0
    with pytest.raises(NotFound, match="no application in this period"):
        run(workspace, strategy(), strategy(), start="2030-01-01")
    with pytest.raises(NotFound, match="Nothing is known"):
        run(workspace, strategy(), strategy(), start="2024-01-26", end="2024-01-26T06:00")
    with pytest.raises(ConfigError, match="last week"):
        run(workspace, strategy(), strategy(), start="last week")


def test_what_a_product_does_not_lend_is_refused_before_anything_is_read(workspace: Workspace) -> None:
    workspace.paths.training_set.unlink()
    with pytest.raises(Refusal):
        run(workspace, strategy(), strategy(), amount=Decimal(10**9))


def test_the_page_has_the_figures(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(workspace, strategy(stricter()), strategy())
    written: dict[str, str] = {}
    monkeypatch.setattr(pages, "write", lambda _, name, html: written.setdefault(name, html))
    backtest_page.write(workspace, found)
    html = next(iter(written.values()))
    assert f"{found.sums[WHOLE, WHOLE][0].approved:,}" in html
    assert f"{found.swaps['both'].limits:,.0f}" in html
    assert "状态 status" in html
