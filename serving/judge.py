"""From what was read on one entity to score, verdict and reasons: the same for one request and for a whole file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from credit301.domain import policy as policies
from credit301.domain.decision import Reason
from credit301.domain.policy import Policy, Scalar, Verdict
from credit301.errors import ModelError
from credit301.model.bundle import Bundle
from credit301.model.reasons import Explainer
from credit301.model.scorer import Score, Scorer
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
        ModelError: the bundle does not load, or its policy is not valid or reads features it has not got.
    """

    def __init__(self, bundle: Bundle, *, source: str, registry_version: str = "") -> None:
        self.manifest = bundle.manifest
        self.sha256 = bundle.sha256
        if not bundle.manifest.policy:
            raise ModelError(
                f"The bundle {bundle.version} has no policy: it scores, but decides nothing.",
                hint="Write strategies/policy.yaml in the workspace, and train again.",
            )
        self.scorer = Scorer(bundle)
        self.explainer = Explainer(bundle.manifest)
        self.policy: Policy = policies.parse(bundle.manifest.policy)
        self.plan = Plan(bundle.manifest)
        self.policy.check_features((*self.plan.keys, *bundle.manifest.windows))
        declining = (rule.feature for rule in self.policy.rules if rule.on_missing == "decline")
        self.indispensable = frozenset(feature.partition(":")[0] for feature in declining)
        self.source = source
        self.registry_version = registry_version
        self.loaded_at = datetime.now(UTC)

    def judge(
        self,
        values: Sequence[Scalar],
        amount: Decimal,
        term_months: int,
        windows: Mapping[str, Scalar] | None = None,
    ) -> Judgement:
        """Score ``values`` (in plan order) and decide on a request for ``amount`` yuan over ``term_months``.

        Rules may read ``windows`` (counts of recent events by name) like features.

        Raises:
            Refusal: amount or term are outside the product.
            ModelError: there is no value at all, or one does not fit the model.
        """
        start = time.perf_counter_ns()
        score = self.scorer.score(self.scorer.encode_row(values))
        scored = time.perf_counter_ns()
        named = dict(zip(self.plan.keys, values, strict=True)) | dict(windows or {})
        verdict = policies.decide(
            self.policy, probability=score.probability, values=named, amount=amount, term_months=term_months
        )
        decided = time.perf_counter_ns()
        reasons = self.explainer.explain(score, named, verdict)
        end = time.perf_counter_ns()
        return Judgement(named, score, verdict, reasons, (scored - start, decided - scored, end - decided))

    def instead(self, judged: Judgement, verdict: Verdict) -> Judgement:
        """``judged`` with another ``verdict`` and its reasons."""
        reasons = self.explainer.explain(judged.score, judged.values, verdict)
        return msgspec.structs.replace(judged, verdict=verdict, reasons=reasons)
