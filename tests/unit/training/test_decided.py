"""What the endpoint recorded, beside what became of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.identity.keyed_hash import KeyedHash
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import decided
from training.dataset import TrainingSet


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return synthetic.workspace(tmp_path)


def record(workspace: Workspace, *rows: dict[str, str | int | float], shadow: dict[str, str | int | float]) -> None:
    """Decisions on E0, E1, ..., as the endpoint records them; the first one with a shadow."""
    hashed = KeyedHash.from_settings(workspace.settings)
    with AuditWriter.of(workspace) as audit:
        for number, row in enumerate(rows):
            entry = Entry(
                event=Event.DECIDED, who="bank", entity=hashed(f"E{number}"), decision=f"d{number}", detail=row
            )
            audit.append(entry)
        audit.append(Entry(event=Event.SHADOWED, who="bank", decision="d0", detail=shadow))
        audit.append(Entry(event=Event.SHADOWED, who="bank", decision="d1", detail={"problem": "ModelError"}))
        audit.append(Entry(event=Event.READ, who="bank", decision="d0"))


BASE: dict[str, str | int | float] = {"alias": "champion", "registered": "1", "probability": 0.2, "score": 500}
APPROVED = {**BASE, "outcome": "approve"}
DECLINED = {**BASE, "outcome": "decline"}
GRANTED = {**BASE, "outcome": "approve", "lot_probability": 0.1, "lot_drawn": 1, "lot_granted": 1}
NO_MONEY = {**BASE, "outcome": "decline", "lot_probability": 0.1, "lot_drawn": 1, "lot_granted": 0}
NOT_DRAWN = {**BASE, "outcome": "decline", "lot_probability": 0.1, "lot_drawn": 0, "lot_granted": 0}
SHADOW: dict[str, str | int | float] = {"registered": "2", "probability": 0.3, "outcome": "decline"}


def test_a_decision_carries_its_shadow_and_the_probability_that_its_outcome_is_seen(workspace: Workspace) -> None:
    record(workspace, APPROVED, DECLINED, GRANTED, NO_MONEY, NOT_DRAWN, shadow=SHADOW)
    frame = decided.decisions(workspace)
    assert frame["decision"].tolist() == ["d0", "d1", "d2", "d3", "d4"]
    assert frame["shadow_probability"].iloc[0] == 0.3
    assert frame["shadow_probability"].iloc[1:].isna().all()
    # Of two that were drawn there was money for one.
    assert frame["propensity"].tolist() == pytest.approx([1.0, 0.0, 0.05, 0.0, 0.0])


def test_the_outcome_is_that_of_the_first_loan_that_followed(workspace: Workspace) -> None:
    record(workspace, APPROVED, APPROVED, APPROVED, shadow=SHADOW)
    frame = decided.decisions(workspace)
    now = frame["at"].iloc[0].normalize()
    rows = [("E0", now, 1), ("E0", now + pd.Timedelta(days=20), 0), ("E1", now - pd.Timedelta(days=2), 1)]
    rows += [("E2", now + pd.Timedelta(days=90), 1), ("E9", now, 1)]
    data = TrainingSet(pd.DataFrame(rows, columns=["uscc", "decision_time", "label"]), "uscc")
    joined = decided.with_outcomes(workspace, frame, data)
    assert joined["decision"].tolist() == frame["decision"].tolist()
    assert joined["label"].iloc[0] == 1
    assert np.isnan(joined["label"].iloc[1:].to_numpy(dtype=float)).all()


def test_without_decisions_there_is_an_empty_frame(workspace: Workspace) -> None:
    frame = decided.decisions(workspace)
    assert frame.empty
    assert "label" in decided.with_outcomes(workspace, frame, synthetic.rows(10))
