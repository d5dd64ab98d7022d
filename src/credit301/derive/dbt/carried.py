"""The models after staging that a build may carry on from the one before, instead of making them from everything."""

from __future__ import annotations

from dataclasses import dataclass

from credit301.derive.dbt import features, history, spine
from credit301.derive.dbt.changes import holders
from credit301.derive.dbt.names import (
    ENTITIES_MODEL,
    INTERMEDIATE_SCHEMA,
    MARTS_SCHEMA,
    SPINE_MODEL,
    feature_model_name,
)
from credit301.workspace import Workspace


@dataclass(frozen=True)
class CarriedModel:
    """A model, the sources that it must be built anew with, and whether it can be carried on at all."""

    schema: str
    name: str
    sql: str
    sources: frozenset[str]
    carries_on: bool = True


def carried_models(workspace: Workspace) -> list[CarriedModel]:
    """All of them, in the order of their dependencies."""
    models = [
        CarriedModel(
            INTERMEDIATE_SCHEMA,
            ENTITIES_MODEL,
            spine.entities_sql(workspace),
            frozenset(contract.name for contract in holders(workspace)),
        ),
        CarriedModel(INTERMEDIATE_SCHEMA, SPINE_MODEL, spine.spine_sql(workspace), frozenset()),
    ]
    models += [
        CarriedModel(
            MARTS_SCHEMA,
            feature_model_name(contract.name),
            features.feature_sql(workspace, contract),
            frozenset({contract.name}),
            features.carries_on(contract),
        )
        for contract in workspace.featured()
    ]
    if sources := history.slowly_changing(workspace):
        names = frozenset(contract.name for contract in sources)
        models.append(CarriedModel(MARTS_SCHEMA, history.HISTORY_MODEL, history.history_sql(workspace), names))
    return models
