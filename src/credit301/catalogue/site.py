"""Writes the catalogue's pages: one list of sources with a search over every column, and a page for each source."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, PackageLoader, StrictUndefined

from credit301 import console
from credit301.catalogue.state import state_of
from credit301.contracts.loader import FILE_NAME
from credit301.contracts.model import Classification, Contract, Text
from credit301.derive import dictionary
from credit301.derive.dbt import feature_model_name, staging_name
from credit301.features.windows.definition import WindowSet
from credit301.files import replacing
from credit301.workspace import Workspace

CLASSES = {
    Classification.PUBLIC: Text(zh="公开", en="public"),
    Classification.INTERNAL: Text(zh="内部", en="internal"),
    Classification.CONFIDENTIAL: Text(zh="保密", en="confidential"),
    Classification.PERSONAL: Text(zh="个人信息", en="personal"),
}
SEVERITIES = {"fail": Text(zh="拒绝", en="refuses"), "warn": Text(zh="提示", en="warns")}
DAYS_A_YEAR = 365


def build(workspace: Workspace) -> Path:
    """Write all pages anew below ``<site>/catalogue``; return the first page."""
    directory = workspace.paths.site / "catalogue"
    environment = Environment(
        loader=PackageLoader("credit301.catalogue"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with duckdb.connect() as connection:
        sources = [_source(workspace, contract, connection) for contract in workspace.sources.values()]
    common = {
        "workspace": workspace,
        "built": datetime.now(UTC),
        "classes": CLASSES,
        "severities": SEVERITIES,
        "arguments": dictionary.check_arguments,
    }
    _write(directory / "index.html", environment.get_template("index.html.j2").render(sources=sources, **common))
    for source in sources:
        name = source["contract"].name
        page = environment.get_template("source.html.j2").render(source=source, **common)
        _write(directory / f"{name}.html", page)
        shutil.copyfile(source["contract"].path / FILE_NAME, directory / f"{name}.yaml")
    console.say(f"catalogue of {len(sources)} sources: {directory / 'index.html'}")
    return directory / "index.html"


def _source(workspace: Workspace, contract: Contract, connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    by_column: dict[str | None, list[Any]] = {}
    for check in contract.checks:
        by_column.setdefault(check.column, []).append((check, dictionary.check_text(check)))
    return {
        "contract": contract,
        "dimension": workspace.definition.dimensions[contract.dimension],
        "state": state_of(workspace, contract.name, connection),
        "checks": by_column,
        "features": [(feature, dictionary.definition(contract, feature)) for feature in contract.features],
        "windows": _windows(workspace, contract),
        "risk": dictionary.RISK,
        "retention_years": None if contract.retention is None else contract.retention / DAYS_A_YEAR,
        "models": [staging_name(contract.name), *([feature_model_name(contract.name)] if contract.features else [])],
    }


def _windows(workspace: Workspace, contract: Contract) -> list[tuple[str, Text, Text]]:
    """Name, label and definition of each sliding window of a source."""
    if contract.windows is None:
        return []
    windows = WindowSet(workspace.name, contract)
    return [
        (name, windows.labels[f"{contract.name}:{name}"], dictionary.window_definition(contract, count))
        for count in contract.windows.counts
        for name in (f"{count.name}_{span}" for span in windows.spans)
    ]


def _write(path: Path, page: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
