"""Feature views and sub-model specifications: what Feast serves and what the models learn from."""

from __future__ import annotations

from dataclasses import dataclass

from credit301.contracts.model import Contract, Feature, Text
from credit301.derive.dbt import feature_model_name
from credit301.workspace import Workspace

SERVICE = "ensemble"


@dataclass(frozen=True)
class FeatureViewSpec:
    """One Feast feature view: a source's features, read from its mart.

    ``version`` is the first number of the contract's version: rows of another one are in another ``field`` of an
    entity, side by side. A row is served until ``ttl_seconds`` after its event time; 0 is for ever.
    """

    name: str
    dimension: str
    mart: str
    description: str
    owner: str
    features: tuple[Feature, ...]
    version: int = 1
    ttl_seconds: int = 0

    @property
    def field(self) -> str:
        """Where its rows are in the hash of an entity."""
        return online_field(self.name, self.version)


@dataclass(frozen=True)
class SubModelSpec:
    """One source's model: its features in the order of the model's columns, with direction of risk for each.

    ``monotone`` holds 1 where risk may only rise with the value, -1 where it may only fall, 0 where it is free.
    """

    name: str
    dimension: str
    label: Text
    features: tuple[Feature, ...]
    monotone: tuple[int, ...]


def view_spec(contract: Contract) -> FeatureViewSpec:
    """The feature view of a source."""
    return FeatureViewSpec(
        name=contract.name,
        dimension=contract.dimension,
        mart=feature_model_name(contract.name),
        description=f"{contract.title.zh}: {contract.title.en}",
        owner=contract.owner,
        features=contract.features,
        version=contract.major,
        ttl_seconds=contract.online.ttl_seconds,
    )


def online_field(view: str, version: int) -> str:
    """The field of a view's rows: its name, and from the second version of its contract on ``__v2`` and so on."""
    return view if version <= 1 else f"{view}__v{version}"


def submodel_spec(contract: Contract) -> SubModelSpec | None:
    """The sub-model of a source, or ``None`` where its contract asks for none."""
    if contract.submodel is None or not contract.submodel.enabled:
        return None
    directions = {"increasing": 1, "decreasing": -1, "free": 0}
    return SubModelSpec(
        name=contract.name,
        dimension=contract.dimension,
        label=contract.submodel.label,
        features=contract.features,
        monotone=tuple(directions[feature.risk] for feature in contract.features),
    )


def view_specs(workspace: Workspace) -> tuple[FeatureViewSpec, ...]:
    """All feature views of a workspace, in order of name."""
    return tuple(view_spec(contract) for contract in workspace.featured())


def submodel_specs(workspace: Workspace) -> tuple[SubModelSpec, ...]:
    """All sub-models of a workspace, in order of name."""
    return tuple(spec for contract in workspace.featured() if (spec := submodel_spec(contract)) is not None)
