"""When B6 and B7 count as reached, and what B6 is measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import b6_training, b7_auc
from benchmarks.results import ratio
from tests.unit.training import synthetic
from training.dataset import TrainingSet
from training.specs import source_specs


def results(ensemble: float, *, peer: float = 0.85, scorecard: float = 0.84, lost: float = 0.80) -> dict[str, Any]:
    """A training's results as far as B7 reads them; the limit is 0.87."""
    models = [("ensemble", ensemble), ("one_lightgbm", peer), ("scorecard", scorecard)]
    return {
        "models": [{"name": name, "auc": auc, "auc_spread": 0.01} for name, auc in models],
        "limit": {"auc": 0.87},
        "split": {"test_defaults": 250},
        "reduced": [
            {"lost": ["tax"], "kept": ["court", "bank"], "auc": lost, "peer": 0.79},
            {"lost": ["court"], "kept": ["tax", "bank"], "auc": 0.83, "peer": 0.80},
            {"lost": ["tax", "court"], "kept": ["bank"], "auc": 0.60, "peer": None},
        ],
    }


@pytest.mark.parametrize(
    ("made", "reached"),
    [
        (results(0.865), [True, True, True]),
        (results(0.859), [False, False, True]),
        (results(0.865, peer=0.866), [False, True, True]),
        (results(0.865, scorecard=0.866), [True, False, True]),
        (results(0.865, lost=0.78), [True, True, False]),
    ],
)
def test_b7_asks_for_the_limit_both_peers_and_every_lost_source(made: dict[str, Any], reached: list[bool]) -> None:
    figures = b7_auc.figures(made, 20_000)
    assert [figure.reached for figure in figures] == reached
    assert [figure.floor for figure in figures] == [0.87] * 3


def test_b7_shows_the_lost_source_whose_lead_is_least() -> None:
    figure = b7_auc.figures(results(0.865, lost=0.78), 20_000)[-1]
    assert "with tax lost" in figure.what
    assert "1 of 2 sources" in figure.what
    assert (figure.ours, figure.peer) == (0.78, 0.79)


def test_more_auc_is_better_than_the_peer() -> None:
    figure = b7_auc.figures(results(0.865), 20_000)[0]
    assert float(ratio(figure, figure.peer)) > 1
    assert float(ratio(figure, figure.floor)) < 1


def test_b6_is_measured_on_rows_with_the_columns_of_the_contracts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = source_specs(synthetic.workspace(tmp_path))
    monkeypatch.setattr(b6_training, "ROWS_AT_ONCE", 1_500)
    b6_training.make_up(tmp_path / "rows.parquet", 4_000, specs)
    data = TrainingSet.on_disk(tmp_path / "rows.parquet", b6_training.ENTITY)
    assert set(data.features().columns) == {item.column for spec in specs for item in spec.inputs}
    assert len(data) == 4_000
    assert 0.01 < data.labels.mean() < 0.15
    absent = data.frame[["tax__sales", "tax__late"]].isna()
    assert absent["tax__sales"].equals(absent["tax__late"])
    assert absent["tax__sales"].mean() == pytest.approx(b6_training.ABSENT, abs=0.03)
    assert (np.diff(data.times) >= np.timedelta64(0)).all()
