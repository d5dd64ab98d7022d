"""dbt's docs are written when a model or the engine has changed, and left as they are otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from credit301.errors import WarehouseError
from credit301.warehouse import build
from credit301.warehouse.engines import Engine
from credit301.warehouse.increment import Increment
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace


class Writing(Engine):
    """Writes the page that dbt would write, and counts; ``code`` is how it ends."""

    types: ClassVar[dict[str, str]] = {}

    def __init__(self, workspace: Workspace, name: str = "duckdb") -> None:
        super().__init__(workspace)
        self.name, self.asked, self.code = name, 0, 0

    def tables(self) -> set[str]:
        return set()

    def show(self, increment: Increment) -> None:
        raise NotImplementedError

    def build(self, project: Path, arguments: Sequence[str], target: Path | None) -> tuple[int, dict[str, int]]:
        self.asked += 1
        assert (list(arguments[:2]), target) == (["docs", "generate"], None)
        (project / "target").mkdir(parents=True, exist_ok=True)
        (project / "target" / "static_index.html").write_text(f"page {self.asked} of {self.name}", encoding="utf-8")
        return self.code, {}


@pytest.fixture
def city(tiny: TinyWorkspace) -> Workspace:
    workspace = tiny.load()
    (workspace.paths.dbt / "target").mkdir(parents=True)
    return workspace


def page(workspace: Workspace) -> str:
    return (workspace.paths.site / "dbt_docs" / "index.html").read_text(encoding="utf-8")


def test_they_are_written_once_for_the_same_models(city: Workspace) -> None:
    engine = Writing(city)
    for _ in range(2):
        build._document(city, engine, city.paths.dbt, "models")
    assert (engine.asked, page(city)) == (1, "page 1 of duckdb")


def test_other_models_another_engine_and_a_page_that_is_gone_are_written(city: Workspace) -> None:
    engine, other = Writing(city), Writing(city, "postgres")
    build._document(city, engine, city.paths.dbt, "models")
    build._document(city, engine, city.paths.dbt, "other models")
    assert page(city) == "page 2 of duckdb"
    build._document(city, other, city.paths.dbt, "other models")
    assert page(city) == "page 1 of postgres"
    (city.paths.site / "dbt_docs" / "index.html").unlink()
    build._document(city, other, city.paths.dbt, "other models")
    assert page(city) == "page 2 of postgres"


def test_what_could_not_be_written_is_written_the_next_time(city: Workspace) -> None:
    engine = Writing(city)
    build._document(city, engine, city.paths.dbt, "models")
    engine.code = 1
    with pytest.raises(WarehouseError, match="docs"):
        build._document(city, engine, city.paths.dbt, "other models")
    engine.code = 0
    build._document(city, engine, city.paths.dbt, "models")
    assert engine.asked == 3
