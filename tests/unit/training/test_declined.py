"""Who was declined for the score, taken from the evidence of decisions into a training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from credit301.domain.text import Text
from credit301.domain.verdict import ABOVE_CUT_OFF, Cause, Outcome
from credit301.errors import ModelError
from credit301.evidence import record
from credit301.evidence.archive import Archive
from credit301.evidence.record import Evidence
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.identity.keyed_hash import KeyedHash
from credit301.model import bundle as bundles
from credit301.workspace import Workspace
from tests.unit.training import synthetic
from training import declined
from training.dataset import TrainingSet
from training.rejects import Method
from training.train import train

LINE = (Path(__file__).parents[2] / "golden" / "decisions" / "decisions.jsonl").read_bytes().splitlines()[0]
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return synthetic.workspace(tmp_path)


def evidence(bundle: str, entity: str, day: int, *causes: str, **changed: Any) -> Evidence:
    """A declined application of ``entity``, so many days after the first of 2024."""
    base = record.decode(LINE)
    decision = msgspec.structs.replace(
        base.decision,
        decision_id=f"{entity}-{day}",
        entity=entity,
        outcome=Outcome.DECLINE,
        causes=tuple(Cause(code, Text(zh=code, en=code)) for code in causes),
        decided_at=BEGAN + timedelta(days=day),
        **changed,
    )
    values = (22_000.0, float(day % 7), 3.0, "B", 1.0, None)
    return msgspec.structs.replace(base, bundle=bundle, values=values, decision=decision)


def write(workspace: Workspace, found: list[Evidence]) -> None:
    with AuditWriter.of(workspace) as audit:
        for item in found:
            said = item.decision
            entry = Entry(
                event=Event.DECIDED,
                who="bank",
                entity=said.entity,
                decision=said.decision_id,
                detail={"outcome": said.outcome.value},
            )
            audit.append(entry, record.encode(item))


def test_declined_for_the_score_are_learnt_from_and_others_are_not(workspace: Workspace) -> None:
    data = synthetic.rows(400)
    with pytest.raises(ModelError, match="no declined applications"):
        train(workspace, data, register=False, inference=Method.FUZZY)
    first = train(workspace, data, register=False)
    bundle = bundles.read(Path(first["bundle"]))
    Archive(workspace.paths.archive).keep(bundle)
    hashed = KeyedHash.from_settings(workspace.settings)
    known = str(data.head["uscc"][0])
    for_score = [evidence(bundle.sha256, hashed(f"N{number}"), number, ABOVE_CUT_OFF) for number in range(40)]
    others = [
        evidence(bundle.sha256, hashed(known), 3, ABOVE_CUT_OFF),
        evidence(bundle.sha256, hashed("R1"), 4, "rule.registration_unknown"),
        evidence(bundle.sha256, hashed("R2"), 4, ABOVE_CUT_OFF, "rule.registration_unknown"),
        evidence(bundle.sha256, hashed("A1"), 4, ABOVE_CUT_OFF, "accept_lane", band="A"),
    ]
    write(workspace, for_score + others)
    found = declined.declined(workspace, data)
    assert found is not None
    assert len(found) == 41
    assert sorted(found.feature_names) == sorted(data.feature_names)
    assert known in set(found.head["uscc"])
    row = found.frame.iloc[5]
    assert (row["tax__sales"], row["registry__sector"]) == (22_000.0, "B")
    assert np.isnan(row["court__amount"])

    inferred = train(workspace, data, register=False, inference=Method.FUZZY)
    assert inferred["skipped"] is False
    assert inferred["reject_inference"]["declined"] >= 40
    # What is said of the training is said of outcomes that were seen.
    assert (inferred["rows"], inferred["test_rows"]) == (first["rows"], first["test_rows"])
    assert "<code>fuzzy</code>" in (workspace.paths.reports / "training.html").read_text(encoding="utf-8")
    assert train(workspace, data, register=False, inference=Method.FUZZY)["skipped"] is True


def test_a_loan_by_lot_has_the_lots_probability(workspace: Workspace) -> None:
    hashed = KeyedHash.from_settings(workspace.settings)
    said: dict[str, str | int | float] = {"alias": "champion", "registered": "1", "probability": 0.2, "score": 500}
    lot: dict[str, str | int | float] = {"lot_probability": 0.1, "lot_drawn": 1, "lot_granted": 1}
    with AuditWriter.of(workspace) as audit:
        for number, detail in enumerate([{**said, "outcome": "approve"}, {**said, **lot, "outcome": "approve"}]):
            entity = hashed(f"E{number}")
            audit.append(Entry(event=Event.DECIDED, who="b", entity=entity, decision=f"d{number}", detail=detail))
    frame = synthetic.rows(60).frame.iloc[:4].copy()
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
    frame["uscc"] = ["E0", "E1", "E1", "E2"]
    # Before any decision; and two loans that came of one.
    frame["decision_time"] = [now, now - np.timedelta64(400, "D"), now + np.timedelta64(20, "D"), now]
    found = declined.propensity(workspace, data := TrainingSet(frame, "uscc"))
    assert found is not None
    of = dict(zip(zip(data.head["uscc"], data.times.astype("datetime64[D]"), strict=True), found, strict=True))
    assert sorted(of.values()) == [0.1, 1.0, 1.0, 1.0]
    assert of["E1", (now + np.timedelta64(20, "D")).astype("datetime64[D]")] == 0.1
