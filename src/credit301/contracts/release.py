"""Released versions of a contract: kept beside it as ``released/contract-<version>.yaml``, never changed afterwards."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from credit301.contracts.comparison import Change, Level, compare
from credit301.contracts.loader import FILE_NAME, load_contract
from credit301.contracts.model import Contract, Text
from credit301.errors import ContractError

FOLDER = "released"
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
RELEASE_FILE = re.compile(rf"contract-({VERSION.pattern})\.yaml")
Version = tuple[int, int, int]
BUMPS = {Level.BREAKING: "major", Level.COMPATIBLE: "minor", Level.DOCUMENTATION: "patch"}


@dataclass(frozen=True)
class Comparison:
    """A contract beside its last release; ``released`` is ``None`` where it has none."""

    current: Contract
    released: Contract | None
    changes: tuple[Change, ...]

    @property
    def pending(self) -> bool:
        """Whether the contract says something that no release says."""
        return self.released is None or bool(self.changes) or self.released.version != self.current.version

    @property
    def asked(self) -> str:
        """The lowest version that the changes ask for; the contract's own where it was never released."""
        if self.released is None or not self.changes:
            return self.current.version
        return next_version(self.released.version, max(change.level for change in self.changes))

    @property
    def problem(self) -> Text | None:
        """Why the contract cannot be released as it is; ``None`` where it can."""
        if self.released is None:
            return None
        version, last = self.current.version, self.released.version
        if parsed(version) < parsed(last):
            return Text(zh=f"版本 {version} 低于已发布的 {last}", en=f"version {version} is below the released {last}")
        if parsed(version) < parsed(self.asked):
            kind = BUMPS[max(change.level for change in self.changes)]
            return Text(
                zh=f"自 {last} 以来的变更需要版本 {self.asked} 或更高（{kind}），现为 {version}",
                en=f"the changes since {last} ask for {self.asked} or later (a {kind} version), it says {version}",
            )
        return None


def parsed(version: str) -> Version:
    """``major.minor.patch`` as numbers.

    Raises:
        ContractError: it is written otherwise.
    """
    found = VERSION.fullmatch(version)
    if found is None:
        raise ContractError(f"{version!r} is no semantic version.", hint="Write major.minor.patch, for example 1.0.0.")
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def next_version(version: str, level: Level) -> str:
    """The lowest version after ``version`` that a change of ``level`` may have."""
    major, minor, patch = parsed(version)
    if level is Level.BREAKING:
        return f"{major + 1}.0.0"
    if level is Level.COMPATIBLE:
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"


def releases(folder: Path) -> dict[str, Path]:
    """Released versions of the source in ``folder`` with their files, oldest first."""
    found = [(match[1], path) for path in (folder / FOLDER).glob("*") if (match := RELEASE_FILE.fullmatch(path.name))]
    return dict(sorted(found, key=lambda item: parsed(item[0])))


def last_release(folder: Path) -> Contract | None:
    """The contract as it was released last, ``None`` where it never was.

    Raises:
        ContractError: the released file says another version than its name, or cannot be read.
    """
    known = releases(folder)
    if not known:
        return None
    version, path = list(known.items())[-1]
    contract = load_contract(folder, path)
    if contract.version != version:
        raise ContractError(f"{path}: it says version {contract.version}, its name says {version}.")
    return contract


def against_release(contract: Contract) -> Comparison:
    """``contract`` beside its last release.

    Raises:
        ContractError: a version is no semantic one, or the release cannot be read.
    """
    parsed(contract.version)
    released = last_release(contract.path)
    return Comparison(contract, released, compare(released, contract) if released else ())


def write_release(contract: Contract) -> Path:
    """Keep the contract as it is now as the release of its version; the caller has checked that it may be.

    Raises:
        ContractError: that version is released already.
    """
    target = contract.path / FOLDER / f"contract-{contract.version}.yaml"
    if target.exists():
        raise ContractError(f"{target} is there already.", hint="A release never changes; give a higher version.")
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(contract.path / FILE_NAME, target)
    return target
