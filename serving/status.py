"""What the service says about itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from credit301.errors import FeatureStoreError
from credit301.model.stewardship import CHALLENGER, SHADOW
from serving.features import OnlineStore
from serving.followed import FollowedStatus
from serving.judge import Loaded
from serving.models import Follower, ModelHolder, Rejection
from serving.strategies import StrategiesStatus


class Health(msgspec.Struct, frozen=True):
    """The process is alive."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether decisions can be made: each part says ``ok``, or what is wrong with it."""

    ready: bool
    redis: str
    model: str


class ModelStatus(msgspec.Struct, frozen=True):
    """The model in use (``None`` fields: there is none), and what the last look at the registry found.

    ``challenger`` and ``shadow``: the versions beside the champion, if there are any. ``rules``: those in use of
    ``strategies/models.yaml``, ``strategies``: those that decide. ``source``: ``registry``, ``cache`` (the last good
    bundle from before a restart) or ``directory``.
    """

    loaded: bool
    version: str | None
    registry_version: str | None
    source: str | None
    sha256: str | None
    created_at: str | None
    loaded_at: datetime | None
    features: int
    sources: list[str]
    metrics: dict[str, Any]
    challenger: str | None
    shadow: str | None
    registry_problem: str
    registry_checked_at: datetime | None
    rejected: Rejection | None
    rules: FollowedStatus
    strategies: StrategiesStatus


async def readiness(store: OnlineStore, models: ModelHolder) -> Readiness:
    """Ask every part that a decision needs."""
    redis = "ok"
    try:
        await store.ping()
    except FeatureStoreError as error:
        redis = f"在线特征库不可用 / {error.message}"
    model = "ok" if models.current is not None else "尚未加载模型 / no promoted model is loaded"
    return Readiness(ready=redis == model == "ok", redis=redis, model=model)


def _version(loaded: Loaded | None) -> str | None:
    return loaded.manifest.version if loaded else None


def model_status(
    models: ModelHolder, champion: Follower | None, rules: FollowedStatus, strategies: StrategiesStatus
) -> ModelStatus:
    """What is in use now."""
    loaded = models.current
    manifest = loaded.manifest if loaded else None
    return ModelStatus(
        loaded=loaded is not None,
        version=manifest.version if manifest else None,
        registry_version=loaded.registry_version if loaded else None,
        source=loaded.source if loaded else None,
        sha256=loaded.sha256 if loaded else None,
        created_at=manifest.created_at if manifest else None,
        loaded_at=loaded.loaded_at if loaded else None,
        features=len(loaded.plan.keys) if loaded else 0,
        sources=list(loaded.plan.views) if loaded else [],
        metrics=manifest.metrics if manifest else {},
        challenger=_version(models.of(CHALLENGER)),
        shadow=_version(models.of(SHADOW)),
        registry_problem=champion.problem if champion else "",
        registry_checked_at=champion.checked_at if champion else None,
        rejected=champion.rejected if champion else None,
        rules=rules,
        strategies=strategies,
    )
