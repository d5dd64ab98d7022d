"""Reading a workspace's ``strategies/policy.yaml``, with the published tables that it names put in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from pydantic import ValidationError

from credit301.contracts.model import Name, Strict
from credit301.domain.policy import Policy
from credit301.errors import ContractError
from credit301.features.windows.definition import window_names
from credit301.yaml_file import YamlFile

if TYPE_CHECKING:
    from credit301.workspace import Workspace

PLACE = Path("strategies") / "policy.yaml"


class _TableMart(Strict):
    """A table kept as a mart with a column ``annual_rate``, and by band a column of shares of customers lost."""

    mart: Name
    columns: dict[str, Name]


def load_policy(workspace: Workspace) -> Policy:
    """The workspace's policy; ``policy.model_dump(mode="json")`` is what a manifest keeps.

    Raises:
        ContractError: the file is missing or says something that cannot be (with its line), a feature is none of the
            workspace's contracts, or a table's mart has not been built or has no such columns.
    """
    file = YamlFile(workspace.directory / PLACE)
    data: dict[str, Any] = file.plain()
    for name, table in (data.get("tables") or {}).items():
        if isinstance(table, dict):
            spec = file.parse(_TableMart, table, at=("tables", name))
            try:
                data["tables"][name] = _read_table(workspace.paths.marts / f"{spec.mart}.parquet", spec.columns)
            except duckdb.Error as error:
                reason = f"{str(error).splitlines()[0]}. Build the workspace first: credit301 build."
                raise file.error(("tables", name), f"the mart {spec.mart} cannot be read: {reason}") from error
    try:
        policy = Policy.model_validate(data)
    except ValidationError as error:
        raise file.invalid(error) from error
    known = {f"{source.name}:{feature.name}" for source in workspace.featured() for feature in source.features}
    known |= set(window_names(workspace))
    unknown = [key for key in policy.features() if key not in known]
    if unknown:
        raise ContractError(
            f"{file.path}: reads features that no contract has: {', '.join(unknown)}.",
            hint="A feature is named <source>:<feature>, as in the source's contract.",
        )
    return policy


def _read_table(path: Path, columns: dict[str, str]) -> list[dict[str, Any]]:
    # Six decimals: shares are exact decimals here, and the rest of a published fit's digits is noise.
    names = ", ".join(f"cast({column} as decimal(9, 6))" for column in ("annual_rate", *columns.values()))
    with duckdb.connect() as connection:
        rows = connection.execute(f"select {names} from read_parquet(?) order by 1", [str(path)]).fetchall()
    return [
        {"annual_rate": str(rate), "loss": dict(zip(columns, map(str, shares), strict=True))} for rate, *shares in rows
    ]
