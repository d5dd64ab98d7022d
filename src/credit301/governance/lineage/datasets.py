"""OpenLineage datasets of the tables of the lineage graph, with their facets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    column_lineage_dataset,
    datasource_dataset,
    ownership_dataset,
    schema_dataset,
)

from credit301.contracts.model import Contract
from credit301.governance.lineage.graph import Layer, Lineage, Node
from credit301.workspace import Workspace

Table = tuple[Layer, str]
SCHEMAS = {
    Layer.SOURCE: "landing",
    Layer.STAGING: "staging",
    Layer.INTERMEDIATE: "intermediate",
    Layer.MART: "marts",
    Layer.FEATURE: "feature_view",
    Layer.SUBMODEL: "sub_model",
    Layer.ENSEMBLE: "model",
    Layer.LABEL: "label",
    Layer.REASON: "reason",
}


def namespace(workspace: Workspace) -> str:
    """Namespace of the jobs and datasets of a workspace; the DAGs name their assets by it as well."""
    return f"credit301://{workspace.name}"


def dataset_name(table: Table) -> str:
    """Name of a table of the graph as a dataset."""
    return f"{SCHEMAS[table[0]]}.{table[1]}"


def inputs_of(workspace: Workspace, lineage: Lineage, tables: Sequence[Table]) -> list[InputDataset]:
    """What ``tables`` are made from: the tables one step upstream; of a landed source, what its owner delivers."""
    found: list[InputDataset] = []
    for layer, name in tables:
        if layer is Layer.SOURCE:
            found.append(_delivery(workspace, workspace.source(name)))
    flows = (flow for table in tables for flow in _flows_into(lineage, table))
    origins = {(origin.layer, origin.table) for origin, _, _ in flows}
    # Sub-models, ensemble and labels may be written by one job, the ones from the others.
    return found + [
        InputDataset(namespace(workspace), dataset_name(table), facets=_facets(workspace, lineage, table))
        for table in sorted(origins - set(tables))
    ]


def outputs_of(workspace: Workspace, lineage: Lineage, tables: Sequence[Table]) -> list[OutputDataset]:
    """``tables`` with schema, owner, place and the columns that each column is made from."""
    found = []
    for table in tables:
        facets = _facets(workspace, lineage, table)
        facets["columnLineage"] = _column_lineage(workspace, lineage, table)
        found.append(OutputDataset(namespace(workspace), dataset_name(table), facets=facets))
    return found


def _delivery(workspace: Workspace, contract: Contract) -> InputDataset:
    """What the owner of a source delivers, under the names that it uses."""
    facets: dict[str, DatasetFacet] = {
        "schema": schema_dataset.SchemaDatasetFacet(
            fields=[schema_dataset.SchemaDatasetFacetFields(name=c.physical_name) for c in contract.columns]
        ),
        "ownership": _owner(contract.owner),
    }
    return InputDataset(namespace(workspace), _delivery_name(contract), facets=facets)


def _delivery_name(contract: Contract) -> str:
    return f"{contract.pull.connector}.{contract.name}"


def _facets(workspace: Workspace, lineage: Lineage, table: Table) -> dict[str, DatasetFacet]:
    layer, name = table
    contract = workspace.sources.get(name) if layer in {Layer.SOURCE, Layer.FEATURE, Layer.SUBMODEL} else None
    types = {c.name: c.sql_type for c in contract.columns} if contract and layer is Layer.SOURCE else {}
    fields = []
    for node in _columns(lineage, table):
        label = lineage.details[node].label
        fields.append(
            schema_dataset.SchemaDatasetFacetFields(
                name=node.column,
                type=types.get(node.column),
                description=f"{label.zh} {label.en}" if label else None,
            )
        )
    place = workspace.paths.landing if layer is Layer.SOURCE else workspace.paths.root
    facets: dict[str, DatasetFacet] = {
        "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
        "dataSource": datasource_dataset.DatasourceDatasetFacet(name=workspace.name, uri=place.as_uri()),
    }
    if contract is not None:
        facets["ownership"] = _owner(contract.owner)
    return facets


def _owner(name: str) -> ownership_dataset.OwnershipDatasetFacet:
    return ownership_dataset.OwnershipDatasetFacet(owners=[ownership_dataset.Owner(name=name, type="OWNER")])


def _columns(lineage: Lineage, table: Table) -> list[Node]:
    return sorted(node for node in lineage.graph if (node.layer, node.table) == table)


def _flows_into(lineage: Lineage, table: Table) -> Iterator[tuple[Node, Node, bool]]:
    """The edges into the columns of ``table``, and whether each is indirect."""
    return iter(lineage.graph.in_edges(_columns(lineage, table), data="indirect"))


def _column_lineage(
    workspace: Workspace, lineage: Lineage, table: Table
) -> column_lineage_dataset.ColumnLineageDatasetFacet:
    if table[0] is Layer.SOURCE:
        return _delivered(workspace, workspace.source(table[1]))
    flows: dict[str, list[Node]] = defaultdict(list)
    deciding: set[Node] = set()
    for origin, target, indirect in _flows_into(lineage, table):
        if indirect:
            deciding.add(origin)
        else:
            flows[target.column].append(origin)
    return column_lineage_dataset.ColumnLineageDatasetFacet(
        fields={
            column: column_lineage_dataset.Fields(inputFields=_input_fields(workspace, origins, "DIRECT"))
            for column, origins in sorted(flows.items())
        },
        dataset=_input_fields(workspace, deciding, "INDIRECT"),
    )


def _delivered(workspace: Workspace, contract: Contract) -> column_lineage_dataset.ColumnLineageDatasetFacet:
    identity = column_lineage_dataset.Transformation(type="DIRECT", subtype="IDENTITY")
    return column_lineage_dataset.ColumnLineageDatasetFacet(
        fields={
            column.name: column_lineage_dataset.Fields(
                inputFields=[
                    column_lineage_dataset.InputField(
                        namespace(workspace), _delivery_name(contract), column.physical_name, [identity]
                    )
                ]
            )
            for column in contract.columns
        }
    )


def _input_fields(workspace: Workspace, origins: Iterable[Node], kind: str) -> list[column_lineage_dataset.InputField]:
    how = column_lineage_dataset.Transformation(type=kind)
    return [
        column_lineage_dataset.InputField(
            namespace(workspace), dataset_name((node.layer, node.table)), node.column, [how]
        )
        for node in sorted(origins)
    ]
