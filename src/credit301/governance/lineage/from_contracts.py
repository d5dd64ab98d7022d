"""What the contracts alone say of lineage: what is derived from them, and what the models and reasons stand on."""

from __future__ import annotations

from credit301.contracts.loader import FILE_NAME
from credit301.contracts.model import Contract, Feature, Text
from credit301.derive.dbt import LABELS_MODEL, feature_model_name, staging_name
from credit301.features.windows.definition import WindowSet
from credit301.governance.lineage.graph import Layer, Lineage, Node
from credit301.workspace import Workspace

ENSEMBLE = "ensemble"
SIDES = ("adverse", "favourable")
EVENT_TIME, KNOWN_FROM, KNOWN_UNTIL = "event_time", "known_from", "known_until"


def reason_node(source: str, feature: str, side: str) -> Node:
    """The reason that a feature gives on one ``side``, adverse or favourable."""
    return Node(Layer.REASON, source, f"{feature} {side}")


def contract_file(contract: Contract) -> str:
    """Where a contract stands, as seen from the workspace."""
    return f"sources/{contract.name}/{FILE_NAME}"


def add_sources(lineage: Lineage, workspace: Workspace) -> None:
    """The columns that the sources deliver."""
    for contract in workspace.sources.values():
        for column in contract.columns:
            lineage.add(Node(Layer.SOURCE, contract.name, column.name), column.label, contract_file(contract))


def add_models(lineage: Lineage, workspace: Workspace) -> None:
    """From each feature mart to the feature view, the sub-model, its reasons and the ensemble; from labels to it."""
    for contract in workspace.featured():
        enabled = contract.submodel is not None and contract.submodel.enabled
        file = contract_file(contract)
        for feature in contract.features:
            served = lineage.add(Node(Layer.FEATURE, contract.name, feature.name), feature.label, file)
            lineage.link(Node(Layer.MART, feature_model_name(contract.name), feature.name), served)
            if not enabled:
                continue
            learnt = lineage.add(Node(Layer.SUBMODEL, contract.name, feature.name), feature.label, file)
            lineage.link(served, learnt)
            for side in SIDES:
                text: Text | None = getattr(feature, side)
                if text is not None:
                    lineage.link(learnt, lineage.add(reason_node(contract.name, feature.name, side), text, file))
            label = contract.submodel.label if contract.submodel else None
            lineage.link(learnt, lineage.add(Node(Layer.ENSEMBLE, ENSEMBLE, contract.name), label))
    if workspace.definition.labels is not None:
        outcome = Text(zh="违约标签", en="outcome to learn from")
        label_node = lineage.add(Node(Layer.LABEL, LABELS_MODEL, "label"), outcome, "workspace.yaml")
        lineage.link(Node(Layer.MART, LABELS_MODEL, "label"), label_node)
        for contract in workspace.featured():
            if contract.submodel is not None and contract.submodel.enabled:
                lineage.link(label_node, Node(Layer.ENSEMBLE, ENSEMBLE, contract.name))


def contract_lineage(workspace: Workspace) -> Lineage:
    """The whole graph as far as the contracts tell it; a workspace's own dbt models are not in it."""
    lineage = Lineage()
    add_sources(lineage, workspace)
    for contract in workspace.sources.values():
        add_derived(lineage, workspace, contract)
    labels = workspace.definition.labels
    if labels is not None and labels.source and labels.column:
        staged = Node(Layer.STAGING, staging_name(labels.source), labels.column)
        lineage.link(staged, Node(Layer.MART, LABELS_MODEL, "label"))
    add_models(lineage, workspace)
    return lineage


def add_derived(lineage: Lineage, workspace: Workspace, contract: Contract) -> None:
    """From a source to its staging model and feature mart, as the contract derives them."""
    _staging(lineage, contract)
    features = {feature.name: feature for feature in contract.features}
    for feature in contract.features:
        _feature(lineage, workspace, contract, features, feature)
    if contract.windows is not None:
        _windows(lineage, WindowSet(workspace.name, contract))


def _windows(lineage: Lineage, windows: WindowSet) -> None:
    """From what the source delivers to its sliding windows, which are counted beside the warehouse."""
    contract = windows.contract
    for subject in windows.subjects:
        for count in subject.counts:
            for span in windows.spans:
                name = f"{count.name}_{span}"
                label = windows.labels[f"{windows.source}:{name}"]
                served = lineage.add(Node(Layer.FEATURE, contract.name, name), label, contract_file(contract))
                for column in (count.by, *count.where, contract.time.event_time or ""):
                    lineage.link(Node(Layer.SOURCE, contract.name, column), served)
                lineage.link(Node(Layer.SOURCE, contract.name, windows.identity), served, indirect=True)


def _staging(lineage: Lineage, contract: Contract) -> None:
    staging = staging_name(contract.name)
    renamed = {contract.time.event_time: EVENT_TIME, contract.time.available_at: KNOWN_FROM}
    for column in contract.columns:
        origin = Node(Layer.SOURCE, contract.name, column.name)
        if column.name not in {contract.time.event_time, contract.time.available_at} & {EVENT_TIME, "available_at"}:
            lineage.link(origin, lineage.add(Node(Layer.STAGING, staging, column.name), column.label))
        if column.name in renamed:
            lineage.link(origin, Node(Layer.STAGING, staging, renamed[column.name]))
            if contract.time.available_at is None:
                lineage.link(origin, Node(Layer.STAGING, staging, KNOWN_FROM))
    for name in (*contract.primary_key, contract.time.available_at or contract.time.event_time):
        if name:
            lineage.link(Node(Layer.SOURCE, contract.name, name), Node(Layer.STAGING, staging, KNOWN_UNTIL))


def _feature(
    lineage: Lineage, workspace: Workspace, contract: Contract, features: dict[str, Feature], feature: Feature
) -> None:
    staging, mart = staging_name(contract.name), feature_model_name(contract.name)
    target = lineage.add(Node(Layer.MART, mart, feature.name), feature.label)
    # Only a feature of features is made without a look at the records themselves.
    parts = [features[name] for name in feature.of or ()] or [feature]
    for part in parts:
        timed = {EVENT_TIME} if part.window_months or part.window_days else set()
        for name in part.reads | timed:
            staged = KNOWN_FROM if name == "available_at" == contract.time.available_at else name
            lineage.link(Node(Layer.STAGING, staging, staged), target)
        if part.neighbour is not None:
            other = Node(Layer.MART, feature_model_name(part.neighbour.source), part.neighbour.feature)
            lineage.link(other, target)
    ends = {contract.edges.origin, contract.edges.target} if contract.edges else {workspace.entity.key}
    for name in (*sorted(ends), KNOWN_FROM, KNOWN_UNTIL):
        lineage.link(Node(Layer.STAGING, staging, name), target, indirect=True)
