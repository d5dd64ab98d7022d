"""Every decision of a real endpoint can be made again from its evidence, bit for bit, or it is said why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from credit301 import verbs
from credit301.errors import AuditError, ConfigError, NotFound
from credit301.evidence import find
from credit301.governance.audit.chain import Hasher
from credit301.governance.audit.verify import verify
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.erasure.evidence import destroy_evidence
from credit301.identity.keyed_hash import KeyedHash
from credit301.model import stewardship
from credit301.model.stewardship import AcceptLane, Stewardship
from credit301.workspace import Workspace
from serving.app import Service
from tests.support.endpoint import (
    BAD_ONE,
    EVERYBODY,
    GOOD_ONE,
    REVOKED_ONE,
    TAX_ONLY,
    ask,
    client_of,
    filled_store,
    make_bundle,
    workspace_in,
)
from tests.support.servers import running

pytestmark = pytest.mark.server
ASKED_FOR = (GOOD_ONE, BAD_ONE, REVOKED_ONE, TAX_ONLY)
LANE = AcceptLane(share=1.0, monthly_cap=Decimal(10_000_000), limit_per_loan=Decimal(30_000), round="1")


@dataclass
class Decided:
    """A workspace whose endpoint has decided and is gone."""

    workspace: Workspace
    answers: list[dict[str, Any]]

    @property
    def trail(self) -> Path:
        """Its audit trail."""
        return self.workspace.paths.audit

    def number(self, place: int) -> str:
        """A decision's number."""
        return str(self.answers[place]["decision_id"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    patch = pytest.MonkeyPatch()
    patch.setattr(stewardship, "load", lambda _: Stewardship(accept_lane=LANE))
    with filled_store() as store:
        workspace = workspace_in(
            tmp_path_factory.mktemp("evidence"), f"redis://127.0.0.1:{store.port}/0", consenting=EVERYBODY
        )
        answers = []
        # Two models decide in turn, and neither is there any more when their decisions are replayed.
        for version, intercept in (("v1", 2.0), ("v2", 0.5)):
            make_bundle(workspace.paths.bundles, version, intercept)
            service = Service(workspace, bundle=workspace.paths.bundles / version)
            with running(service.app()) as address, client_of(workspace, address) as api:
                answers += [_answered(ask(api, entity)) for entity in ASKED_FOR]
            shutil.rmtree(workspace.paths.bundles)
        patch.undo()
        yield Decided(workspace, answers)


def _answered(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200
    return response.json()


@pytest.fixture
def decided(made: Decided, tmp_path: Path) -> Decided:
    """A copy that a test may spoil."""
    home = tmp_path / "home"
    shutil.copytree(made.workspace.settings.home, home)
    settings = made.workspace.settings.model_copy(update={"home": home})
    return Decided(Workspace.load(made.workspace.directory, settings), made.answers)


def test_all_come_out_the_same_after_their_models_are_gone(decided: Decided) -> None:
    done = verbs.call("replay", decided.workspace, last=1000)
    assert done == {"replayed": len(decided.answers), "identical": len(decided.answers)}
    assert any(answer["accept_lane"] for answer in decided.answers)
    assert {answer["outcome"] for answer in decided.answers} == {"approve", "decline"}
    assert verbs.call("replay", decided.workspace, decision=decided.number(0)) == {"replayed": 1, "identical": 1}


def test_the_evidence_is_the_answer_and_names_nobody(decided: Decided, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    verbs.call("evidence", decided.workspace, decision=decided.number(1), out=path)
    kept = json.loads(path.read_text(encoding="utf-8"))
    named = KeyedHash.from_settings(decided.workspace.settings)(BAD_ONE)
    assert kept["decision"] == {**decided.answers[1], "entity": named}
    assert kept["lot"] == {"probability": 1.0, "most": "30000", "drawn": True, "granted": True}
    for file in decided.trail.iterdir():
        for entity in ASKED_FOR:
            assert entity.encode() not in file.read_bytes()


def test_the_newest_come_first_and_no_more_than_asked_for(decided: Decided) -> None:
    newest = [record.entry.decision for record in find.newest(decided.trail, 3)]
    assert newest == [decided.number(place) for place in (-1, -2, -3)]


def change(decided: Decided, before: bytes, after: bytes) -> None:
    """Change the evidence of one decision as somebody would who can write files."""
    (file,) = [path for path in decided.trail.glob("*.attached") if before in path.read_bytes()]
    file.write_bytes(file.read_bytes().replace(before, after, 1))


def test_tampered_evidence_is_found_by_the_trail_and_by_the_replay(decided: Decided) -> None:
    probability = str(decided.answers[0]["probability"]).encode()
    change(decided, probability, probability[:-1] + (b"1" if probability[-1:] != b"1" else b"2"))
    with pytest.raises(AuditError, match="not what was written"):
        verbs.call("replay", decided.workspace, decision=decided.number(0))
    with pytest.raises(AuditError, match="not what was written"):
        verbs.call("replay", decided.workspace, decision=decided.number(0), verify=False)


def test_evidence_forged_with_the_key_still_does_not_come_out_the_same(decided: Decided) -> None:
    """Whoever has the key can write a record that the chain vouches for; what the model says is not theirs to choose."""
    record = find.by_number(decided.trail, decided.number(0))
    evidence, _ = find.of(decided.trail, record)
    assert evidence.decision.probability is not None
    better = msgspec.structs.replace(evidence.decision, probability=evidence.decision.probability / 2)
    forged = msgspec.json.encode(msgspec.structs.replace(evidence, decision=better))
    entry = msgspec.structs.replace(record.entry, decision="forged", attached=None)
    forged = forged.replace(decided.number(0).encode(), b"forged")
    with AuditWriter(decided.trail, Hasher.from_settings(decided.workspace.settings)) as audit:
        audit.append(entry, forged)
    with pytest.raises(AuditError, match="probability:"):
        verbs.call("replay", decided.workspace, decision="forged")


def test_evidence_under_another_decisions_record_is_refused(decided: Decided) -> None:
    record = find.by_number(decided.trail, decided.number(0))
    _, other = find.of(decided.trail, find.by_number(decided.trail, decided.number(1)))
    entry = msgspec.structs.replace(record.entry, decision="swapped", attached=None)
    with AuditWriter(decided.trail, Hasher.from_settings(decided.workspace.settings)) as audit:
        audit.append(entry, other)
    with pytest.raises(AuditError, match="disagree on decision_id, entity"):
        verbs.call("replay", decided.workspace, decision="swapped")


def test_a_model_that_was_changed_in_the_archive_is_not_used(decided: Decided) -> None:
    for path in decided.workspace.paths.archive.rglob("*.txt"):
        path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(AuditError, match="SHA-256"):
        verbs.call("replay", decided.workspace, decision=decided.number(0))
    shutil.rmtree(decided.workspace.paths.archive)
    with pytest.raises(AuditError, match="not in the archive"):
        verbs.call("replay", decided.workspace, decision=decided.number(0))


def test_evidence_is_destroyed_when_its_time_is_over_and_the_trail_still_holds(decided: Decided) -> None:
    hasher = Hasher.from_settings(decided.workspace.settings)
    with AuditWriter.of(decided.workspace) as audit:
        assert destroy_evidence(decided.workspace, audit) == 0
        later = datetime.now(UTC) + timedelta(days=1827)
        assert destroy_evidence(decided.workspace, audit, later) == len(decided.answers)
        assert destroy_evidence(decided.workspace, audit, later) == 0
    assert not any(any(path.read_bytes()) for path in decided.trail.glob("*.attached"))
    found = verify(decided.trail, hasher)
    assert (found.attached, found.destroyed, found.problems) == (0, len(decided.answers), [])
    with pytest.raises(AuditError, match="destroyed when its time was over"):
        verbs.call("replay", decided.workspace, decision=decided.number(0))


def test_what_to_replay_must_be_said(decided: Decided) -> None:
    with pytest.raises(ConfigError, match="a number, or --last"):
        verbs.call("replay", decided.workspace)
    with pytest.raises(NotFound, match="no decision with the number"):
        verbs.call("replay", decided.workspace, decision="nobody")
