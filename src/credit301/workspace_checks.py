"""What the files of a workspace say of one another: references between contracts, labels and split that must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credit301.contracts.loader import FILE_NAME
from credit301.contracts.model import Aggregation, Contract, Feature
from credit301.contracts.properties import place_of_feature
from credit301.yaml_file import YamlFile

if TYPE_CHECKING:
    from credit301.workspace import Definition


def check(definition: Definition, sources: dict[str, Contract], file: YamlFile) -> None:
    """Check that every name in ``file`` (``workspace.yaml``) and the contracts means something.

    Raises:
        ContractError: naming file and line of what does not.
    """
    for contract in sources.values():
        if contract.dimension not in definition.dimensions:
            known = ", ".join(definition.dimensions)
            raise YamlFile(contract.path / FILE_NAME).error(
                ("domain",), f"domain {contract.dimension!r} is no dimension of the workspace ({known})."
            )
        for feature in contract.features:
            problem = _problem(definition, sources, contract, feature)
            if problem:
                written = YamlFile(contract.path / FILE_NAME)
                raise written.error(place_of_feature(written, feature.name), problem)
    _check_labels(definition, sources, file)
    for place, peer in enumerate(definition.portrait.peers):
        other = sources.get(peer.source)
        named = next((f for f in other.features if f.name == peer.feature), None) if other else None
        if named is None or named.kind != "category":
            raise file.error(
                ("portrait", "peers", place), f"{peer.source}.{peer.feature} is no feature of kind category."
            )


def _problem(definition: Definition, sources: dict[str, Contract], contract: Contract, feature: Feature) -> str:
    """What is wrong with a feature beyond its own contract; empty where nothing is."""
    labels, key = definition.labels, definition.entity.key
    if feature.of is None and feature.over_edges is None and key not in _columns(contract):
        return f"is computed from an entity's own records, but the source has no column {key!r}, the entity's key."
    if labels and labels.source == contract.name and labels.column in feature.reads:
        return f"reads {labels.column!r}, the outcome to be foretold: an outcome is no feature."
    return _neighbour_problem(definition, sources, feature) if feature.neighbour else ""


def _neighbour_problem(definition: Definition, sources: dict[str, Contract], feature: Feature) -> str:
    wanted = feature.neighbour
    other = sources.get(wanted.source) if wanted else None
    taken = next((f for f in other.features if wanted and f.name == wanted.feature), None) if other else None
    name = f"{wanted.source}:{wanted.feature}" if wanted else ""
    if other is None or taken is None:
        return f"{name} is no feature of the workspace."
    if definition.labels and definition.labels.source == other.name:
        return f"{name} is of the source of the labels: no outcome, of a neighbour neither, is a feature."
    if any(f.over_edges for f in (taken, *(other.feature(part) for part in taken.of or ()))):
        return f"{name} is itself computed over edges; a neighbour's feature comes from its own records."
    if taken.kind == "category" and feature.aggregation is not Aggregation.NEIGHBOUR_SHARE:
        return f"{name} is a category: only neighbour_share can be taken of it."
    return ""


def _check_labels(definition: Definition, sources: dict[str, Contract], file: YamlFile) -> None:
    labels, split = definition.labels, definition.split
    if labels is None:
        if split is not None:
            raise file.error(("split",), "there are no labels to split.")
        return
    if split is None:
        raise file.error(("labels",), "labels need a split: how a model that learnt from them is tested.")
    if labels.source is None:
        return
    if labels.source not in sources:
        raise file.error(("labels", "source"), f"{labels.source!r} is not a source of the workspace.")
    columns = _columns(sources[labels.source])
    wanted = {("labels", name): getattr(labels, name) for name in ("column", "decision_time", "known_at")}
    wanted["split", "column"] = getattr(split, "column", None)
    wanted["entity", "key"] = definition.entity.key
    for at, column in wanted.items():
        if column is not None and column not in columns:
            raise file.error(at, f"{column!r} is not a column of {labels.source}.")


def _columns(contract: Contract) -> set[str]:
    return {column.name for column in contract.columns}
