"""From what was read on one entity to score, verdict and reasons: the same for one request and for a whole file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from credit301.domain.decision import Reason, Timings
from credit301.domain.verdict import FallbackTaken, Scalar, Verdict
from credit301.errors import ModelError
from credit301.model.bundle import Bundle
from credit301.model.reasons import Explainer, of_policy
from credit301.model.scorer import Score, Scorer
from credit301.strategy.fallback import Fallen, Gap
from credit301.strategy.strategy import Strategy
from serving.features import Plan


class Judgement(msgspec.Struct, frozen=True):
    """What was said on one entity, from ``values`` by name; ``nanoseconds`` spent on scoring, policy and reasons.

    ``score`` is ``None`` where something was missing that scoring needs; ``taken`` are the strategy's fallbacks.
    """

    values: Mapping[str, Scalar]
    score: Score | None
    verdict: Verdict
    reasons: tuple[Reason, ...]
    nanoseconds: tuple[int, int, int]
    taken: tuple[Fallen, ...] = ()

    @property
    def fallbacks(self) -> tuple[FallbackTaken, ...]:
        """What the strategy did for want of something."""
        return tuple(item.taken for item in self.taken)

    def timings(self, start: int, read: int) -> Timings:
        """Microseconds of a decision that began at ``start`` and had read at ``read``, until now (nanoseconds)."""
        scoring, policy, reasons = (nanoseconds // 1000 for nanoseconds in self.nanoseconds)
        return Timings(
            features=(read - start) // 1000,
            scoring=scoring,
            policy=policy,
            reasons=reasons,
            total=(time.perf_counter_ns() - start) // 1000,
        )


def source_gaps(withheld: Iterable[str], expired: Iterable[str]) -> list[Gap]:
    """Sources whose data may not be used, as gaps."""
    return [Gap("source", source) for source in (*withheld, *expired)]


def unread(strategy: Strategy, gap: Gap, amount: Decimal, term_months: int) -> Judgement | None:
    """The judgement where ``gap`` left nothing to judge; ``None`` where the strategy is unavailable then.

    Raises:
        Refusal: amount or term are outside the product.
    """
    start = time.perf_counter_ns()
    verdict = strategy.without(gap, amount, term_months)
    if verdict is None:
        return None
    taken = tuple(strategy.fallen([gap]))
    return Judgement({}, None, verdict, tuple(of_policy(verdict)), (0, time.perf_counter_ns() - start, 0), taken)


class Loaded:
    """A bundle ready to decide with. Building it takes tenths of a second and is done off the event loop.

    Args:
        bundle: a verified bundle.
        source: where it came from: ``registry``, ``cache`` or ``directory``.
        registry_version: its number in the registry; empty where it is not from there.

    Raises:
        ModelError: the bundle does not load.
    """

    def __init__(self, bundle: Bundle, *, source: str, registry_version: str = "") -> None:
        self.manifest = bundle.manifest
        self.sha256 = bundle.sha256
        self.scorer = Scorer(bundle)
        self.explainer = Explainer(bundle.manifest)
        self.plan = Plan(bundle.manifest)
        self.source = source
        self.registry_version = registry_version
        self.loaded_at = datetime.now(UTC)

    def judge(
        self,
        strategy: Strategy,
        values: Sequence[Scalar],
        amount: Decimal,
        term_months: int,
        windows: Mapping[str, Scalar] | None = None,
        gaps: Sequence[Gap] = (),
    ) -> Judgement:
        """Score ``values`` (in plan order); ``strategy`` decides on a request for ``amount`` yuan over ``term_months``.

        Rules may read ``windows`` (counts of recent events by name) like features. ``gaps``: what is missing.

        Raises:
            Refusal: amount or term are outside the product.
            ModelError: there is no value at all, or one does not fit the model, and the strategy has no fallback.
            StrategyError: an expression of the strategy cannot be evaluated on these values.
        """
        start = time.perf_counter_ns()
        score = None
        if not any(gap.missing == "model" for gap in gaps):
            try:
                score = self.scorer.score(self.scorer.encode_row(values))
            except ModelError as error:
                refused = Gap("model", type(error).__name__)
                if not strategy.fallen([refused]):
                    raise
                gaps = [*gaps, refused]
        scored = time.perf_counter_ns()
        named = dict(zip(self.plan.keys, values, strict=True))
        if windows:
            named |= windows
        taken = strategy.fallen((*gaps, *strategy.gaps(named)))
        verdict = strategy.decide(
            probability=None if score is None else score.probability,
            score=None if score is None else score.score,
            values=named,
            amount=amount,
            term_months=term_months,
            taken=taken,
        )
        decided = time.perf_counter_ns()
        reasons = self.explainer.explain(score, named, verdict, strategy.definition.bands[0])
        end = time.perf_counter_ns()
        nanoseconds = (scored - start, decided - scored, end - decided)
        return Judgement(named, score, verdict, reasons, nanoseconds, tuple(taken))

    def instead(self, strategy: Strategy, judged: Judgement, verdict: Verdict) -> Judgement:
        """``judged`` with another ``verdict`` and its reasons."""
        reasons = self.explainer.explain(judged.score, judged.values, verdict, strategy.definition.bands[0])
        return msgspec.structs.replace(judged, verdict=verdict, reasons=reasons)
