"""The figures of a back-test are those of its rows, and the swap set adds up."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from credit301.errors import ConfigError, NotFound
from credit301.model import stewardship
from credit301.model.bundle import Scale
from credit301.model.stewardship import Stewardship
from credit301.workspace import Workspace
from tests.support.strategies import DOCUMENT, strategy
from training import backtest_page, pages, versions
from training.backtest import WHOLE, run
from training.dataset import TrainingSet

ROWS = 400


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workspace:
    random = np.random.default_rng(3)
    p = random.uniform(0.001, 0.5, ROWS)
    frame = pd.DataFrame(
        {
            "uscc": [f"E{n:04}" for n in range(ROWS)],
            "decision_time": pd.date_range("2024-01-01", periods=ROWS, freq="12h"),
            "label": (random.uniform(size=ROWS) < p).astype(int),
            "business_registration__status_last": random.choice(["active", "active", "revoked"], ROWS),
            "judicial_penalty__dishonest_listing_count_24m": 0.0,
            "tax_declaration__declared_sales_12m_sum": random.uniform(1e5, 5e6, ROWS),
            "p": np.where(np.arange(ROWS) % 50 == 0, np.nan, p),
        }
    )
    manifest = SimpleNamespace(scale=Scale())
    version = SimpleNamespace(number="1", bundle=SimpleNamespace(manifest=manifest), seen_until="2024-03-01")
    monkeypatch.setattr(TrainingSet, "of", lambda _: TrainingSet(frame, "uscc"))
    monkeypatch.setattr(versions, "find", lambda *_: version)
    monkeypatch.setattr(versions, "probabilities", lambda _, rows: rows["p"].to_numpy())
    monkeypatch.setattr(stewardship, "load", lambda _: Stewardship())
    return SimpleNamespace(settings=SimpleNamespace(cpu_threads=1), paths=SimpleNamespace(site=tmp_path))  # type: ignore[return-value]


def stricter() -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document["definition"] |= {"cut_off": 0.1, "version": "test-2"}
    return document


def test_a_stricter_cut_off_takes_part_of_what_the_other_takes(workspace: Workspace) -> None:
    found = run(workspace, strategy(stricter()), strategy())
    new, old = found.sums[WHOLE, WHOLE]
    assert new.applications == old.applications == ROWS - ROWS // 50
    assert 0 < new.approved < old.approved
    assert new.bad_rate is not None
    assert old.bad_rate is not None
    assert new.bad_rate < old.bad_rate
    swaps = found.swaps
    assert (swaps["only_candidate"].applications, swaps["both"].applications) == (0, new.approved)
    assert swaps["both"].approved + swaps["only_current"].approved == old.approved
    assert sum(part.applications for part in swaps.values()) == new.applications
    assert found.causes[0].keys() == {"rule.not_in_operation", "probability_above_cut_off"}
    assert sum(found.causes[0].values()) == new.applications - new.approved


def test_a_period_is_from_the_first_day_to_before_the_last(workspace: Workspace) -> None:
    found = run(workspace, strategy(), strategy(), start="2024-02-01", end="2024-03-01")
    assert (found.first, found.last) == ("2024-02-01", "2024-02-29")
    assert found.learnt_from == found.sums[WHOLE, WHOLE][0].applications
    assert run(workspace, strategy(), strategy(), start="2024-04-01").learnt_from == 0
    with pytest.raises(NotFound, match="no application in this period"):
        run(workspace, strategy(), strategy(), start="2030-01-01")
    with pytest.raises(ConfigError, match="last week"):
        run(workspace, strategy(), strategy(), start="last week")


def test_the_page_has_the_figures(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(workspace, strategy(stricter()), strategy())
    written: dict[str, str] = {}
    monkeypatch.setattr(pages, "write", lambda _, name, html: written.setdefault(name, html))
    monkeypatch.setattr(pages, "render", lambda template, _, **context: f"{template} {context['swaps']}")
    backtest_page.write(workspace, found)
    assert f"{found.swaps['both'].applications}" in next(iter(written.values()))
