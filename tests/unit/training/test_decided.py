"""What the endpoint recorded, read on from where the last look ended, beside what became of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit301.domain.decision import BATCH
from credit301.errors import AuditError
from credit301.governance.audit.chain import CHAIN
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.identity.keyed_hash import KeyedHash
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import decided, decision_digest
from training.dataset import TrainingSet


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return synthetic.workspace(tmp_path)


def entry(workspace: Workspace, number: int, detail: dict[str, str | int | float], *, shadow: bool = False) -> Entry:
    """The record of the decision on E<number>, or of its shadow."""
    event = Event.SHADOWED if shadow else Event.DECIDED
    entity = KeyedHash.from_settings(workspace.settings)(f"E{number}")
    return Entry(event=event, who="bank", entity=entity, decision=f"d{number}", detail=detail)


def record(workspace: Workspace, *rows: dict[str, str | int | float], shadow: dict[str, str | int | float]) -> None:
    """Decisions on E0, E1, ..., as the endpoint records them; the first one with a shadow."""
    with AuditWriter.of(workspace) as audit:
        for number, row in enumerate(rows):
            audit.append(entry(workspace, number, row))
        audit.append(entry(workspace, 0, shadow, shadow=True))
        audit.append(entry(workspace, 1, {"problem": "ModelError"}, shadow=True))
        audit.append(Entry(event=Event.READ, who="bank", decision="d0"))


def decisions(workspace: Workspace) -> pd.DataFrame:
    return pd.concat([frame for _, frame in decided.by_month(workspace)], ignore_index=True)


BASE: dict[str, str | int | float] = {"alias": "champion", "registered": "1", "probability": 0.2, "score": 500}
APPROVED = {**BASE, "outcome": "approve"}
DECLINED = {**BASE, "outcome": "decline"}
GRANTED = {**BASE, "outcome": "approve", "lot_probability": 0.1, "lot_drawn": 1, "lot_granted": 1}
NO_MONEY = {**BASE, "outcome": "decline", "lot_probability": 0.1, "lot_drawn": 1, "lot_granted": 0}
NOT_DRAWN = {**BASE, "outcome": "decline", "lot_probability": 0.1, "lot_drawn": 0, "lot_granted": 0}
SHADOW: dict[str, str | int | float] = {"registered": "2", "probability": 0.3, "outcome": "decline"}


def test_a_decision_carries_its_shadow_and_the_probability_that_its_outcome_is_seen(workspace: Workspace) -> None:
    record(workspace, APPROVED, DECLINED, GRANTED, NO_MONEY, NOT_DRAWN, shadow=SHADOW)
    frame = decisions(workspace)
    assert frame["decision"].tolist() == ["d0", "d1", "d2", "d3", "d4"]
    assert frame["shadow_probability"].iloc[0] == 0.3
    assert frame["shadow_probability"].iloc[1:].isna().all()
    # Of two that were drawn there was money for one.
    assert frame["propensity"].tolist() == pytest.approx([1.0, 0.0, 0.05, 0.0, 0.0])


def test_the_outcome_is_that_of_the_first_loan_that_followed(workspace: Workspace) -> None:
    record(workspace, APPROVED, APPROVED, APPROVED, shadow=SHADOW)
    frame = decisions(workspace)
    now = frame["at"].iloc[0].normalize()
    rows = [("E0", now, 1), ("E0", now + pd.Timedelta(days=20), 0), ("E1", now - pd.Timedelta(days=2), 1)]
    rows += [("E2", now + pd.Timedelta(days=90), 1), ("E9", now, 1)]
    data = TrainingSet(pd.DataFrame(rows, columns=["uscc", "decision_time", "label"]), "uscc")
    joined = decided.with_outcomes(frame, decided.outcomes(workspace, data))
    assert joined["decision"].tolist() == frame["decision"].tolist()
    assert joined["label"].iloc[0] == 1
    assert np.isnan(joined["label"].iloc[1:].to_numpy(dtype=float)).all()


def test_a_file_that_was_decided_on_is_no_decision_on_an_application(workspace: Workspace) -> None:
    record(workspace, APPROVED, {**APPROVED, "alias": BATCH}, DECLINED, shadow=SHADOW)
    assert decisions(workspace)["decision"].tolist() == ["d0", "d2"]


def test_without_decisions_there_is_no_month(workspace: Workspace) -> None:
    assert list(decided.by_month(workspace)) == []


def test_what_was_read_once_is_not_read_again_and_nothing_is_lost_or_doubled(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_digest, "BLOCK_BYTES", 97)  # records straddle blocks
    monkeypatch.setattr(decision_digest, "PART_ROWS", 3)  # and an update writes several parts
    with AuditWriter.of(workspace) as audit:
        for number in range(7):
            audit.append(entry(workspace, number, APPROVED))
        first = decision_digest.update(workspace)
        assert decision_digest.update(workspace) == first
        audit.append(entry(workspace, 7, APPROVED))
        audit.append(entry(workspace, 0, SHADOW, shadow=True))
        (chain,) = (path for path in workspace.paths.audit.glob(f"*{CHAIN}") if path.stem != "seals")
        # What was read before is not looked at again but for its end.
        text = chain.read_bytes()
        begin = text.replace(b'"decision":"d0"', b'"decision":"dX"', 1)
        chain.write_bytes(begin)
        # A left-over of an update that was killed before it counted.
        stray = workspace.paths.monitoring / "decisions" / "decided-2026-01-000099.parquet"
        stray.write_bytes(b"half")
        frame = decisions(workspace)
    assert frame["decision"].tolist() == [f"d{number}" for number in range(8)]
    assert frame["shadow_probability"].notna().tolist() == [True] + 7 * [False]
    assert not stray.exists()


def test_a_half_written_record_waits_until_it_is_whole(workspace: Workspace) -> None:
    record(workspace, APPROVED, shadow=SHADOW)
    (chain,) = (path for path in workspace.paths.audit.glob(f"*{CHAIN}") if path.stem != "seals")
    whole = chain.read_bytes()
    chain.write_bytes(whole[:-200])
    decision_digest.update(workspace)
    chain.write_bytes(whole)
    assert len(decisions(workspace)) == 1


def test_a_trail_that_was_put_back_or_changed_where_it_was_read_is_found(workspace: Workspace) -> None:
    record(workspace, APPROVED, DECLINED, shadow=SHADOW)
    decision_digest.update(workspace)
    (chain,) = (path for path in workspace.paths.audit.glob(f"*{CHAIN}") if path.stem != "seals")
    lines = chain.read_bytes().splitlines(keepends=True)
    chain.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(AuditError, match="not what it was"):
        decision_digest.update(workspace)
