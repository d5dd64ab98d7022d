"""What must hold between the parts of a contract, and what an active one has to say."""

from __future__ import annotations

from typing import Any

from credit301.contracts.model import Contract, LogicalType, Status
from credit301.contracts.properties import Properties
from credit301.yaml_file import Location, YamlFile


def check_said(file: YamlFile, document: dict[str, Any], contract: Contract) -> None:
    """An active contract says who answers for the data, why and by what right it is used, and for how long.

    Raises:
        ContractError: it does not, or its status is none.
    """
    if contract.status not in set(Status):
        raise file.error(("status",), f"must be one of {', '.join(Status)}.")
    if contract.status != Status.ACTIVE:
        return
    said: dict[str, tuple[object, Location]] = {
        "an owner (team.name)": (contract.owner, ("team",)),
        "a purpose (description.purpose)": (contract.purpose, ("description",)),
        "a legal basis (customProperties, legalBasis)": (contract.legal_basis, ("customProperties",)),
        "a retention (slaProperties, {property: retention, value: 5, unit: y})": (
            contract.retention,
            ("slaProperties",),
        ),
    }
    for what, (value, at) in said.items():
        if not value:
            raise file.error(at if at[0] in document else ("status",), f"an active contract needs {what}.")


def check_references(file: YamlFile, contract: Contract, custom: Properties, places: dict[str, Location]) -> None:
    """Columns and features that are named are there; ``places`` says where each feature stands.

    Raises:
        ContractError: one is not, or does not fit what it is named for.
    """
    columns = {column.name for column in contract.columns}
    if not contract.primary_key:
        raise file.error(("schema", 0, "properties"), "no column has primaryKey: true.")
    for name in (contract.time.event_time, contract.time.available_at):
        if name and name not in columns:
            raise file.error(custom.place("time"), f"{name!r} is not a column.")
    _check_edges(file, contract, columns, custom, places)
    direct = {feature.name for feature in contract.features if feature.of is None}
    for feature in contract.features:
        at = places[feature.name]
        for column in sorted(feature.reads - columns):
            place = (*at, "where", column) if column in feature.where else at
            raise file.error(place, f"{column!r} is not a column of {contract.name}.")
        for other in set(feature.of or ()) - direct:
            raise file.error((*at, "of"), f"{other!r} is no directly aggregated feature of {contract.name}.")
    if contract.submodel and contract.submodel.enabled and not contract.features:
        raise file.error(custom.place("subModel"), "a sub-model needs features.")
    _check_windows(file, contract, columns, custom, places)


def _check_windows(
    file: YamlFile, contract: Contract, columns: set[str], custom: Properties, places: dict[str, Location]
) -> None:
    """Windows need to know which event, when it was and when it came; what they count is in columns."""
    if contract.windows is None:
        return
    at = custom.place("windows")
    if len(contract.primary_key) != 1 or not contract.time.event_time or not contract.time.available_at:
        raise file.error(at, "windows need one column as primary key, time.eventTime and time.availableAt.")
    taken = {feature.name for feature in contract.features}
    for count in contract.windows.counts:
        place = places[count.name]
        for column in sorted({count.by, *count.where} - columns):
            raise file.error(
                (*place, "where", column) if column in count.where else (*place, "by"),
                f"{column!r} is not a column of {contract.name}.",
            )
        if contract.column(count.by).logical_type is not LogicalType.STRING:
            raise file.error((*place, "by"), f"{count.by!r} is no text.")
        for span in contract.windows.spans:
            if f"{count.name}_{span}" in taken:
                raise file.error((*place, "name"), f"{count.name}_{span} is the name of a feature.")


def _check_edges(
    file: YamlFile, contract: Contract, columns: set[str], custom: Properties, places: dict[str, Location]
) -> None:
    edges = contract.edges
    for name in (edges.origin, edges.target) if edges else ():
        if name not in columns:
            raise file.error(custom.place("edges"), f"{name!r} is not a column of {contract.name}.")
    for feature in contract.features:
        at = places[feature.name]
        if feature.over_edges and edges is None:
            raise file.error(at, "needs the custom property edges: {from: ..., to: ...} in this contract.")
        if feature.over_edges in {"in", "out"} and edges and not edges.directed:
            raise file.error(at, "the edges are not directed: its direction can only be both.")
