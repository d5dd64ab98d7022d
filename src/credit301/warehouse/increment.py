"""What the warehouse has taken of the landing, so that a build touches only what is new.

A landed file never changes. One that is gone or has changed (erasure, retention, a landing made anew) and a contract
that derives another staging model both mean that the source is staged anew, and what follows from it alone is built
anew. What follows from all sources carries on from the build before, if that one succeeded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from credit301.derive.dbt import SPINE_MODEL, STAGING_SCHEMA, carried_models, staging_name, staging_sql
from credit301.files import replacing
from credit301.workspace import Workspace


@dataclass(frozen=True)
class Intake:
    """Landed files of a source, those that the warehouse does not have, and whether to stage all of them anew.

    ``newest`` is the time of the newest record of the files that it has; ``None`` where that is not known.
    """

    files: tuple[Path, ...]
    new: tuple[Path, ...]
    full: bool
    newest: datetime | None = None


@dataclass(frozen=True)
class Increment:
    """The intake of every source for one build, and what to remember when the build has succeeded.

    ``before`` is the time of the build that this one carries on from, and ``anew`` names the models that do not;
    without ``before`` nothing but staging does. With ``same_project`` models and tests are those of the last build.
    ``schemas`` has the schema of each of these models.
    """

    intakes: dict[str, Intake]
    anew: tuple[str, ...]
    before: datetime | None
    schemas: dict[str, str]
    memory: Path
    remembered: dict[str, Any] = field(repr=False)
    same_project: bool = False

    @classmethod
    def plan(
        cls,
        workspace: Workspace,
        engine: str,
        there: set[str],
        *,
        macros: str = "",
        project: str = "",
        full: bool = False,
    ) -> Increment:
        """Compare the landing and the models with what ``engine`` has.

        Args:
            workspace: the workspace.
            engine: name of the engine; each remembers for itself.
            there: names of the tables that the engine has and can add to.
            macros: fingerprint of what all models are made with.
            project: fingerprint of the assembled dbt project.
            full: build everything anew.
        """
        memory = workspace.paths.state / f"warehouse_{engine}.json"
        known = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
        full = full or known.get("macros") != macros
        sources = known.get("sources", {})
        intakes: dict[str, Intake] = {}
        taken: dict[str, Any] = {}
        for contract in workspace.sources.values():
            model = _digest(staging_sql(contract))
            before = sources.get(contract.name, {})
            anew = full or staging_name(contract.name) not in there or before.get("model") != model
            files = tuple(sorted((workspace.paths.landing / contract.name).glob("*.parquet")))
            intakes[contract.name] = _intake(files, before, anew=anew)
            taken[contract.name] = {"model": model, "files": {path.name: _mark(path) for path in files}}
        whole = {source for source, intake in intakes.items() if intake.full}
        carried = carried_models(workspace)
        models = {model.name: _digest(model.sql) for model in carried}
        stale = [
            model.name
            for model in carried
            if not model.carries_on
            or model.name not in there
            or whole & model.sources
            or known.get("models", {}).get(model.name) != models[model.name]
        ]
        # What is due stands in the spine: without the one before it, nothing can carry on.
        then = None if full or SPINE_MODEL in stale else known.get("as_of")
        schemas = {model.name: model.schema for model in carried}
        schemas |= {staging_name(source): STAGING_SCHEMA for source in workspace.sources}
        return cls(
            intakes,
            (*map(staging_name, sorted(whole)), *(stale if then else models)),
            datetime.fromisoformat(then) if then else None,
            schemas,
            memory,
            {"sources": taken, "models": models, "macros": macros, "project": project},
            known.get("project") == project,
        )

    def at(self, moment: datetime) -> Increment:
        """The same, for a build as of ``moment``: one that goes back in time carries nothing on."""
        if self.before is None or self.before <= moment:
            return self
        anew = dict.fromkeys([*self.anew, *self.remembered["models"]])
        return replace(self, anew=tuple(anew), before=None)

    def begin(self) -> None:
        """The build begins: until it has succeeded, the next one must not carry on from what this one leaves."""
        if self.memory.exists():
            known = json.loads(self.memory.read_text(encoding="utf-8"))
            self._write({**known, "as_of": None})

    def remember(self, moment: datetime, newest: dict[str, datetime | None]) -> None:
        """The build as of ``moment`` has succeeded: these files are in the warehouse, up to these newest records."""
        for source, time in newest.items():
            self.remembered["sources"][source]["newest"] = time.isoformat() if time else None
        self._write({**self.remembered, "as_of": moment.isoformat()})

    def _write(self, known: dict[str, Any]) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.memory) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")


def _intake(files: tuple[Path, ...], before: dict[str, Any], *, anew: bool) -> Intake:
    taken = before.get("files", {})
    marks = {path.name: _mark(path) for path in files}
    anew = anew or any(marks.get(name) != mark for name, mark in taken.items())
    if anew:
        return Intake(files, files, full=True)
    newest = before.get("newest")
    new = tuple(path for path in files if path.name not in taken)
    return Intake(files, new, full=False, newest=datetime.fromisoformat(newest) if newest else None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _mark(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
