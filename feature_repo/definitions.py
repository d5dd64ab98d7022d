"""Feast objects of a workspace, built from its contracts: one entity, one view per source, one service."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String

from credit301.derive.features import SERVICE, FeatureViewSpec, view_specs
from credit301.workspace import Workspace
from feature_repo.online_store import VERSION_TAG

FeastObject: TypeAlias = Entity | FeatureView | FeatureService


def entity(workspace: Workspace) -> Entity:
    """The workspace's entity, joined by its key."""
    return Entity(
        name=workspace.entity.name,
        join_keys=[workspace.entity.key],
        value_type=ValueType.STRING,
        description=f"{workspace.entity.label.zh}: {workspace.entity.label.en}",
    )


def feature_view(workspace: Workspace, spec: FeatureViewSpec, of: Entity) -> FeatureView:
    """The view of one source over its exported mart."""
    return FeatureView(
        name=spec.name,
        entities=[of],
        schema=[
            Field(name=workspace.entity.key, dtype=String),
            *(
                Field(
                    name=feature.name,
                    dtype=String if feature.kind == "category" else Float64,
                    description=f"{feature.label.zh}: {feature.label.en}",
                    tags={"unit": feature.unit} if feature.unit else {},
                )
                for feature in spec.features
            ),
        ],
        source=FileSource(
            name=f"{spec.name}_mart",
            path=str(workspace.paths.mart(spec.mart)),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
        description=spec.description,
        owner=spec.owner,
        tags={"dimension": spec.dimension, "source": spec.name, VERSION_TAG: str(spec.version)},
        ttl=timedelta(seconds=spec.ttl_seconds),
        online=True,
    )


def definitions(workspace: Workspace) -> list[FeastObject]:
    """Everything that ``apply`` registers."""
    enterprise = entity(workspace)
    views = [feature_view(workspace, spec, enterprise) for spec in view_specs(workspace)]
    service = FeatureService(
        name=SERVICE, features=list(views), description="全部特征，供集成模型使用: all features, for the ensemble"
    )
    return [enterprise, *views, service]
