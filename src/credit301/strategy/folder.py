"""Reading the strategies of a workspace: a folder each below ``strategies/``, with a ``strategy.yaml`` in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from pydantic import ValidationError

from credit301.errors import NotFound
from credit301.features.windows.definition import window_names
from credit301.strategy import jdm
from credit301.strategy.definition import STAGES, Definition, Document, MartTable, Role
from credit301.strategy.strategy import Strategy
from credit301.yaml_file import YamlFile

if TYPE_CHECKING:
    from credit301.workspace import Workspace

FOLDER, FILE = Path("strategies"), "strategy.yaml"
CHAMPION: Role = "champion"


def folders(workspace: Workspace) -> list[Path]:
    """The folders of the workspace's strategies, by name."""
    return sorted(path.parent for path in (workspace.directory / FOLDER).glob(f"*/{FILE}"))


def load(workspace: Workspace, folder: Path) -> Strategy:
    """The strategy in ``folder``, compiled and checked against the workspace's contracts.

    Raises:
        ContractError: ``strategy.yaml`` says something that cannot be, with its line, or a table's mart is not there.
        StrategyError: a graph does, with its cell.
    """
    file = YamlFile(folder / FILE)
    definition = file.parse(Definition, file.plain())
    graphs = {}
    for stage in STAGES:
        name = definition.graph_file(stage)
        if name is not None:
            graphs[stage] = jdm.read(folder / name)
    tables = {name: _table(workspace, file, name, table) for name, table in definition.tables.items()}
    try:
        document = Document.model_validate(
            {
                "name": folder.name,
                "definition": definition.model_dump(),
                "graphs": graphs,
                "tables": tables,
                "labels": _labels(workspace, json.dumps(graphs)),
            }
        )
    except ValidationError as error:
        raise file.invalid(error) from error
    known = {f"{source.name}:{feature.name}" for source in workspace.featured() for feature in source.features}
    missing = sorted(set(definition.indispensable) - workspace.sources.keys())
    if missing:
        raise file.error(("indispensable",), f"there is no source {missing[0]!r}")
    for name in definition.fallbacks.sources:
        if name not in workspace.sources:
            raise file.error(("fallbacks", "sources", name), f"there is no source {name!r}")
    return Strategy(document, known | set(window_names(workspace)))


def load_all(workspace: Workspace) -> list[Strategy]:
    """Every strategy of the workspace.

    Raises:
        NotFound: it has none. ContractError, StrategyError: as for :func:`load`.
    """
    found = [load(workspace, folder) for folder in folders(workspace)]
    if not found:
        raise NotFound(
            "The workspace has no strategy: it scores, but decides nothing.",
            hint=f"Write {FOLDER}/<name>/{FILE}; docs/strategies.md shows how.",
        )
    return found


def find(workspace: Workspace, which: str | None = None) -> Strategy:
    """The strategy of this name, or in this folder; by default the workspace's champion with the fewest conditions.

    Raises:
        NotFound: there is none. ContractError, StrategyError: as for :func:`load`.
    """
    if which is not None and (Path(which) / FILE).is_file():
        return load(workspace, Path(which).resolve())
    there = {folder.name: folder for folder in folders(workspace)}
    if which is not None:
        if which not in there:
            raise NotFound(
                f"There is no strategy {which!r}.",
                hint=f"Name one of {', '.join(there) or 'none'}, or a folder with a {FILE}.",
            )
        return load(workspace, there[which])
    champions = [one for one in load_all(workspace) if one.definition.role == CHAMPION]
    if not champions:
        raise NotFound("No strategy is a champion.", hint=f"Give one `role: {CHAMPION}` in its {FILE}.")
    return min(champions, key=lambda one: one.definition.applies_to.conditions)


def beside(workspace: Workspace) -> Strategy:
    """The first challenger of the workspace; where there is none, its first shadow.

    Raises:
        NotFound: there is neither. ContractError, StrategyError: as for :func:`load`.
    """
    others = [one for one in load_all(workspace) if one.definition.role != CHAMPION]
    if not others:
        raise NotFound(
            "No strategy is a challenger or a shadow.", hint=f"Give one `role: shadow` in its {FILE}, or name two."
        )
    return min(others, key=lambda one: one.definition.role)


def _labels(workspace: Workspace, graphs: str) -> dict[str, dict[str, str]]:
    """What the features that ``graphs`` mention are called."""
    return {
        f"{source.name}:{feature.name}": {"zh": feature.label.zh, "en": feature.label.en}
        for source in workspace.featured()
        for feature in source.features
        if f"features.{source.name}.{feature.name}" in graphs
    }


def _table(workspace: Workspace, file: YamlFile, name: str, table: MartTable) -> list[dict[str, Any]]:
    """The rows of a mart. Numbers to six decimals: the rest of a published fit's digits is noise."""
    path = workspace.paths.mart(table.mart)
    columns = ", ".join(f'try_cast("{column}" as decimal(18, 6)) as "{ours}"' for ours, column in table.columns.items())
    try:
        with duckdb.connect() as connection:
            rows = connection.execute(f"select {columns} from read_parquet(?) order by 1", [str(path)]).fetchall()
    except duckdb.Error as error:
        reason = f"{str(error).splitlines()[0]}. Build the workspace first: credit301 build."
        raise file.error(("tables", name), f"the mart {table.mart} cannot be read: {reason}") from error
    return [dict(zip(table.columns, row, strict=True)) for row in rows]
