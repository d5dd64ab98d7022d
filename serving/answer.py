"""The answer, put together from what was judged and the facts around it: by the endpoint, and again by a replay."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec import UNSET

from credit301.domain.decision import Decision, DimensionResult, LaneGrant, SourceResult, Timings, Versions
from credit301.domain.money import CENT
from credit301.domain.text import Text
from credit301.model.bundle import Manifest
from credit301.model.scorer import Score
from credit301.strategy.definition import Role
from credit301.strategy.strategy import Strategy
from serving.judge import Judgement, Loaded


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says beside what model and strategy say; all of it is in the evidence."""

    decision_id: str
    workspace: str
    entity: str
    amount: Decimal
    term_months: int
    alias: str
    registered: str
    as_of: Mapping[str, datetime | None]
    consents: tuple[str, ...]
    withheld: tuple[str, ...]
    expired: tuple[str, ...]
    windows: Mapping[str, int | None]
    lot_probability: float | None
    timings: Timings
    decided_at: datetime
    strategy_role: Role = "champion"

    @classmethod
    def of(cls, decision: Decision) -> Facts:
        """The facts in an answer that was given."""
        lane = decision.accept_lane
        return cls(
            decision_id=decision.decision_id,
            workspace=decision.workspace,
            entity=decision.entity,
            amount=decision.requested_amount,
            term_months=decision.term_months,
            alias=decision.versions.alias,
            registered=decision.versions.registered,
            as_of=decision.features_as_of,
            consents=decision.consents,
            withheld=decision.withheld_sources,
            expired=decision.expired_sources,
            windows=decision.windows,
            lot_probability=None if lane is None else lane.probability,
            timings=decision.timings_us,
            decided_at=decision.decided_at,
            strategy_role=decision.versions.strategy_role or "champion",
        )


def answer(loaded: Loaded | None, strategy: Strategy, judged: Judgement, facts: Facts) -> Decision:
    """The decision that ``judged`` is, made with ``loaded`` (``None``: without any model) by ``strategy``."""
    score, verdict = judged.score, judged.verdict
    manifest = None if loaded is None else loaded.manifest
    dimensions, sources = _results(manifest, score) if manifest and score else ((), ())
    return Decision(
        decision_id=facts.decision_id,
        workspace=facts.workspace,
        entity=facts.entity,
        outcome=verdict.outcome,
        probability=None if score is None else score.probability,
        score=None if score is None else score.score,
        band=verdict.band,
        limit=None if verdict.limit is None else verdict.limit.quantize(CENT),
        annual_rate=verdict.annual_rate,
        requested_amount=facts.amount.quantize(CENT),
        term_months=facts.term_months,
        reasons=judged.reasons,
        causes=verdict.causes,
        dimensions=dimensions,
        sources=sources,
        rules=verdict.rules,
        missing_sources=score.missing_sources if score else (),
        versions=Versions(
            model=manifest.version if manifest else "",
            features=manifest.feature_version if manifest else "",
            strategy=strategy.version,
            alias=facts.alias,
            registered=facts.registered,
            strategy_role="challenger" if facts.strategy_role == "challenger" else UNSET,
        ),
        features_as_of=dict(facts.as_of),
        consents=facts.consents,
        withheld_sources=facts.withheld,
        expired_sources=facts.expired,
        windows=dict(facts.windows),
        accept_lane=None if facts.lot_probability is None else LaneGrant(facts.lot_probability),
        fallbacks=judged.fallbacks or UNSET,
        timings_us=facts.timings,
        decided_at=facts.decided_at,
    )


def _results(manifest: Manifest, score: Score) -> tuple[tuple[DimensionResult, ...], tuple[SourceResult, ...]]:
    titles = {view.name: view.title or Text(zh=view.name, en=view.name) for view in manifest.views}
    views = {model.name: model.view for model in manifest.submodels}
    dimensions = tuple(
        DimensionResult(
            dimension=item.dimension,
            title=manifest.dimensions.get(item.dimension) or Text(zh=item.dimension, en=item.dimension),
            has_data=item.has_data,
            probability=item.probability,
            score=item.score,
            contribution=item.contribution,
        )
        for item in score.dimensions
    )
    sources = tuple(
        SourceResult(
            source=item.source,
            title=titles[views[item.source]],
            dimension=item.dimension,
            has_data=item.has_data,
            probability=item.probability,
            score=item.score,
            contribution=item.contribution,
        )
        for item in score.sources
    )
    return dimensions, sources
