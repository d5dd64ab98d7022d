"""The data contract of one source: everything the platform knows about it, from which the rest is derived."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from credit301.contracts.repairs import RepairStep

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Span = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[smhd]$")]
SHORTEST_LATENESS = 60
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_of(span: str) -> int:
    """Seconds of a span of time such as ``10m``, ``24h`` or ``7d``."""
    return int(span[:-1]) * _SECONDS[span[-1]]


class Strict(BaseModel):
    """Base of everything read from YAML: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Strict):
    """One text in both languages."""

    zh: str
    en: str


class Severity(StrEnum):
    """What a violated check does: refuse the row (or the batch), or only tell."""

    FAIL = "fail"
    WARN = "warn"


class CheckKind(StrEnum):
    """Kinds of checks; each derives one expectation and, where it judges rows, one SQL predicate."""

    NOT_NULL = "not_null"
    CASTABLE = "castable"
    PATTERN = "pattern"
    IN_SET = "in_set"
    BETWEEN = "between"
    USCC = "uscc"
    UNIQUE_KEY = "unique_key"
    ROW_RULE = "row_rule"
    ROW_COUNT = "row_count"


class Check(Strict):
    """One check of a column, of a row, or of a whole batch.

    ``tolerance`` is the share of rows (0 to 1) that may violate a row check before the whole batch is refused;
    ``None`` takes the workspace's.
    """

    id: str
    kind: CheckKind
    severity: Severity = Severity.FAIL
    column: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    tolerance: float | None = None
    description: str = ""


class Classification(StrEnum):
    """Sensitivity class of a column."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    PERSONAL = "personal"


class Purpose(StrEnum):
    """What a source may be read for."""

    CREDIT_DECISION = "credit_decision"
    POST_LOAN_MONITORING = "post_loan_monitoring"
    MODEL_DEVELOPMENT = "model_development"
    MARKETING = "marketing"


class ConsentNeed(StrEnum):
    """Whether a source is read only with the enterprise's consent; a public register is read without."""

    REQUIRED = "required"
    NOT_REQUIRED = "not_required"


class LogicalType(StrEnum):
    """Logical types of Open Data Contract Standard that a column may have."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"


SQL_TYPES = {
    LogicalType.STRING: "VARCHAR",
    LogicalType.INTEGER: "BIGINT",
    LogicalType.NUMBER: "DOUBLE",
    LogicalType.BOOLEAN: "BOOLEAN",
    LogicalType.DATE: "DATE",
    LogicalType.TIMESTAMP: "TIMESTAMP",
}


class Column(Strict):
    """One column: ``physical_name`` is what the source calls it, ``name`` what the platform does."""

    name: Name
    physical_name: str
    label: Text
    logical_type: LogicalType
    sql_type: str
    required: bool = False
    primary_key: bool = False
    classification: Classification
    unit: str = ""
    date_format: str = ""
    repair: tuple[RepairStep, ...] = ()
    prefill: bool = Field(default=False, description="whether an applicant finds it filled in")


class TimeColumns(Strict):
    """Which columns say when a record was true and when it could first be known.

    Without ``eventTime`` the source holds timeless attributes. Without ``availableAt`` a record is known
    ``lagDays`` after it was true. Where ``slowlyChanging``, a record is the state of the entity from its event time on,
    until its next record.
    """

    model_config = ConfigDict(alias_generator=to_camel)

    event_time: Name | None = None
    available_at: Name | None = None
    lag_days: int = 0
    slowly_changing: bool = False

    @model_validator(mode="after")
    def _state_since_when(self) -> TimeColumns:
        if self.slowly_changing and self.event_time is None:
            raise ValueError("slowlyChanging needs eventTime: the state since when?")
        return self


class Pull(Strict):
    """How a source is pulled: the connector's name and its options, which :mod:`credit301.sources.connectors` knows."""

    connector: str
    options: dict[str, Any] = Field(default_factory=dict)


