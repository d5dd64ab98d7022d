"""Decisions of earlier releases come out of this one as they were made.

``decisions/decisions.jsonl`` has the evidence of decisions as an endpoint wrote it, ``decisions/archive`` the models that
made them. A change that makes one of them come out differently breaks the promise that a decision can be replayed
releases later: keep the old way for old evidence (``Evidence.format``), and add lines of the new one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from credit301.evidence import record
from credit301.evidence.archive import Archive
from credit301.evidence.find import by_number
from credit301.evidence.record import Evidence
from credit301.governance.audit.chain import Hasher
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.model import bundle
from serving.replay import Replayed, Replayer

KEPT = Path(__file__).parent / "decisions"
LINES = (KEPT / "decisions.jsonl").read_bytes().splitlines()


def replayed(evidence: Evidence, trail: Path, archive: Path) -> Replayed:
    """What comes of ``evidence`` in a trail of its own."""
    decision = evidence.decision
    entry = Entry(
        event=Event.DECIDED,
        who=evidence.caller,
        entity=decision.entity,
        application=evidence.application,
        decision=decision.decision_id,
        detail={"outcome": decision.outcome.value},
    )
    with AuditWriter(trail, Hasher("the key")) as audit:
        audit.append(entry, record.encode(evidence))
    return Replayer(trail, Archive(archive)).replay(by_number(trail, decision.decision_id))


@pytest.mark.parametrize("line", LINES, ids=lambda line: record.decode(line).decision.decision_id[:8])
def test_a_decision_of_an_earlier_release_is_replayed_bit_for_bit(line: bytes, tmp_path: Path) -> None:
    evidence = record.decode(line)
    done = replayed(evidence, tmp_path, KEPT / "archive")
    assert (done.problem, done.differences) == ("", ())
    assert record.encode(evidence) == line


def test_a_model_that_says_something_else_is_found(tmp_path: Path) -> None:
    """The check can fail: the same evidence, said to be of a model with another intercept."""
    archive = tmp_path / "archive"
    shutil.copytree(KEPT / "archive", archive)
    evidence = record.decode(LINES[0])
    kept = Archive(archive).read(evidence.bundle)
    ensemble = msgspec.structs.replace(kept.manifest.ensemble, intercept=kept.manifest.ensemble.intercept + 0.001)
    other = bundle.write(
        tmp_path / "other", msgspec.structs.replace(kept.manifest, ensemble=ensemble), dict(kept.files)
    )
    Archive(archive).keep(other)
    done = replayed(msgspec.structs.replace(evidence, bundle=other.sha256), tmp_path / "audit", archive)
    assert any(difference.startswith("probability:") for difference in done.differences)
