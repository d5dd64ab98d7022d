"""What a breaking change of a contract would break downstream, named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from credit301.contracts.comparison import Change, Level
from credit301.contracts.model import Contract, Text
from credit301.contracts.release import Comparison
from credit301.errors import NotFound
from credit301.governance.lineage.from_contracts import contract_lineage, reason_node
from credit301.governance.lineage.graph import MODEL_LAYERS, Layer, Lineage, Node
from credit301.workspace import Workspace


@dataclass(frozen=True)
class Impact:
    """Names of what a change would break; ``reasons`` are the texts that an applicant reads.

    ``rows_in`` names the feature views and labels for which it only decides which records count.
    """

    models: tuple[str, ...]
    features: tuple[str, ...]
    feature_views: tuple[str, ...]
    submodels: tuple[str, ...]
    ensemble: bool
    labels: tuple[str, ...]
    reasons: tuple[Text, ...]
    rows_in: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "dbt_models": list(self.models),
            "features": list(self.features),
            "feature_views": list(self.feature_views),
            "submodels": list(self.submodels),
            "ensemble": self.ensemble,
            "labels": list(self.labels),
            "reasons": [{"zh": text.zh, "en": text.en} for text in self.reasons],
            "decides_rows_in": list(self.rows_in),
        }


def released_lineage(workspace: Workspace, comparisons: Iterable[Comparison]) -> Lineage:
    """The graph that those downstream rely on: of the released contracts, and of the last build where there is one.

    A removed column or feature is in it still. Without a build the workspace's own dbt models are not in it.
    """
    released = {comparison.current.name: comparison.released or comparison.current for comparison in comparisons}
    lineage = contract_lineage(replace(workspace, sources={**workspace.sources, **released}))
    try:
        from credit301.governance.lineage.from_manifest import read_manifest

        manifest = read_manifest(workspace)
    except NotFound:
        return lineage
    from credit301.governance.lineage.from_manifest import manifest_lineage

    built = manifest_lineage(workspace, manifest)
    for node, detail in built.details.items():
        lineage.add(node, detail.label, detail.file)
    for origin, target, indirect in built.edges():
        lineage.link(origin, target, indirect=indirect)
    return lineage


def impact(lineage: Lineage, released: Contract, change: Change) -> Impact:
    """What ``change`` breaks; empty where it is not breaking."""
    if change.level is not Level.BREAKING:
        return Impact((), (), (), (), ensemble=False, labels=(), reasons=(), rows_in=())
    roots = _roots(lineage, released, change)
    touched = {node for node in roots if node.layer is not Layer.SOURCE} | lineage.downstream(roots)
    rows = {n.table for n in lineage.downstream(roots, indirect=True) if n.layer in {Layer.FEATURE, Layer.LABEL}}
    by_layer = {layer: sorted(node for node in touched if node.layer is layer) for layer in Layer}
    texts = (lineage.details[node].label for node in by_layer[Layer.REASON])
    return Impact(
        models=tuple(dict.fromkeys(node.table for layer in MODEL_LAYERS for node in by_layer[layer])),
        features=tuple(map(str, by_layer[Layer.FEATURE])),
        feature_views=tuple(dict.fromkeys(node.table for node in by_layer[Layer.FEATURE])),
        submodels=tuple(dict.fromkeys(node.table for node in by_layer[Layer.SUBMODEL])),
        ensemble=bool(by_layer[Layer.ENSEMBLE]),
        labels=tuple(dict.fromkeys(map(str, by_layer[Layer.LABEL]))),
        reasons=tuple(text for text in texts if text is not None),
        rows_in=tuple(sorted(rows - {node.table for node in touched})),
    )


def _roots(lineage: Lineage, released: Contract, change: Change) -> list[Node]:
    source, subject = released.name, change.subject
    if subject.kind == "reason":
        feature, side = subject.name.split(" ")
        roots = [reason_node(source, feature, side)]
    elif subject.kind == "feature":
        roots = [Node(Layer.FEATURE, source, subject.name)]
    elif subject.kind == "submodel":
        roots = [node for node in lineage.nodes(Layer.SUBMODEL) if node.table == source]
    elif subject.kind == "column":
        roots = [Node(Layer.SOURCE, source, subject.name)]
    elif subject.column:
        roots = [Node(Layer.SOURCE, source, subject.column)]
    else:
        roots = [node for node in lineage.nodes(Layer.SOURCE) if node.table == source]
    return [node for node in roots if node in lineage.details]
