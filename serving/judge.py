"""From what was read on one entity to score, verdict and reasons: the same for one request and for a whole file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from credit301.domain.decision import Reason
from credit301.domain.verdict import Scalar, Verdict
from credit301.model.bundle import Bundle
from credit301.model.reasons import Explainer
from credit301.model.scorer import Score, Scorer
from credit301.strategy.strategy import Strategy
from serving.features import Plan


class Judgement(msgspec.Struct, frozen=True):
    """What was said on one entity, from ``values`` by name; ``nanoseconds`` spent on scoring, policy and reasons."""

    values: Mapping[str, Scalar]
    score: Score
    verdict: Verdict
    reasons: tuple[Reason, ...]
    nanoseconds: tuple[int, int, int]


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
    ) -> Judgement:
        """Score ``values`` (in plan order); ``strategy`` decides on a request for ``amount`` yuan over ``term_months``.

        Rules may read ``windows`` (counts of recent events by name) like features.

        Raises:
            Refusal: amount or term are outside the product.
            ModelError: there is no value at all, or one does not fit the model.
            StrategyError: an expression of the strategy cannot be evaluated on these values.
        """
        start = time.perf_counter_ns()
        score = self.scorer.score(self.scorer.encode_row(values))
        scored = time.perf_counter_ns()
        named = dict(zip(self.plan.keys, values, strict=True)) | dict(windows or {})
        verdict = strategy.decide(
            probability=score.probability, score=score.score, values=named, amount=amount, term_months=term_months
        )
        decided = time.perf_counter_ns()
        reasons = self.explainer.explain(score, named, verdict, strategy.definition.bands[0])
        end = time.perf_counter_ns()
        return Judgement(named, score, verdict, reasons, (scored - start, decided - scored, end - decided))

    def instead(self, strategy: Strategy, judged: Judgement, verdict: Verdict) -> Judgement:
        """``judged`` with another ``verdict`` and its reasons."""
        reasons = self.explainer.explain(judged.score, judged.values, verdict, strategy.definition.bands[0])
        return msgspec.structs.replace(judged, verdict=verdict, reasons=reasons)
