"""Making a decision again from its evidence, and saying whether it comes out the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from credit301.domain.decision import Decision
from credit301.errors import AuditError, Credit301Error
from credit301.evidence import find
from credit301.evidence.archive import Archive
from credit301.evidence.record import Evidence
from credit301.governance.audit.entry import Record
from credit301.strategy.errors import StrategyError
from credit301.strategy.fallback import Gap
from credit301.strategy.strategy import Strategy
from serving.answer import Facts, answer
from serving.judge import Judgement, Loaded, source_gaps, unread

_encode = msgspec.json.Encoder().encode


class Replayed(msgspec.Struct, frozen=True):
    """What came of one decision. ``differences`` are the places where the answer is another one now, with both values.

    ``problem`` says why it could not be made again at all.
    """

    decision: str
    decided_at: str
    model: str
    release: str
    outcome: str
    differences: tuple[str, ...] = ()
    problem: str = ""

    @property
    def identical(self) -> bool:
        """Whether it came out the same, bit for bit."""
        return not self.differences and not self.problem


class Replayer:
    """Replays decisions of one workspace.

    Args:
        trail: folder of the audit trail.
        archive: has the models and strategies that decided.
    """

    def __init__(self, trail: Path, archive: Archive) -> None:
        self._trail = trail
        self._archive = archive
        self._loaded: dict[str, Loaded] = {}
        self._strategies: dict[str, Strategy] = {}

    def replay(self, record: Record) -> Replayed:
        """Make the decision of ``record`` again."""
        detail = record.entry.detail
        said = Replayed(
            decision=record.entry.decision,
            decided_at=record.at,
            model=str(detail.get("model", "")),
            release="",
            outcome=str(detail.get("outcome", "")),
        )
        try:
            evidence, _ = find.of(self._trail, record)
            said = msgspec.structs.replace(said, release=evidence.release)
            if problem := _contradiction(record, evidence):
                return msgspec.structs.replace(said, problem=problem)
            again = self._again(evidence)
        except Credit301Error as error:
            return msgspec.structs.replace(said, problem=error.message)
        before, after = _encode(evidence.decision), _encode(again)
        if before == after:
            return said
        differences = tuple(_differences(msgspec.json.decode(before), msgspec.json.decode(after)))
        return msgspec.structs.replace(said, differences=differences)

    def _again(self, evidence: Evidence) -> Decision:
        loaded = self._model(evidence.bundle) if evidence.bundle else None
        decision, lot = evidence.decision, evidence.lot
        strategy = self._strategy(evidence.strategy)
        judged = _judged(loaded, strategy, evidence)
        if loaded is not None and judged.score is not None and lot is not None and lot.granted:
            verdict = strategy.admit_by_lot(
                judged.verdict,
                score=judged.score.score,
                most=lot.most,
                values=judged.values,
                amount=decision.requested_amount,
                term_months=decision.term_months,
                taken=judged.taken,
            )
            if verdict is not None:
                judged = loaded.instead(strategy, judged, verdict)
        return answer(loaded, strategy, judged, Facts.of(decision))

    def _strategy(self, sha256: str) -> Strategy:
        if sha256 not in self._strategies:
            self._strategies[sha256] = self._archive.read_strategy(sha256)
        return self._strategies[sha256]

    def _model(self, sha256: str) -> Loaded:
        if sha256 not in self._loaded:
            self._loaded[sha256] = Loaded(self._archive.read(sha256), source="archive")
        return self._loaded[sha256]


def _judged(loaded: Loaded | None, strategy: Strategy, evidence: Evidence) -> Judgement:
    """What was missing at the time is missing again: that is a fact of the moment, what becomes of it is not."""
    decision = evidence.decision
    missing = [Gap(item.missing, item.what) for item in decision.fallbacks or () if item.missing in {"store", "model"}]
    if missing and not evidence.values:
        judged = unread(strategy, missing[0], decision.requested_amount, decision.term_months)
        if judged is None:
            raise StrategyError(f"{strategy.version}: it has no fallback where the {missing[0].missing} is missing.")
        return judged
    if loaded is None:
        raise AuditError("The evidence names no model, and no fallback that does without one.")
    gaps = [*source_gaps(decision.withheld_sources, decision.expired_sources), *missing]
    return loaded.judge(
        strategy, evidence.values, decision.requested_amount, decision.term_months, decision.windows, gaps
    )


def _contradiction(record: Record, evidence: Evidence) -> str:
    """Where the trail and the evidence do not speak of the same decision; each vouches for the other."""
    entry, decision = record.entry, evidence.decision
    pairs = (
        ("decision_id", entry.decision, decision.decision_id),
        ("entity", entry.entity, decision.entity),
        ("caller", entry.who, evidence.caller),
        ("application", entry.application, evidence.application),
        ("outcome", entry.detail.get("outcome"), decision.outcome.value),
    )
    wrong = [name for name, there, here in pairs if there != here]
    return f"the audit trail and the evidence disagree on {', '.join(wrong)}" if wrong else ""


def _differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _differences(before.get(key), after.get(key), f"{place}.{key}" if place else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{place}[{number}]")
    elif before != after:
        yield f"{place}: {before!r} -> {after!r}"