class Aggregation(StrEnum):
    """How the records of an entity, known at a time and inside the window, become one value."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    STD = "std"
    LAST = "last"
    DISTINCT = "distinct"
    ACTIVE_MONTHS = "active_months"
    CONCENTRATION = "concentration"
    TREND = "trend"
    SHARE = "share"
    RECENCY_DAYS = "recency_days"
    AGE_DAYS = "age_days"
    RATIO = "ratio"
    DIFFERENCE = "difference"
    DEGREE = "degree"
    NEIGHBOUR_MEAN = "neighbour_mean"
    NEIGHBOUR_SUM = "neighbour_sum"
    NEIGHBOUR_MIN = "neighbour_min"
    NEIGHBOUR_MAX = "neighbour_max"
    NEIGHBOUR_SHARE = "neighbour_share"


Scalar = bool | int | float | str


class Comparison(Strict):
    """A condition on a column's value; all that are given must hold."""

    gt: Scalar | None = None
    gte: Scalar | None = None
    lt: Scalar | None = None
    lte: Scalar | None = None
    ne: Scalar | None = None

    def given(self) -> dict[str, Scalar]:
        """The comparisons that are given, by operator."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


WITHOUT_COLUMN = {
    Aggregation.COUNT,
    Aggregation.ACTIVE_MONTHS,
    Aggregation.RECENCY_DAYS,
    Aggregation.RATIO,
    Aggregation.DIFFERENCE,
    Aggregation.SHARE,
    Aggregation.DEGREE,
    Aggregation.NEIGHBOUR_MEAN,
    Aggregation.NEIGHBOUR_SUM,
    Aggregation.NEIGHBOUR_MIN,
    Aggregation.NEIGHBOUR_MAX,
    Aggregation.NEIGHBOUR_SHARE,
}
OF_FEATURES = {Aggregation.RATIO, Aggregation.DIFFERENCE}
OF_NEIGHBOURS = {
    Aggregation.NEIGHBOUR_MEAN,
    Aggregation.NEIGHBOUR_SUM,
    Aggregation.NEIGHBOUR_MIN,
    Aggregation.NEIGHBOUR_MAX,
    Aggregation.NEIGHBOUR_SHARE,
}
Direction = Literal["in", "out", "both"]


class Edges(Strict):
    """Each record of the source is an edge from the party in column ``origin`` to the one in ``target``.

    In YAML they are called ``from`` and ``to``. Either end may be an entity of the workspace or an outside party; an
    edge that is not ``directed`` has no first and second end.
    """

    origin: Name = Field(alias="from")
    target: Name = Field(alias="to")
    directed: bool = True

    @model_validator(mode="after")
    def _two_ends(self) -> Edges:
        if self.origin == self.target:
            raise ValueError("an edge has two ends, in two columns")
        return self


class NeighbourFeature(Strict):
    """A feature of a source, taken of each neighbour at the same time; ``where`` chooses what a share counts."""

    source: Name
    feature: Name
    where: Scalar | tuple[Scalar, ...] | Comparison | None = None


class Feature(Strict):
    """One feature of a source.

    ``trend`` is the slope per month of the values in the window divided by their mean absolute value; ``share`` the
    share of ``column``'s sum (of the count where no column is given) that satisfies ``where``; ``active_months`` the
    number of calendar months with a record; ``concentration`` the share of the largest value of ``column`` in the
    records that have one or, with ``weight``, in the sum of that column over the values whose sum is positive;
    ``ratio`` and ``difference`` combine two other features of the same source, ``of: [left, right]``.
    A source of edges has more: ``degree`` is the number of distinct neighbours over the edges in the window;
    ``neighbour_mean``, ``_sum``, ``_min``, ``_max`` and ``_share`` take ``neighbour`` of each of them that has it, once
    a neighbour, as known at the same time. ``direction`` says over which edges, seen from the entity; any other
    aggregation that has one is over those edges instead of the entity's own records.
    ``risk`` says how the probability of default may move as the value grows; it becomes a monotone constraint.
    """

    name: Name
    aggregation: Aggregation
    label: Text
    column: Name | None = None
    window_months: Annotated[int, Field(ge=1, le=120)] | None = None
    window_days: Annotated[int, Field(ge=1, le=3660)] | None = None
    where: dict[Name, Scalar | tuple[Scalar, ...] | Comparison] = Field(default_factory=dict)
    of: tuple[Name, Name] | None = None
    weight: Name | None = None
    prefix: Annotated[int, Field(ge=1)] | None = None
    direction: Direction | None = None
    neighbour: NeighbourFeature | None = None
    kind: Literal["number", "category"] = "number"
    unit: str = ""
    risk: Literal["increasing", "decreasing", "free"] = "free"
    adverse: Text | None = None
    favourable: Text | None = None

    @property
    def reads(self) -> set[str]:
        """Names of the columns that it is computed from."""
        return {name for name in (self.column, self.weight, *self.where) if name is not None}

    @property
    def tells(self) -> set[str]:
        """Names of the columns whose values it tells something of; how many distinct ones there are tells of none."""
        counted = {self.column} if self.aggregation is Aggregation.DISTINCT else set()
        return self.reads - (counted - set(self.where))

    @property
    def over_edges(self) -> Direction | None:
        """The edges that it is computed over, ``None`` where it is over the entity's own records."""
        if self.aggregation is Aggregation.DEGREE or self.aggregation in OF_NEIGHBOURS:
            return self.direction or "both"
        return self.direction

    @model_validator(mode="after")
    def _consistent(self) -> Feature:
        if self.aggregation in OF_FEATURES and self.of is None:
            raise ValueError(f"{self.aggregation} needs `of: [left, right]`")
        if self.aggregation not in WITHOUT_COLUMN and self.column is None:
            raise ValueError(f"{self.aggregation} needs a column")
        if self.kind == "category" and self.aggregation is not Aggregation.LAST:
            raise ValueError("a category is always the last value known")
        if self.kind == "category" and self.risk != "free":
            raise ValueError("a category has no direction")
        if self.aggregation is Aggregation.SHARE and not self.where:
            raise ValueError("share needs `where`: the share of what?")
        if self.weight is not None and self.aggregation is not Aggregation.CONCENTRATION:
            raise ValueError("only concentration has a weight")
        if self.window_months is not None and self.window_days is not None:
            raise ValueError("a window is in months or in days")
        return self

    @model_validator(mode="after")
    def _neighbours(self) -> Feature:
        share = self.aggregation is Aggregation.NEIGHBOUR_SHARE
        if (self.neighbour is not None) != (self.aggregation in OF_NEIGHBOURS):
            raise ValueError("the neighbour_... aggregations, and only they, need `neighbour: {source, feature}`")
        if self.neighbour is not None and share != (self.neighbour.where is not None):
            raise ValueError("neighbour_share, and only it, needs `where` in its neighbour: the share of what?")
        if self.direction is not None and self.of is not None:
            raise ValueError(f"{self.aggregation} combines features and has no direction")
        return self


