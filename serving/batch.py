"""Deciding on many entities at once from the feature marts, without an online store.

Each decision is one like the endpoint's: read by consent, on record with its evidence, and replayable. Nobody has
applied, though, so that it counts neither as an application nor in what is measured of the endpoint's decisions.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from credit301 import console
from credit301.domain.decision import Decision
from credit301.domain.verdict import Outcome
from credit301.errors import NotFound
from credit301.evidence.archive import archive_at
from credit301.files import replacing
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import Asking
from credit301.model import bundle as bundles
from credit301.strategy.strategy import Strategy
from credit301.workspace import Workspace
from serving.batch_desk import Desk
from serving.batch_marts import entities
from serving.judge import Loaded

REPORT = "decisions.parquet"
PROGRESS_ENTITIES = 10_000
_SCHEMA = pa.schema(
    [
        ("entity", pa.string()),
        ("decision_id", pa.string()),
        ("outcome", pa.string()),
        ("probability", pa.float64()),
        ("score", pa.int32()),
        ("band", pa.string()),
        ("limit", pa.decimal128(18, 2)),
        ("annual_rate", pa.decimal128(9, 6)),
        ("reasons_zh", pa.list_(pa.string())),
        ("reasons_en", pa.list_(pa.string())),
        ("missing_sources", pa.list_(pa.string())),
    ]
)


def newest_bundle(folder: Path) -> Path:
    """Directory of the bundle that was made last.

    Raises:
        NotFound: there is none.
    """
    found = [
        (bundles.read(path.parent).manifest.created_at, path.parent)
        for path in folder.glob(f"[!.]*/{bundles.MANIFEST}")
    ]
    if not found:
        raise NotFound("There is no bundle to decide with.", hint="Train a model first: credit301 train.")
    return max(found)[1]


def decide_all(
    workspace: Workspace, loaded: Loaded, strategy: Strategy, amount: Decimal, term_months: int, asking: Asking
) -> dict[str, Any]:
    """Decide on every entity that has features, no outcome to learn from, and consents; write the decisions as Parquet.

    The file is there once each decision in it is in the audit trail with its evidence. What was decided before an
    error stays on record.

    Args:
        workspace: whose marts are read.
        loaded: scores.
        strategy: decides.
        amount: yuan that each is taken to ask for.
        term_months: months that each is taken to ask for.
        asking: by whose consents it is read, as the ledger has them now.

    Returns:
        Counts by outcome (``without_consent``: not decided on) and band, the sum of limits, the mean rate over
        approvals, the file's path, and the ``application`` under which all of it is in the audit trail.

    Raises:
        NotFound: no feature mart has been built.
        WarehouseError: a mart cannot be read, or lacks a feature of the model.
        ModelError: a value does not fit the model.
        AuditError: a decision cannot be recorded, or model and strategy cannot be kept for its replay.
    """
    path = workspace.paths.reports / REPORT
    archive_at(workspace.paths.archive).keep_both(loaded.scorer.bundle, strategy)
    totals = _Totals()
    desk = Desk(workspace, loaded, strategy, asking, (amount, term_months))
    with (
        replacing(path) as temporary,
        AuditWriter.of(workspace) as audit,
        pq.ParquetWriter(temporary, _SCHEMA) as file,
    ):
        for read in entities(workspace, loaded):
            found = [desk.decide(*one) for one in read]
            number = audit.append_all([act for acts, _ in found for act in acts])
            decided = [decision for _, decision in found if decision is not None]
            file.write_table(pa.Table.from_pylist([_row(decision) for decision in decided], schema=_SCHEMA))
            totals.add(decided)
            # Before the next ones are decided on, these are as durable as an answer of the endpoint would be.
            asyncio.run(audit.durable(number))
    if left_out := desk.without_consent:
        console.say(f"没有有效授权、未作决策：{left_out} 家 · without consent, not decided on: {left_out}")
    if totals.decided:
        console.say(
            f"{totals.decided:,} 笔决策的证据已存入审计记录，可逐笔重放 · "
            "evidence of each is in the audit trail: credit301 replay DECISION_ID"
        )
    return {
        "model": loaded.manifest.version,
        "strategy": strategy.version,
        "decided": totals.decided,
        "without_data": desk.without_data,
        "without_consent": desk.without_consent,
        "approved": totals.outcomes[Outcome.APPROVE],
        "declined": totals.outcomes[Outcome.DECLINE],
        "referred": totals.outcomes[Outcome.REFER],
        "approved_by_band": {name: totals.bands[name] for name in strategy.definition.bands},
        "limits": str(totals.limits),
        "mean_annual_rate": totals.mean_rate,
        "application": desk.caller.application,
        "path": str(path),
    }


class _Totals:
    """What adds up over all decisions."""

    def __init__(self) -> None:
        self.decided = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.bands: Counter[str | None] = Counter()
        self.limits = self._rates = Decimal(0)

    def add(self, decisions: list[Decision]) -> None:
        """Count ``decisions``, and say how far it is."""
        before, self.decided = self.decided, self.decided + len(decisions)
        for decision in decisions:
            self.outcomes[decision.outcome] += 1
            if decision.outcome is Outcome.APPROVE:
                self.bands[decision.band] += 1
                self.limits += decision.limit or 0
                self._rates += decision.annual_rate or 0
        if before // PROGRESS_ENTITIES != self.decided // PROGRESS_ENTITIES:
            console.say(f"已决策 {self.decided:,} 家 · {self.decided:,} are decided on")

    @property
    def mean_rate(self) -> str | None:
        """Over the approvals, as exact decimal text."""
        approved = self.outcomes[Outcome.APPROVE]
        return str((self._rates / approved).quantize(Decimal("0.000001"))) if approved else None


def _row(decision: Decision) -> dict[str, Any]:
    return {
        "entity": decision.entity,
        "decision_id": decision.decision_id,
        "outcome": decision.outcome.value,
        "probability": decision.probability,
        "score": decision.score,
        "band": decision.band,
        "limit": decision.limit,
        "annual_rate": decision.annual_rate,
        "reasons_zh": [reason.text.zh for reason in decision.reasons],
        "reasons_en": [reason.text.en for reason in decision.reasons],
        "missing_sources": list(decision.missing_sources),
    }
