"""Lineage read from what dbt compiled: the manifest and the SQL of every model, taken apart by sqlglot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage as trace
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope
from sqlglot.schema import MappingSchema

from credit301.contracts.model import Text
from credit301.errors import NotFound
from credit301.governance.lineage.from_contracts import add_derived, add_models, add_sources
from credit301.governance.lineage.graph import Layer, Lineage, Node
from credit301.workspace import Workspace

MODELLED = {"model", "snapshot"}
LAYER_OF_SCHEMA = {"staging": Layer.STAGING, "intermediate": Layer.INTERMEDIATE, "marts": Layer.MART}
# Clauses that decide which rows count, or how they are grouped.
ROW_CLAUSES = ("where", "joins", "group", "having", "qualify", "distinct", "order")
Origin = tuple["_Relation", str]


def manifest_path(workspace: Workspace) -> Path:
    """Where dbt leaves its manifest."""
    return workspace.paths.dbt / "target" / "manifest.json"


def read_manifest(workspace: Workspace) -> dict[str, Any]:
    """The manifest of the last build.

    Raises:
        NotFound: the warehouse of the workspace was never built.
    """
    path = manifest_path(workspace)
    if not path.is_file():
        raise NotFound(
            f"The warehouse of {workspace.name} has not been built: there is no {path}.",
            hint="Run `credit301 build`: lineage is read from the SQL that it compiles.",
        )
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def manifest_lineage(workspace: Workspace, manifest: dict[str, Any] | None = None) -> Lineage:
    """The whole graph: sources and models from ``manifest`` (default: the last build's), the rest from the contracts.

    Raises:
        NotFound: the warehouse was never built.
    """
    manifest = read_manifest(workspace) if manifest is None else manifest
    lineage = Lineage()
    add_sources(lineage, workspace)
    _Reader(workspace, manifest, lineage).read()
    built = {source["name"] for source in manifest["sources"].values()}
    for contract in workspace.sources.values():
        if contract.name not in built:
            lineage.problems.append(f"{contract.name}: not in the last build; run `credit301 build`")
            add_derived(lineage, workspace, contract)
    add_models(lineage, workspace)
    return lineage


def layer_of(model: dict[str, Any]) -> Layer:
    """The layer of a model of the manifest, by the schema that it is built in."""
    return LAYER_OF_SCHEMA.get(str(model["schema"]).rsplit("_", 1)[-1], Layer.INTERMEDIATE)


@dataclass(eq=False)
class _Relation:
    """A source's table or a model: where its columns are in the graph, and which ones it has."""

    layer: Layer
    name: str
    columns: list[str]

    def node(self, column: str) -> Node:
        return Node(self.layer, self.name, column)


class _Reader:
    def __init__(self, workspace: Workspace, manifest: dict[str, Any], lineage: Lineage) -> None:
        self.workspace = workspace
        self.lineage = lineage
        self.dialect = str(manifest["metadata"]["adapter_type"])
        self.models = {
            identity: node for identity, node in manifest["nodes"].items() if node["resource_type"] in MODELLED
        }
        self.parents: dict[str, list[str]] = manifest["parent_map"]
        self.labels = {column.name: column.label for c in workspace.sources.values() for column in c.columns}
        self.relations: dict[str, _Relation] = {}
        self.by_identity: dict[str, _Relation] = {}
        self.schema: dict[str, Any] = {}
        for identity, source in manifest["sources"].items():
            columns = list(source["columns"])
            if source["name"] in workspace.sources:
                columns = [column.name for column in workspace.source(source["name"]).columns]
            self._know(identity, source["relation_name"], _Relation(Layer.SOURCE, source["name"], columns))

    def read(self) -> None:
        for identity in self._in_order():
            self._model(identity, self.models[identity])

    def _in_order(self) -> list[str]:
        ordered: list[str] = []

        def visit(identity: str) -> None:
            if identity in ordered or identity not in self.models:
                return
            for parent in self.parents.get(identity, []):
                visit(parent)
            ordered.append(identity)

        for identity in sorted(self.models):
            visit(identity)
        return ordered

    def _know(self, identity: str, relation_name: str, relation: _Relation) -> None:
        table = exp.to_table(relation_name, dialect=self.dialect)
        self.relations[_key(table)] = self.by_identity[identity] = relation
        if not relation.columns:
            return
        level = self.schema
        for part in table.parts[:-1]:
            level = level.setdefault(part.name.lower(), {})
        # A technical column of landing, which no contract has, must be known as well.
        level[table.name.lower()] = dict.fromkeys(relation.columns, "unknown")

    def _model(self, identity: str, model: dict[str, Any]) -> None:
        relation = _Relation(layer_of(model), model["alias"] or model["name"], [])
        try:
            flows, deciding = self._trace(str(model["compiled_code"] or ""))
        except (SqlglotError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.lineage.problems.append(f"{relation.name}: {reason}")
            parents = [self.by_identity[p] for p in self.parents.get(identity, []) if p in self.by_identity]
            every = {(parent, column) for parent in parents for column in parent.columns}
            flows, deciding = dict.fromkeys(model["columns"], every), set()
        relation.columns = list(flows)
        for column, origins in flows.items():
            label = self._label(relation, column)
            target = self.lineage.add(relation.node(column), label, model["original_file_path"])
            for origin, name in origins:
                self.lineage.link(origin.node(name), target)
            for origin, name in deciding:
                self.lineage.link(origin.node(name), target, indirect=True)
        self._know(identity, model["relation_name"] or model["name"], relation)

    def _label(self, relation: _Relation, column: str) -> Text | None:
        if relation.layer is Layer.MART and relation.name.startswith("feature_"):
            return None
        return self.labels.get(column)

    def _trace(self, sql: str) -> tuple[dict[str, set[Origin]], set[Origin]]:
        """For each output column what flows into it, and what decides which rows count."""
        # What is read by name needs to be known; a function's table or a recursive name may stay unknown.
        schema = MappingSchema(self.schema, dialect=self.dialect)
        query = qualify(
            sqlglot.parse_one(sql, dialect=self.dialect),
            schema=schema,
            dialect=self.dialect,
            validate_qualify_columns=False,
        )
        root = build_scope(query)
        if root is None or not isinstance(query, exp.Query):
            raise ValueError("is no query")
        bases: dict[tuple[int, str], set[Origin]] = {}

        def of(scope: Scope, name: str) -> set[Origin]:
            found = bases.get((id(scope), name))
            if found is None:
                step = trace(
                    name, query, schema=schema, dialect=self.dialect, scope=scope, trim_selects=False, copy=False
                )
                found = bases[id(scope), name] = self._bases(step)
            return found

        flows = {name: of(root, name) for name in query.named_selects}
        deciding: set[Origin] = set()
        for scope in root.traverse():
            for column in _row_columns(scope):
                source = scope.sources.get(column.table)
                if isinstance(source, exp.Table):
                    deciding |= self._base(source, column.name)
                elif isinstance(source, Scope) and column.name in _output(source):
                    deciding |= of(source, column.name)
        return flows, deciding

    def _bases(self, node: Any) -> set[Origin]:
        found: set[Origin] = set()
        for step in node.walk():
            if isinstance(step.expression, exp.Table):
                found |= self._base(step.expression, step.name.rsplit(".", 1)[-1].strip('"`'))
        return found

    def _base(self, table: exp.Table, column: str) -> set[Origin]:
        relation = self.relations.get(_key(table))
        known = relation is not None and column in relation.columns
        return {(relation, column)} if relation is not None and known else set()


def _key(table: exp.Table) -> str:
    return ".".join(part.name.lower() for part in table.parts)


def _row_columns(scope: Scope) -> list[exp.Column]:
    found: list[exp.Column] = []
    for clause in ROW_CLAUSES:
        value = scope.expression.args.get(clause)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, exp.Expression):
                found += part.find_all(exp.Column)
    return found


def _output(scope: Scope) -> list[str]:
    query = scope.expression
    return query.named_selects if isinstance(query, exp.Query) else []
