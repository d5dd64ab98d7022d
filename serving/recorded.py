"""What is kept of a decision: its line in the audit trail, and the evidence that is attached to it."""

from __future__ import annotations

from importlib.metadata import version as package_version
from typing import TYPE_CHECKING

import msgspec

from credit301.evidence import record
from credit301.evidence.record import Evidence, LotDrawn
from credit301.governance.audit.entry import Entry, Event
from serving.shadow import said_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from credit301.domain.decision import Decision
    from credit301.governance.consent.coverage import Asking, Coverage
    from credit301.strategy.strategy import Strategy
    from serving.decide import Caller
    from serving.features import FeatureRow
    from serving.judge import Judgement, Loaded
    from serving.lane import Lot

RELEASE = package_version("credit301")


def entry(judged: Judgement, lot: Lot | None, caller: Caller, named: str, decision: Decision) -> Entry:
    """What the trail says of a decision: who decided and what was said, not what was read."""
    detail: dict[str, str | int | float] = {
        "alias": decision.versions.alias,
        "model": decision.versions.model,
        "registered": decision.versions.registered,
        "strategy": decision.versions.strategy,
        **said_of(judged.verdict),
    }
    if judged.score is not None:
        detail |= {"probability": judged.score.probability, "score": judged.score.score}
    if judged.taken:
        detail["fallbacks"] = ",".join(f"{item.missing}:{item.action}" for item in judged.fallbacks)
    if lot is not None:
        granted = lot.verdict is not None
        detail |= {"lot_probability": lot.probability, "lot_drawn": int(lot.drawn), "lot_granted": int(granted)}
    return Entry(
        event=Event.DECIDED,
        who=caller.name,
        entity=named,
        application=caller.application,
        decision=decision.decision_id,
        detail=detail,
    )


def reading(
    event: Event,
    caller: Caller,
    named: str,
    decision: str,
    asking: Asking,
    coverage: Coverage,
    detail: Mapping[str, str] | None = None,
) -> Entry:
    """What the trail says of a read for the decision of this number, or of one that did not come about."""
    return Entry(
        event=event,
        who=caller.name,
        entity=named,
        application=caller.application,
        decision=decision,
        purpose=asking.purpose,
        sources=coverage.sources,
        consents=coverage.consents,
        detail={**coverage.withheld, **(detail or {})},
    )


def evidence(
    loaded: Loaded | None,
    strategy: Strategy,
    row: FeatureRow,
    lot: Lot | None,
    caller: Caller,
    named: str,
    decision: Decision,
) -> bytes:
    """What the decision can be made again from."""
    return record.encode(
        Evidence(
            release=RELEASE,
            bundle="" if loaded is None else loaded.sha256,
            strategy=strategy.sha256,
            caller=caller.name,
            application=caller.application,
            values=tuple(row.values),
            lot=None if lot is None else LotDrawn(lot.probability, lot.most, lot.drawn, lot.verdict is not None),
            decision=msgspec.structs.replace(decision, entity=named),
        )
    )
