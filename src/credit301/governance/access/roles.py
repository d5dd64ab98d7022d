"""Roles as data: one YAML file, the platform's or the workspace's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from credit301.contracts.model import Classification, Name, Strict, Text
from credit301.errors import NotFound
from credit301.governance.masking import Treatment
from credit301.yaml_file import YamlFile

if TYPE_CHECKING:
    from credit301.workspace import Workspace

DEFAULT = Path(__file__).with_name("roles.yaml")
OWN = Path("governance") / "roles.yaml"
Chosen = Literal["all", "none"] | tuple[Name, ...]


class Role(Strict):
    """What one role may see: of which sources the records and the features, and what becomes of each class."""

    title: Text
    records: Chosen = "none"
    features: Chosen = "none"
    key: Treatment
    treatments: dict[Classification, Treatment]

    @model_validator(mode="after")
    def _complete(self) -> Role:
        if missing := set(Classification) - set(self.treatments):
            raise ValueError(f"treatments say nothing of {', '.join(sorted(missing))}")
        return self


class Roles(Strict):
    """The file."""

    roles: dict[Name, Role]


def roles_of(workspace: Workspace) -> dict[str, Role]:
    """The roles of ``workspace`` by name.

    Raises:
        ContractError: its file says something that cannot be; the message names file and line.
    """
    own = workspace.directory / OWN
    file = YamlFile(own if own.is_file() else DEFAULT)
    roles = file.parse(Roles).roles
    for name, role in roles.items():
        for field in ("records", "features"):
            chosen = getattr(role, field)
            if isinstance(chosen, tuple):
                for index, source in enumerate(chosen):
                    if source not in workspace.sources:
                        raise file.error(("roles", name, field, index), f"{source!r} is not a source of the workspace.")
    return roles


def role_of(workspace: Workspace, name: str) -> Role:
    """The role called ``name``.

    Raises:
        NotFound: there is none.
    """
    roles = roles_of(workspace)
    if name not in roles:
        raise NotFound(f"There is no role {name!r}.", hint=f"Roles: {', '.join(roles)}.")
    return roles[name]
