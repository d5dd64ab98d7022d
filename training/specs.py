"""What each model is trained on: its columns in order, in the terms of the training set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from credit301.contracts.model import Aggregation
from credit301.derive.features import SubModelSpec, submodel_specs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from credit301.workspace import Workspace

ELAPSED = {Aggregation.RECENCY_DAYS, Aggregation.AGE_DAYS}


def column(view: str, feature: str) -> str:
    """A feature's column in the training set."""
    return f"{view}__{feature}"


@dataclass(frozen=True)
class Input:
    """One column of a model; ``monotone`` says how risk may move with it (1 up, -1 down, 0 either way).

    ``elapsed`` tells that it counts days since something: a number below zero is something that had yet to happen.
    """

    view: str
    name: str
    category: bool
    monotone: int
    elapsed: bool = False

    @property
    def column(self) -> str:
        """Its column in the training set."""
        return column(self.view, self.name)


@dataclass(frozen=True)
class ModelSpec:
    """A model's name and its columns in order."""

    name: str
    dimension: str
    inputs: tuple[Input, ...]


def source_specs(workspace: Workspace) -> tuple[ModelSpec, ...]:
    """One model for each source whose contract asks for one."""
    return tuple(_model(spec) for spec in submodel_specs(workspace))


def pooled_spec(name: str, specs: Iterable[ModelSpec]) -> ModelSpec:
    """One model on the columns of all ``specs``."""
    return ModelSpec(name, "", tuple(item for spec in specs for item in spec.inputs))


def _model(spec: SubModelSpec) -> ModelSpec:
    inputs = tuple(
        Input(spec.name, feature.name, feature.kind == "category", direction, feature.aggregation in ELAPSED)
        for feature, direction in zip(spec.features, spec.monotone, strict=True)
    )
    return ModelSpec(spec.name, spec.dimension, inputs)
