"""One decision of many that nobody has applied for: by consent, with everything that goes on record of it."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal

from credit301 import console
from credit301.domain.decision import BATCH, Decision
from credit301.domain.verdict import Scalar
from credit301.features.vector import FeatureRow
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.consent.coverage import Asking, ConsentMissing, ConsentRule, Coverage
from credit301.governance.consent.ledger import ledger_of
from credit301.governance.consent.records import standing
from credit301.identity.keyed_hash import KeyedHash
from credit301.model.scorer import NothingKnown
from credit301.strategy.strategy import Strategy
from credit301.workspace import Workspace
from serving import recorded
from serving.answer import Facts, answer
from serving.decide import Caller
from serving.judge import Loaded, source_gaps

Acts = list[tuple[Entry, bytes | None]]
"""Entries of the audit trail, each with what is attached to it."""


class Desk:
    """Decides by the consents in the ledger itself; every entity that is read or refused is on record.

    Args:
        workspace: whose entities.
        loaded: scores.
        strategy: decides.
        asking: by whose consents it is read.
        asked: yuan and months that each is taken to ask for.
    """

    def __init__(
        self, workspace: Workspace, loaded: Loaded, strategy: Strategy, asking: Asking, asked: tuple[Decimal, int]
    ) -> None:
        self.caller = Caller(asking.grantee, f"decide_all-{uuid.uuid4()}")
        self.without_consent = self.without_data = 0
        self._workspace = workspace.name
        self._rule = ConsentRule.of(workspace)
        self._ledger = ledger_of(workspace)
        self._named = KeyedHash.from_settings(workspace.settings)
        self._loaded = loaded
        self._strategy = strategy
        self._asking = asking
        self._amount, self._term = asked
        reason = workspace.definition.governance.consent.reason
        if reason is not None:
            console.say(f"无需授权：{reason.zh} · no consent needed: {reason.en}")

    def decide(
        self, entity: str, values: list[Scalar], as_of: dict[str, datetime | None]
    ) -> tuple[Acts, Decision | None]:
        """What to record of ``entity``, and the decision; ``None`` where consent or data are missing."""
        start = time.perf_counter_ns()
        named, number = self._named(entity), str(uuid.uuid4())
        standings = standing(self._ledger.records(named)) if self._rule.enforced else ()
        coverage = self._rule.cover(standings, self._loaded.plan.views, self._asking, time.time_ns() // 1000)
        try:
            self._rule.require(coverage, self._strategy.definition.indispensable)
        except ConsentMissing:
            self.without_consent += 1
            refused = Coverage((), coverage.withheld, ())
            return [(self._reading(Event.REFUSED, named, number, refused), None)], None
        self._loaded.plan.withhold(values, coverage.withheld)
        row = FeatureRow(values, {view: None if view in coverage.withheld else as_of[view] for view in as_of}, coverage)
        reading = self._reading(Event.READ, named, number, coverage)
        read = time.perf_counter_ns()
        gaps = source_gaps(coverage.withheld, ())
        try:
            judged = self._loaded.judge(self._strategy, values, self._amount, self._term, gaps=gaps)
        except NothingKnown:
            self.without_data += 1
            return [(reading, None)], None
        facts = Facts(
            decision_id=number,
            workspace=self._workspace,
            entity=entity,
            amount=self._amount,
            term_months=self._term,
            alias=BATCH,
            registered=self._loaded.registry_version,
            as_of=row.as_of,
            consents=coverage.consents,
            withheld=tuple(coverage.withheld),
            expired=(),
            windows={},
            lot_probability=None,
            timings=judged.timings(start, read),
            decided_at=datetime.now(UTC),
        )
        decision = answer(self._loaded, self._strategy, judged, facts)
        entry = recorded.entry(judged, None, self.caller, named, decision)
        evidence = recorded.evidence(self._loaded, self._strategy, row, None, self.caller, named, decision)
        return [(reading, None), (entry, evidence)], decision

    def _reading(self, event: Event, named: str, number: str, coverage: Coverage) -> Entry:
        return recorded.reading(event, self.caller, named, number, self._asking, coverage)
