"""Assembles the dbt project of a workspace: the platform's macros, the derived models, the workspace's own."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from credit301.derive import dbt as derive_dbt
from credit301.errors import ConfigError
from credit301.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[3] / "dbt_project"
PARTS = ("macros", "tests", "models")


def macros_fingerprint() -> str:
    """Changes when the macros do that all models are made with."""
    texts = [path.read_bytes() for path in sorted((PROJECT / "macros").rglob("*.sql"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def fingerprint(project: Path) -> str:
    """Changes with any model, macro or test of an assembled ``project``."""
    digest = hashlib.sha256()
    for path in sorted(path for name in PARTS for path in (project / name).rglob("*.*")):
        digest.update(f"{path.relative_to(project)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def assemble(workspace: Workspace) -> Path:
    """Write the project below ``workspace.paths.dbt`` and return its directory.

    Files that a contract no longer derives disappear; dbt's own ``target`` stays, for partial parsing.

    Raises:
        ConfigError: the platform's ``dbt_project`` is not beside the package.
    """
    if not PROJECT.is_dir():
        raise ConfigError(
            f"{PROJECT} is missing.", hint="Run from a checkout: the package is installed in editable mode."
        )
    target = workspace.paths.dbt
    target.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        shutil.rmtree(target / name, ignore_errors=True)
        shutil.copytree(PROJECT / name, target / name) if (PROJECT / name).is_dir() else (target / name).mkdir()
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy2(PROJECT / name, target / name)
    own = workspace.directory / "models"
    if own.is_dir():
        shutil.copytree(own, target / "models" / "workspace")
    derived = {"models": derive_dbt.project_files(workspace), "macros": derive_dbt.macro_files(workspace)}
    for kind, files in derived.items():
        for name, text in files.items():
            path = target / kind / "derived" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return target
