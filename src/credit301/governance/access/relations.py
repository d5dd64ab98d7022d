"""What a role sees, derived from the contracts: which relations, which of their columns, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from credit301.contracts.model import Classification, Contract, Feature
from credit301.derive.dbt import feature_model_name
from credit301.governance.masking import Treatment

if TYPE_CHECKING:
    from credit301.governance.access.roles import Chosen, Role
    from credit301.workspace import Workspace

RECORDS: Final = "records"
FEATURES: Final = "features"
TIMES = ("event_timestamp", "created_timestamp")
_ORDER = list(Classification)
_TEXT = ("VARCHAR", "CHAR", "TEXT", "STRING")


@dataclass(frozen=True)
class Shown:
    """A column that is shown, and what becomes of its values: ``clear``, ``mask`` or ``hash``."""

    name: str
    treatment: Treatment


@dataclass(frozen=True)
class Relation:
    """Something that a role sees: ``kind`` and ``source`` name it, ``base`` is the table that it is taken from."""

    kind: Literal["records", "features"]
    source: str
    base: str
    columns: tuple[Shown, ...]

    @property
    def hashed(self) -> bool:
        """Whether it has a column of keyed hashes."""
        return any(column.treatment is Treatment.HASH for column in self.columns)


def relations(workspace: Workspace, role: Role) -> tuple[Relation, ...]:
    """Everything that ``role`` sees; a column that may not be seen in any form is not there."""
    key = workspace.entity.key
    found = [
        Relation(RECORDS, contract.name, contract.name, tuple(_records(contract, role, key)))
        for contract in _chosen(workspace, role.records)
    ]
    for contract in _chosen(workspace, role.features):
        if contract.features:
            base = feature_model_name(contract.name)
            found.append(Relation(FEATURES, contract.name, base, tuple(_features(contract, role, key))))
    return tuple(relation for relation in found if relation.columns)


def _chosen(workspace: Workspace, chosen: Chosen) -> list[Contract]:
    if chosen == "none":
        return []
    return [contract for name, contract in workspace.sources.items() if chosen == "all" or name in chosen]


def _records(contract: Contract, role: Role, key: str) -> Iterator[Shown]:
    for column in contract.columns:
        treatment = role.key if column.name == key else role.treatments[column.classification]
        yield from _shown(column.name, treatment, text=column.sql_type.startswith(_TEXT))


def _features(contract: Contract, role: Role, key: str) -> Iterator[Shown]:
    yield from _shown(key, role.key, text=True)
    for name in TIMES:
        yield Shown(name, Treatment.CLEAR)
    for feature in contract.features:
        treatment = role.treatments[classification(contract, feature)]
        yield from _shown(feature.name, treatment, text=feature.kind == "category")


def _shown(name: str, treatment: Treatment, *, text: bool) -> Iterator[Shown]:
    # A number or a date has no form that could be kept: masked or hashed it would be nothing at all, or another number.
    if treatment is Treatment.CLEAR or (text and treatment is not Treatment.OMIT):
        yield Shown(name, treatment)


def classification(contract: Contract, feature: Feature) -> Classification:
    """The most sensitive class of whatever ``feature`` is computed from."""
    columns = set(feature.reads)
    for name in feature.of or ():
        columns |= contract.feature(name).reads
    classes = [contract.column(name).classification for name in columns]
    return max(classes, key=_ORDER.index, default=Classification.INTERNAL)
