"""A key that the platform does not know, anywhere in any YAML file of a workspace, is an error with file and line."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from credit301.contracts.model import Strict
from credit301.errors import ContractError
from credit301.model.stewardship import Stewardship
from credit301.settings import Settings
from credit301.strategy.definition import Definition
from credit301.workspace import Workspace
from credit301.yaml_file import YamlFile
from tests.conftest import REPOSITORY
from tests.unit.core.full_workspace import EVERYTHING
from training.gate_rules import Rules

UNKNOWN = "unheard_of"
Place = tuple[str | int, ...]
# Mappings whose keys are names of the workspace's own: another name there is no unknown key, but a new one.
WITH_NAMES = {
    ("workspace.yaml", ("dimensions",)),
    ("strategies/credit/strategy.yaml", ("parameters",)),
    ("strategies/credit/strategy.yaml", ("tables",)),
    ("strategies/credit/strategy.yaml", ("wording",)),
    ("strategies/models.yaml", ("approval", "roles")),
    ("strategies/credit/strategy.yaml", ("tables", "rate_vs_customer_loss", "columns")),
}


# Read without the contracts, which are another city's here.
WITHOUT_FEATURES: dict[str, type[Strict]] = {
    "strategies/gate.yaml": Rules,
    "strategies/models.yaml": Stewardship,
    "strategies/credit/strategy.yaml": Definition,
}


@lru_cache(maxsize=1)
def texts() -> dict[str, str]:
    """Every kind of YAML file that a workspace may have, by path."""
    from_city = {"gate.yaml": "wuhan", "models.yaml": "wuhan", "credit/strategy.yaml": "invoices"}
    return {
        **EVERYTHING,
        **{
            f"strategies/{name}": (REPOSITORY / "workspaces" / city / "strategies" / name).read_text(encoding="utf-8")
            for name, city in from_city.items()
        },
    }


def mappings(node: Any, at: Place = ()) -> list[Place]:
    """Where mappings stand below ``node``."""
    found: list[Place] = []
    if isinstance(node, dict):
        found.append(at)
        for key, value in node.items():
            found += mappings(value, (*at, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            found += mappings(value, (*at, index))
    return found


def places() -> list[tuple[str, Place]]:
    """Every mapping of every file that is not keyed by names of the workspace's own."""
    return [
        (name, at)
        for name, text in texts().items()
        for at in mappings(YAML(typ="safe").load(text))
        if (name, at) not in WITH_NAMES
    ]


def spoil(path: Path, at: Place) -> int:
    """Put the unknown key into the mapping at ``at``; the line where it stands then."""
    yaml = YAML(typ="rt")
    yaml.width = 10_000
    document = yaml.load(path.read_text(encoding="utf-8"))
    node = document
    for step in at:
        node = node[step]
    node[UNKNOWN] = "x"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if UNKNOWN in line)


def write(directory: Path) -> None:
    for name, text in texts().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def load(directory: Path, name: str) -> None:
    """Read the file called ``name`` as the platform does."""
    if name in WITHOUT_FEATURES:
        YamlFile(directory / name).parse(WITHOUT_FEATURES[name])
        return
    Workspace.load(directory, Settings(home=directory / "home", _env_file=None))


@pytest.mark.parametrize("name", texts())
def test_the_workspace_with_everything_in_it_loads(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    load(tmp_path, name)


@pytest.mark.parametrize(("name", "at"), places(), ids=str)
def test_an_unknown_key_anywhere_is_an_error_that_names_file_and_line(tmp_path: Path, name: str, at: Place) -> None:
    write(tmp_path)
    line = spoil(tmp_path / name, at)
    with pytest.raises(ContractError) as caught:
        load(tmp_path, name)
    assert re.search(rf"{re.escape(name)}:{line}\b", str(caught.value)), caught.value
    assert UNKNOWN in str(caught.value)
