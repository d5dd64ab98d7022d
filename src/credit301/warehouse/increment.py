"""What the warehouse has taken of the landing, so that a build touches only what is new.

A landed file never changes. One that is gone or has changed (erasure, retention, a landing made anew) and a contract
that derives another staging model both mean that the source is staged anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from credit301.derive.dbt import staging_name, staging_sql
from credit301.files import replacing
from credit301.workspace import Workspace


@dataclass(frozen=True)
class Intake:
    """Landed files of a source, those that the warehouse does not have, and whether to stage all of them anew."""

    files: tuple[Path, ...]
    new: tuple[Path, ...]
    full: bool


@dataclass(frozen=True)
class Increment:
    """The intake of every source for one build, and what to remember when the build has succeeded."""

    intakes: dict[str, Intake]
    memory: Path
    remembered: dict[str, object] = field(repr=False)

    @classmethod
    def plan(cls, workspace: Workspace, engine: str, staged: set[str], *, full: bool = False) -> Increment:
        """Compare the landing with what ``engine`` has.

        Args:
            workspace: the workspace.
            engine: name of the engine; each remembers for itself.
            staged: names of the staging models that the engine has.
            full: stage every source anew.
        """
        memory = workspace.paths.state / f"warehouse_{engine}.json"
        before = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
        intakes: dict[str, Intake] = {}
        remembered: dict[str, object] = {}
        for contract in workspace.sources.values():
            files = tuple(sorted((workspace.paths.landing / contract.name).glob("*.parquet")))
            marks = {path.name: _mark(path) for path in files}
            model = hashlib.sha256(staging_sql(contract).encode()).hexdigest()
            known = before.get(contract.name, {})
            taken = known.get("files", {})
            anew = (
                full
                or staging_name(contract.name) not in staged
                or known.get("model") != model
                or any(marks.get(name) != mark for name, mark in taken.items())
            )
            new = files if anew else tuple(path for path in files if path.name not in taken)
            intakes[contract.name] = Intake(files, new, anew)
            remembered[contract.name] = {"model": model, "files": marks}
        return cls(intakes, memory, remembered)

    def anew(self) -> list[str]:
        """Names of the staging models that are built anew."""
        return [staging_name(source) for source, intake in self.intakes.items() if intake.full]

    def remember(self) -> None:
        """The build has succeeded: these files are in the warehouse."""
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.memory) as temporary:
            temporary.write_text(json.dumps(self.remembered), encoding="utf-8")


def _mark(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
