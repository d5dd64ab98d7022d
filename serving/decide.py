"""The way of a decision: check the request, read the features, score, apply the policy, give reasons."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from credit301.domain.decision import Decision, DimensionResult, SourceResult, Timings, Versions
from credit301.domain.money import CENT
from credit301.domain.text import Text
from credit301.identity.entity_key import KeyForm, normalise
from credit301.model.bundle import Manifest
from credit301.model.scorer import Score
from serving.errors import NO_MODEL, ApiError, unknown_enterprise
from serving.features import OnlineStore
from serving.models import ModelHolder


class Application(msgspec.Struct, frozen=True):
    """A request for credit: the entity's key as sent, yuan, months."""

    entity: str
    amount: Decimal
    term_months: int


class DecisionFlow:
    """Decides on applications with the model in use.

    Args:
        workspace: name that decisions carry.
        form: what the workspace says about its entity's key.
        store: where features are read.
        models: holds the model in use.
    """

    def __init__(self, workspace: str, form: KeyForm, store: OnlineStore, models: ModelHolder) -> None:
        self._workspace = workspace
        self._form = form
        self._store = store
        self._models = models

    async def decide(self, application: Application) -> Decision:
        """Decide on ``application``.

        Raises:
            Refusal: the key, amount or term cannot be decided on.
            ApiError: no model is in use, or the store has nothing on the entity.
            FeatureStoreError: the store cannot be read.
            ModelError: the store holds something else than the model was promoted for.
        """
        start = time.perf_counter_ns()
        entity = normalise(self._form, application.entity)
        loaded = self._models.current
        if loaded is None:
            raise ApiError(NO_MODEL)
        # Before the store is asked: an impossible request costs nothing.
        loaded.policy.check_request(application.amount, application.term_months)
        row = await self._store.read(loaded.plan, entity)
        if not row.found:
            raise ApiError(unknown_enterprise(self._form.key))
        read = time.perf_counter_ns()
        judged = loaded.judge(row.values, application.amount, application.term_months)
        score, verdict, manifest = judged.score, judged.verdict, loaded.manifest
        scoring, policy, reasons = (nanoseconds // 1000 for nanoseconds in judged.nanoseconds)
        dimensions, sources = _results(manifest, score)
        return Decision(
            decision_id=str(uuid.uuid4()),
            workspace=self._workspace,
            entity=entity,
            outcome=verdict.outcome,
            probability=score.probability,
            score=score.score,
            band=verdict.band,
            limit=None if verdict.limit is None else verdict.limit.quantize(CENT),
            annual_rate=verdict.annual_rate,
            requested_amount=application.amount.quantize(CENT),
            term_months=application.term_months,
            reasons=judged.reasons,
            causes=verdict.causes,
            dimensions=dimensions,
            sources=sources,
            rules=verdict.rules,
            missing_sources=score.missing_sources,
            versions=Versions(model=manifest.version, features=manifest.feature_version, policy=loaded.policy.version),
            features_as_of=row.as_of,
            timings_us=Timings(
                features=(read - start) // 1000,
                scoring=scoring,
                policy=policy,
                reasons=reasons,
                total=(time.perf_counter_ns() - start) // 1000,
            ),
            decided_at=datetime.now(UTC),
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
