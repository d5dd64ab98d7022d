"""A workspace: the contracts, strategies and settings of one city or bank, and where its runs are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from credit301.contracts.loader import FILE_NAME, load_contract
from credit301.contracts.model import Contract, Name, Scalar, Strict, Text
from credit301.errors import ContractError, NotFound
from credit301.governance.definition import Governance
from credit301.settings import Settings, get_settings
from credit301.workspace_checks import check
from credit301.yaml_file import YamlFile


class Entity(Strict):
    """Who is decided on: the column that names it in every source, and what a valid value looks like."""

    name: Name = "enterprise"
    key: Name = "uscc"
    label: Text
    format: Literal["uscc", "text"] = "uscc"
    pattern: str = r"^\S{1,64}$"


class Labels(Strict):
    """Where the outcomes to learn from are: a dbt model of the workspace, or a column of a source.

    A model has the entity's key, ``decision_time`` and ``label`` (0 or 1). A source's column is a default where it
    equals ``positive``; its decision time is in the column ``decision_time``, else the time of the data. The column
    ``known_at``, of the model or the source, says when the outcome was known: a split by time then trains on what was
    known when its test begins.
    """

    model: Name | None = None
    source: Name | None = None
    column: Name | None = None
    positive: Any = None
    decision_time: Name | None = None
    known_at: Name | None = None

    @model_validator(mode="after")
    def _either(self) -> Labels:
        if bool(self.model) == bool(self.source):
            raise ValueError("name either a model or a source")
        if self.source and self.column is None:
            raise ValueError("a source needs the column that holds the outcome")
        if self.source and self.positive is None:
            raise ValueError("a source needs the value of a default in its column: positive")
        if self.model and {"column", "positive", "decision_time"} & self.model_fields_set:
            raise ValueError("a model has these columns by their fixed names; only a source names them")
        return self


class TimeSplit(Strict):
    """The last ``test_share`` of decisions in time are the test; no entity is on both sides.

    With an ``embargo``, nothing is learnt from outcomes that became known after the test begins (``known_at`` of the
    labels says when); without, the test is later decisions, but not what was to be learnt at that day.
    """

    kind: Literal["time"]
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    embargo: bool = True
    folds: Annotated[int, Field(ge=2)] = 5
    seed: int = 301


class KFoldSplit(Strict):
    """Stratified folds over entities, repeated with other seeds."""

    kind: Literal["kfold"]
    folds: Annotated[int, Field(ge=2)] = 5
    repeats: Annotated[int, Field(ge=1)] = 5
    seed: int = 301


class ColumnSplit(Strict):
    """A column of the label table: it says ``train`` or ``test``, or names each row's fold.

    Of ``sides`` the values are those of ``train`` and ``test``; of ``folds`` each value is one fold, which is tested by
    models that learnt from the others.
    """

    kind: Literal["column"]
    column: Name
    holds: Literal["sides", "folds"] = "sides"
    train: Scalar = "train"
    test: Scalar = "test"
    folds: Annotated[int, Field(ge=2)] = 5
    seed: int = 301


Split = Annotated[TimeSplit | KFoldSplit | ColumnSplit, Field(discriminator="kind")]


class Ingest(Strict):
    """How much of a batch may be refused before the batch itself is."""

    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.05


class Peer(Strict):
    """A feature whose value two entities share that are compared with one another: its first ``prefix`` characters."""

    source: Name
    feature: Name
    prefix: Annotated[int, Field(ge=1)] | None = None


class Portrait(Strict):
    """Among whom an index of the portrait is a place: those who share all ``peers``; without any, all entities.

    Where fewer than ``fewest`` of them are known, the last of ``peers`` is given up, then the one before it.
    """

    peers: tuple[Peer, ...] = ()
    fewest: Annotated[int, Field(ge=2)] = 30


class Definition(Strict):
    """What ``workspace.yaml`` says. Without ``labels`` (and ``split``) features are made, and nothing is trained."""

    name: Name
    title: Text
    entity: Entity
    dimensions: dict[Name, Text]
    labels: Labels | None = None
    split: Split | None = None
    ingest: Ingest = Ingest()
    feature_grid: Literal["monthly", "none"] = Field(
        default="none", description="also compute features at each month's start, not only at decisions and now"
    )
    simulated: bool = False
    governance: Governance = Governance()
    portrait: Portrait = Portrait()


@dataclass(frozen=True)
class Paths:
    """Where the files of a workspace's runs are, all under ``<home>/<workspace name>``."""

    root: Path

    @property
    def inbox(self) -> Path:
        """Batches as they arrived."""
        return self.root / "inbox"

    @property
    def landing(self) -> Path:
        """Typed rows that passed their checks."""
        return self.root / "landing"

    @property
    def quarantine(self) -> Path:
        """Rows that did not, with their reasons."""
        return self.root / "quarantine"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that dbt writes."""
        return self.root / "warehouse.duckdb"

    @property
    def dbt(self) -> Path:
        """The assembled dbt project."""
        return self.root / "dbt"

    @property
    def marts(self) -> Path:
        """Marts exported as Parquet."""
        return self.root / "marts"

    def mart(self, name: str) -> Path:
        """The exported mart called ``name``."""
        return self.marts / f"{name}.parquet"

    @property
    def training_set(self) -> Path:
        """Labels with the features known at each decision."""
        return self.root / "training" / "training_set.parquet"

    @property
    def feast(self) -> Path:
        """The Feast repository and registry."""
        return self.root / "feast"

    @property
    def bundles(self) -> Path:
        """Promoted bundles by version."""
        return self.root / "bundles"

    @property
    def site(self) -> Path:
        """Pages: data docs, dbt docs, index."""
        return self.root / "site"

    @property
    def reports(self) -> Path:
        """Training reports and metrics."""
        return self.root / "reports"

    @property
    def audit(self) -> Path:
        """The audit trail: who read what for which application."""
        return self.root / "audit"

    @property
    def archive(self) -> Path:
        """Bundles that have decided, by digest, for the replay of their decisions."""
        return self.root / "archive"

    @property
    def promotions(self) -> Path:
        """Which model decided when, and who approved it."""
        return self.root / "promotions"

    @property
    def accept_lane(self) -> Path:
        """What was lent by lot, month by month."""
        return self.root / "accept_lane"

    @property
    def monitoring(self) -> Path:
        """How the models did, month by month."""
        return self.root / "monitoring"

    @property
    def window_features(self) -> Path:
        """Sliding windows at the labelled decisions, beside the training set."""
        return self.training_set.with_name("window_features.parquet")

    @property
    def events(self) -> Path:
        """Events as they were posted, by source."""
        return self.root / "events"

    @property
    def consents(self) -> Path:
        """Consent records, where they are kept in files."""
        return self.root / "consents"

    @property
    def access(self) -> Path:
        """What each role may see, a database each."""
        return self.root / "access"

    @property
    def state(self) -> Path:
        """Watermarks, promotions, alerts."""
        return self.root / "state"


@dataclass(frozen=True)
class Workspace:
    """One city or bank, loaded and checked as a whole."""

    directory: Path
    definition: Definition
    sources: dict[str, Contract]
    settings: Settings

    @classmethod
    def load(cls, directory: Path, settings: Settings | None = None) -> Workspace:
        """Read ``workspace.yaml`` and the contract of every folder under ``sources/``.

        Raises:
            ContractError: a file says something that cannot be; the message names file and line.
        """
        directory = directory.expanduser().resolve()
        file = YamlFile(directory / "workspace.yaml")
        definition = file.parse(Definition)
        folders = sorted(path.parent for path in (directory / "sources").glob(f"*/{FILE_NAME}"))
        sources = {folder.name: load_contract(folder) for folder in folders}
        workspace = cls(directory, definition, sources, settings or get_settings())
        workspace._check(file)
        return workspace

    def _check(self, file: YamlFile) -> None:
        if not self.sources:
            raise ContractError(
                f"{self.directory} has no sources.", hint="Each source is a folder sources/<name>/contract.yaml."
            )
        check(self.definition, self.sources, file)

    @property
    def name(self) -> str:
        """Name of the workspace; also the Feast project and the prefix of its models."""
        return self.definition.name

    @property
    def title(self) -> Text:
        """What people call the city or bank."""
        return self.definition.title

    @property
    def entity(self) -> Entity:
        """Who is decided on."""
        return self.definition.entity

    @property
    def paths(self) -> Paths:
        """Where this workspace's files are."""
        return Paths(self.settings.home / self.name)

    def source(self, name: str) -> Contract:
        """The contract of the source called ``name``.

        Raises:
            NotFound: the workspace has no such source.
        """
        if name not in self.sources:
            raise NotFound(f"{self.name} has no source {name!r}.", hint=f"Its sources: {', '.join(self.sources)}.")
        return self.sources[name]

    def featured(self) -> tuple[Contract, ...]:
        """Contracts of the sources that have features, in order of name."""
        return tuple(contract for contract in self.sources.values() if contract.features)