class Online(Strict):
    """How the source's features are served: for how long a row may be used after its event time (``ttl``, ``45d``)."""

    ttl: Span | None = None

    @property
    def ttl_seconds(self) -> int:
        """The time to live in seconds, 0 where rows may be used for ever."""
        return seconds_of(self.ttl) if self.ttl else 0


class WindowCount(Strict):
    """How many events that satisfy ``where`` had the same value in the column ``by``, in each span of time."""

    name: Name
    label: Text
    by: Name
    where: dict[Name, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)


class Windows(Strict):
    """Sliding windows over the events of a source, counted as they come.

    A window is ``buckets`` buckets long, the one of the asking time among them: it covers its span less up to one
    bucket. An event that arrives more than ``lateness`` after its event time is counted in none.
    """

    spans: Annotated[tuple[Span, ...], Field(min_length=1, max_length=16)]
    buckets: Annotated[int, Field(ge=2, le=600)] = 60
    lateness: Span = "1h"
    counts: Annotated[tuple[WindowCount, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _countable(self) -> Windows:
        for span in self.spans:
            if seconds_of(span) % self.buckets:
                raise ValueError(f"{span} is not {self.buckets} buckets of whole seconds")
        if len({seconds_of(span) for span in self.spans}) != len(self.spans):
            raise ValueError("two spans are the same")
        if len({count.name for count in self.counts}) != len(self.counts):
            raise ValueError("two counts have the same name")
        if seconds_of(self.lateness) < SHORTEST_LATENESS:
            raise ValueError(f"lateness is at least {SHORTEST_LATENESS}s: events take some time to come")
        return self


class SubModel(Strict):
    """The source's own model. ``absence`` says what no record means: unknown, or that nothing happened."""

    enabled: bool = True
    label: Text
    absence: Literal["no_data", "no_events"] = "no_data"


class Status(StrEnum):
    """Life of a contract; only an ``active`` one must name owner, purpose, legal basis and retention."""

    PROPOSED = "proposed"
    DRAFT = "draft"
    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class Freshness(Strict):
    """How often the source is pulled (cron or preset) and how old it may be, in days."""

    schedule: str = "@daily"
    maximum_age_days: int | None = None


class Contract(Strict):
    """Everything about one source, as loaded from ``sources/<name>/contract.yaml``.

    ``retention`` is for how many days a record may be kept, a year being 365 days; ``None`` where nothing is said.
    """

    name: Name
    version: str
    status: str
    dimension: Name
    owner: str
    title: Text
    purpose: str
    limitations: str
    legal_basis: str
    grain: str
    path: Path
    columns: tuple[Column, ...]
    checks: tuple[Check, ...]
    time: TimeColumns
    pull: Pull
    freshness: Freshness
    retention: Annotated[int, Field(ge=1)] | None = None
    purposes: tuple[Purpose, ...] = (Purpose.CREDIT_DECISION, Purpose.POST_LOAN_MONITORING, Purpose.MODEL_DEVELOPMENT)
    consent: ConsentNeed = ConsentNeed.REQUIRED
    edges: Edges | None = None
    features: tuple[Feature, ...] = ()
    submodel: SubModel | None = None
    online: Online = Online()
    windows: Windows | None = None

    @property
    def major(self) -> int:
        """The first number of the version: rows of another one mean something else under the same names."""
        first = self.version.partition(".")[0]
        return int(first) if first.isdecimal() else 1

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Names of the columns that identify a record, in order."""
        return tuple(column.name for column in self.columns if column.primary_key)

    def column(self, name: str) -> Column:
        """The column called ``name``; ``KeyError`` where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def feature(self, name: str) -> Feature:
        """The feature called ``name``; ``KeyError`` where there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)
