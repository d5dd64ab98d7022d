"""Reads ``contract.yaml``, an Open Data Contract Standard v3 document, into a :class:`Contract`.

The document is first held to the standard's own JSON schema, then to what the platform understands of it;
either way an error names file, line and key. What the standard has no word for stands in ``customProperties``:
``time``, ``pull``, ``legalBasis``, ``purposes``, ``consent``,
``features``, ``edges``, ``subModel``, ``online``, ``windows``; on a column ``unit``, ``dateFormat``, ``repair``,
``tolerance``, ``prefill``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from credit301.contracts.model import (
    SQL_TYPES,
    Check,
    CheckKind,
    Classification,
    Column,
    ConsentNeed,
    Contract,
    Edges,
    Feature,
    Freshness,
    LogicalType,
    Online,
    Pull,
    Purpose,
    Severity,
    Status,
    Strict,
    SubModel,
    Text,
    TimeColumns,
    WindowCount,
    Windows,
)
from credit301.contracts.repairs import RepairStep
from credit301.contracts.standard import check_standard
from credit301.sources.connectors.options import OPTIONS
from credit301.yaml_file import Location, YamlFile, read

FILE_NAME = "contract.yaml"
CONTRACT_PROPERTIES = {
    "time", "pull", "legalBasis", "features", "edges", "subModel", "purposes", "consent", "online", "windows"
}  # fmt: skip
COLUMN_PROPERTIES = {"unit", "dateFormat", "repair", "tolerance", "prefill"}
CACHED_CONTRACTS = 256
RETENTION_DAYS = {"d": 1, "y": 365}
ARGUMENTS = ("pattern", "validValues", "minimum", "maximum")
RECENT_COUNT = "recent_count"
"""The aggregation of a feature that counts recent events, in the sliding windows of the source."""

SEVERITIES = {"error": Severity.FAIL, "warning": Severity.WARN}


class _Quality(Strict):
    """The part of a quality rule of the standard that the platform derives checks from."""

    model_config = ConfigDict(alias_generator=to_camel)

    name: str | None = None
    type: str = "library"
    metric: str | None = None
    description: str = ""
    severity: str = "error"
    arguments: dict[str, Any] = Field(default_factory=dict)
    unit: str | None = None
    engine: str | None = None
    implementation: str | None = None
    must_be_greater_than: float | None = None
    must_be_greater_or_equal_to: float | None = None
    must_be_less_than: float | None = None
    dimension: str | None = None


def load_contract(folder: Path, path: Path | None = None) -> Contract:
    """The contract of the source in ``folder``: that in ``contract.yaml``, or another version of it in ``path``.

    Raises:
        ContractError: it breaks the standard, or names something that the platform does not know.
    """
    place = path or folder / FILE_NAME
    return _load(folder, place, read(place))


@lru_cache(maxsize=CACHED_CONTRACTS)
def _load(folder: Path, path: Path, text: str) -> Contract:
    """What ``text`` says: a contract takes some 50 ms, and one process loads the same workspace again and again."""
    file = YamlFile(path, text)
    document = file.plain()
    check_standard(file, document)
    return _Loader(file, document).contract(folder)


def place_of_property(file: YamlFile, name: str) -> Location:
    """Where the value of the custom property ``name`` of a contract stands in its ``file``."""
    for index, item in enumerate(file.data.get("customProperties") or []):
        if item.get("property") == name:
            return ("customProperties", index, "value")
    return ("customProperties",)


def place_of_feature(file: YamlFile, name: str) -> Location:
    """Where the feature ``name`` of a contract stands in its ``file``."""
    node, at = file.data, place_of_property(file, "features")
    for step in at:
        node = node[step]
    for index, item in enumerate(node):
        if item.get("name") == name:
            return (*at, index)
    return at


class _Loader:
    def __init__(self, file: YamlFile, document: dict[str, Any]) -> None:
        self.file = file
        self.document = document
        self.checks: list[Check] = []
        self.places: dict[str, Location] = {}
        """Where each feature stands, by name."""

    def contract(self, folder: Path) -> Contract:
        document, file = self.document, self.file
        if document["name"] != folder.name:
            raise file.error(("name",), f"is {document['name']!r}, but the folder is called {folder.name!r}.")
        schemas = document.get("schema") or []
        if len(schemas) != 1:
            raise file.error(("schema",), "a source has exactly one table.")
        table, at = schemas[0], ("schema", 0)
        columns = tuple(self._column(item, (*at, "properties", i)) for i, item in enumerate(table["properties"]))
        for index, rule in enumerate(table.get("quality") or []):
            self._quality(rule, None, (*at, "quality", index))
        custom = self._custom(document.get("customProperties"), CONTRACT_PROPERTIES, ("customProperties",))
        time = self._parse(custom, "time", TimeColumns, {})
        key = [column.name for column in columns if column.primary_key]
        # A correction repeats the key at a later time, so a version is unique by key and time of publication.
        version = [*key, *([time.available_at] if time.available_at and time.available_at not in key else [])]
        self._add("unique_key", CheckKind.UNIQUE_KEY, severity=Severity.WARN, arguments={"columns": version})
        description = document.get("description") or {}
        contract = Contract(
            name=document["name"],
            version=document["version"],
            status=document["status"],
            dimension=document.get("domain") or "",
            owner=(document.get("team") or {}).get("name") or "",
            title=Text(
                zh=table.get("businessName") or document["name"], en=table.get("description") or document["name"]
            ),
            purpose=description.get("purpose") or "",
            limitations=description.get("limitations") or "",
            legal_basis=str(self._value(custom, "legalBasis", "")),
            grain=table.get("dataGranularityDescription") or "",
            path=folder,
            columns=columns,
            checks=tuple(self.checks),
            time=time,
            pull=self._pull(custom),
            freshness=self._freshness(),
            retention=self._retention(),
            **self._use(custom),
            edges=self._parse(custom, "edges", Edges, None) if "edges" in custom else None,
            features=self._features(custom)[0],
            submodel=self._parse(custom, "subModel", SubModel, None) if "subModel" in custom else None,
            online=self._parse(custom, "online", Online, {}),
            windows=self._counted(custom),
        )
        self._references(contract, custom)
        self._governance(contract)
        return contract

    # -- columns and checks

    def _column(self, item: dict[str, Any], at: Location) -> Column:
        name = item["name"]
        try:
            logical = LogicalType(item.get("logicalType") or "string")
        except ValueError:
            known = ", ".join(kind.value for kind in LogicalType)
            raise self.file.error((*at, "logicalType"), f"must be one of {known}.") from None
        custom = self._custom(item.get("customProperties"), COLUMN_PROPERTIES, (*at, "customProperties"))
        required = bool(item.get("required") or item.get("primaryKey"))
        column = Column(
            name=name,
            physical_name=item.get("physicalName") or name,
            label=Text(zh=item.get("businessName") or name, en=item.get("description") or name.replace("_", " ")),
            logical_type=logical,
            sql_type=(item.get("physicalType") or SQL_TYPES[logical]).upper(),
            required=required,
            primary_key=bool(item.get("primaryKey")),
            classification=self._classification(item, at),
            unit=str(self._value(custom, "unit", "")),
            date_format=str(self._value(custom, "dateFormat", "")),
            repair=self._repair(custom),
            prefill=self._prefill(custom, item, at),
        )
        tolerance = self._value(custom, "tolerance", None)
        if required:
            self._add(f"{name}_not_null", CheckKind.NOT_NULL, column=name, tolerance=tolerance)
        if logical is not LogicalType.STRING:
            arguments = {"type": column.sql_type, "format": column.date_format}
            self._add(f"{name}_castable", CheckKind.CASTABLE, column=name, arguments=arguments, tolerance=tolerance)
        self._options(name, item, tolerance)
        for index, rule in enumerate(item.get("quality") or []):
            self._quality(rule, name, (*at, "quality", index))
        return column

    def _prefill(self, custom: dict[str, tuple[Any, Location]], item: dict[str, Any], at: Location) -> bool:
        if "prefill" not in custom:
            return False
        value, place = custom["prefill"]
        if not isinstance(value, bool):
            raise self.file.error(place, "must be true or false.")
        if value and self._classification(item, at) is Classification.PERSONAL:
            raise self.file.error(place, "a personal column is not shown to whoever applies.")
        return value

    def _repair(self, custom: dict[str, tuple[Any, Location]]) -> tuple[RepairStep, ...]:
        if "repair" not in custom:
            return ()
        items, at = custom["repair"]
        if not isinstance(items, list):
            raise self.file.error(at, "must be a list of repairs.")
        return tuple(self.file.parse(RepairStep, item, (*at, index)) for index, item in enumerate(items))

    def _options(self, name: str, item: dict[str, Any], tolerance: float | None) -> None:
        options = item.get("logicalTypeOptions") or {}
        if options.get("format") == "uscc":
            self._add(f"{name}_uscc", CheckKind.USCC, column=name, tolerance=tolerance)
        if "pattern" in options:
            self._add(
                f"{name}_pattern",
                CheckKind.PATTERN,
                column=name,
                arguments={"pattern": options["pattern"]},
                tolerance=tolerance,
            )
        bounds = {key: options[key] for key in ("minimum", "maximum") if key in options}
        if bounds:
            self._add(f"{name}_between", CheckKind.BETWEEN, column=name, arguments=bounds, tolerance=tolerance)
        if item.get("enum"):
            values = [entry["value"] for entry in item["enum"]]
            self._add(
                f"{name}_in_set", CheckKind.IN_SET, column=name, arguments={"values": values}, tolerance=tolerance
            )

    def _quality(self, rule: dict[str, Any], column: str | None, at: Location) -> None:
        quality = self.file.parse(_Quality, rule, at)
        if quality.severity not in SEVERITIES:
            raise self.file.error((*at, "severity"), "must be error or warning.")
        for key in quality.arguments:
            if key not in ARGUMENTS or quality.metric != "invalidValues":
                place = (*at, "arguments", key)
                raise self.file.error(place, f"unknown key; invalidValues has {', '.join(ARGUMENTS)}.")
        common: dict[str, Any] = {"severity": SEVERITIES[quality.severity], "description": quality.description}
        if quality.must_be_less_than is not None and quality.unit == "percent":
            common["tolerance"] = quality.must_be_less_than / 100
        if quality.metric == "rowCount" and column is None:
            above = quality.must_be_greater_than
            minimum = quality.must_be_greater_or_equal_to if above is None else above + 1
            self._add(
                quality.name or "row_count", CheckKind.ROW_COUNT, arguments={"minimum": int(minimum or 0)}, **common
            )
        elif quality.metric == "nullValues" and column:
            self._add(quality.name or f"{column}_not_null", CheckKind.NOT_NULL, column=column, **common)
        elif quality.metric == "invalidValues" and column:
            self._invalid_values(quality, column, at, common)
        elif quality.type == "custom" and quality.engine == "sql" and quality.implementation and quality.name:
            self._add(
                quality.name,
                CheckKind.ROW_RULE,
                column=column,
                arguments={"expression": quality.implementation},
                **common,
            )
        else:
            raise self.file.error(
                at,
                "is no quality rule that the platform knows: metric rowCount (table), nullValues or invalidValues "
                "(column), or type custom with name, engine sql and implementation.",
            )

    def _invalid_values(self, quality: _Quality, column: str, at: Location, common: dict[str, Any]) -> None:
        arguments = quality.arguments
        kinds = {
            "pattern": (CheckKind.PATTERN, "pattern", arguments.get("pattern")),
            "validValues": (CheckKind.IN_SET, "values", arguments.get("validValues")),
        }
        for key, (kind, argument, value) in kinds.items():
            if key in arguments:
                self._add(
                    quality.name or f"{column}_{kind}", kind, column=column, arguments={argument: value}, **common
                )
        bounds = {key: arguments[key] for key in ("minimum", "maximum") if key in arguments}
        if bounds:
            self._add(quality.name or f"{column}_between", CheckKind.BETWEEN, column=column, arguments=bounds, **common)
        if not bounds and not set(kinds) & set(arguments):
            raise self.file.error((*at, "arguments"), f"needs one of {', '.join(ARGUMENTS)}.")

    def _add(self, identity: str, kind: CheckKind, **fields: Any) -> None:
        taken = {check.id for check in self.checks}
        suffix = 2
        unique = identity
        while unique in taken:
            unique, suffix = f"{identity}_{suffix}", suffix + 1
        self.checks.append(Check(id=unique, kind=kind, **fields))

    # -- custom properties

    def _custom(
        self, items: list[dict[str, Any]] | None, known: set[str], at: Location
    ) -> dict[str, tuple[Any, Location]]:
        found: dict[str, tuple[Any, Location]] = {}
        for index, item in enumerate(items or []):
            if item["property"] not in known:
                raise self.file.error((*at, index, "property"), f"unknown property; known: {', '.join(sorted(known))}.")
            found[item["property"]] = (item.get("value"), (*at, index, "value"))
        return found

    @staticmethod
    def _value(custom: dict[str, tuple[Any, Location]], name: str, default: Any) -> Any:
        return custom[name][0] if name in custom else default

    def _parse(self, custom: dict[str, tuple[Any, Location]], name: str, model: Any, default: Any) -> Any:
        if name not in custom:
            if default is None:
                raise self.file.error(("customProperties",), f"the property {name!r} is missing.")
            return model(**default)
        value, at = custom[name]
        return self.file.parse(model, value, at)

    def _pull(self, custom: dict[str, tuple[Any, Location]]) -> Pull:
        pull: Pull = self._parse(custom, "pull", Pull, None)
        at = custom["pull"][1]
        if pull.connector not in OPTIONS:
            known = ", ".join(OPTIONS)
            raise self.file.error((*at, "connector"), f"{pull.connector!r} is no connector; known: {known}.")
        if pull.connector == "posted" and "windows" not in custom:
            raise self.file.error((*at, "connector"), "posted needs the property windows: events are posted for them.")
        self.file.parse(OPTIONS[pull.connector], pull.options, (*at, "options"))
        return pull

    def _features(self, custom: dict[str, tuple[Any, Location]]) -> tuple[tuple[Feature, ...], list[dict[str, Any]]]:
        """The features of the mart, and as declared those that are counted in sliding windows."""
        self.places = {}
        if "features" not in custom:
            return (), []
        items, at = custom["features"]
        features: list[Feature] = []
        recent: list[dict[str, Any]] = []
        for i, item in enumerate(TypeAdapter(list).validate_python(items)):
            found: Feature | WindowCount
            if isinstance(item, dict) and item.get("aggregation") == RECENT_COUNT:
                recent.append({key: value for key, value in item.items() if key != "aggregation"})
                found = self.file.parse(WindowCount, recent[-1], (*at, i))
            else:
                found = self.file.parse(Feature, item, (*at, i))
                features.append(found)
            if found.name in self.places:
                raise self.file.error((*at, i, "name"), f"{found.name!r} is declared twice.")
            self.places[found.name] = (*at, i)
        return tuple(features), recent

    def _counted(self, custom: dict[str, tuple[Any, Location]]) -> Windows | None:
        """The sliding windows: their spans stand in ``windows``, what they count among the features.

        Contracts that were released before that have their counts in ``windows``, too.
        """
        recent = self._features(custom)[1]
        if "windows" not in custom:
            if recent:
                place = self.places[recent[0]["name"]]
                raise self.file.error(place, f"{RECENT_COUNT} needs the property windows: {{spans: [10m, 1h]}}.")
            return None
        value, at = custom["windows"]
        older = value.get("counts", []) if isinstance(value, dict) else []
        for i, item in enumerate(older if isinstance(older, list) else []):
            if isinstance(item, dict):
                self.places.setdefault(str(item.get("name")), (*at, "counts", i))
        if not isinstance(value, dict) or (not recent and "counts" not in value):
            return self._parse(custom, "windows", Windows, None)  # type: ignore[no-any-return]
        windows: Windows = self.file.parse(Windows, {**value, "counts": [*older, *recent]}, at)
        return windows

    def _freshness(self) -> Freshness:
        values: dict[str, Any] = {}
        for index, item in enumerate(self.document.get("slaProperties") or []):
            if item["property"] == "frequency":
                values["schedule"] = str(item.get("schedule") or "@daily")
            elif item["property"] == "latency":
                values["maximum_age_days"] = int(item["value"])
            elif item["property"] != "retention":
                raise self.file.error(("slaProperties", index, "property"), "must be frequency, latency or retention.")
        return Freshness(**values)

    def _retention(self) -> int | None:
        for index, item in enumerate(self.document.get("slaProperties") or []):
            if item["property"] != "retention":
                continue
            value, unit = item["value"], item.get("unit")
            if unit not in RETENTION_DAYS or isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise self.file.error(
                    ("slaProperties", index), "retention is a whole number of days (unit: d) or years (unit: y)."
                )
            return value * RETENTION_DAYS[unit]
        return None

    def _use(self, custom: dict[str, tuple[Any, Location]]) -> dict[str, Any]:
        """What the source may be read for, and whether consent is needed; what is not said keeps its default."""
        found: dict[str, Any] = {}
        if "purposes" in custom:
            value, at = custom["purposes"]
            if not isinstance(value, list) or not value or not set(value) <= set(Purpose):
                raise self.file.error(at, f"must be a list of {', '.join(Purpose)}.")
            found["purposes"] = tuple(Purpose(item) for item in value)
        if "consent" in custom:
            value, at = custom["consent"]
            if value not in set(ConsentNeed):
                raise self.file.error(at, f"must be one of {', '.join(ConsentNeed)}.")
            if value == ConsentNeed.NOT_REQUIRED and not self._value(custom, "legalBasis", ""):
                raise self.file.error(at, "not_required needs a legalBasis that says why.")
            found["consent"] = ConsentNeed(value)
        return found

    def _classification(self, item: dict[str, Any], at: Location) -> Classification:
        """Said, never assumed: what a column may be used for follows from it."""
        known = ", ".join(kind.value for kind in Classification)
        if "classification" not in item:
            raise self.file.error(at, f"column {item['name']!r} has no classification; give one of {known}.")
        try:
            return Classification(item["classification"])
        except ValueError:
            raise self.file.error((*at, "classification"), f"must be one of {known}.") from None

    def _governance(self, contract: Contract) -> None:
        """An active contract says who answers for the data, why and by what right it is used, and for how long."""
        if contract.status not in set(Status):
            raise self.file.error(("status",), f"must be one of {', '.join(Status)}.")
        if contract.status != Status.ACTIVE:
            return
        said: dict[str, tuple[object, Location]] = {
            "an owner (team.name)": (contract.owner, ("team",)),
            "a purpose (description.purpose)": (contract.purpose, ("description",)),
            "a legal basis (customProperties, legalBasis)": (contract.legal_basis, ("customProperties",)),
            "a retention (slaProperties, {property: retention, value: 5, unit: y})": (
                contract.retention,
                ("slaProperties",),
            ),
        }
        for what, (value, at) in said.items():
            if not value:
                raise self.file.error(
                    at if at[0] in self.document else ("status",), f"an active contract needs {what}."
                )

    def _references(self, contract: Contract, custom: dict[str, tuple[Any, Location]]) -> None:
        columns = {column.name for column in contract.columns}
        if not contract.primary_key:
            raise self.file.error(("schema", 0, "properties"), "no column has primaryKey: true.")
        for name in (contract.time.event_time, contract.time.available_at):
            if name and name not in columns:
                raise self.file.error(custom["time"][1], f"{name!r} is not a column.")
        self._edges(contract, columns, custom)
        direct = {feature.name for feature in contract.features if feature.of is None}
        for feature in contract.features:
            at = self.places[feature.name]
            for column in sorted(feature.reads - columns):
                place = (*at, "where", column) if column in feature.where else at
                raise self.file.error(place, f"{column!r} is not a column of {contract.name}.")
            for other in set(feature.of or ()) - direct:
                raise self.file.error((*at, "of"), f"{other!r} is no directly aggregated feature of {contract.name}.")
        if contract.submodel and contract.submodel.enabled and not contract.features:
            raise self.file.error(custom["subModel"][1], "a sub-model needs features.")
        self._windows(contract, columns, custom)

    def _windows(self, contract: Contract, columns: set[str], custom: dict[str, tuple[Any, Location]]) -> None:
        """Windows need to know which event, when it was and when it came; what they count is in columns."""
        if contract.windows is None:
            return
        at = custom["windows"][1]
        if len(contract.primary_key) != 1 or not contract.time.event_time or not contract.time.available_at:
            raise self.file.error(at, "windows need one column as primary key, time.eventTime and time.availableAt.")
        taken = {feature.name for feature in contract.features}
        for count in contract.windows.counts:
            place = self.places[count.name]
            for column in sorted({count.by, *count.where} - columns):
                raise self.file.error(
                    (*place, "where", column) if column in count.where else (*place, "by"),
                    f"{column!r} is not a column of {contract.name}.",
                )
            if contract.column(count.by).logical_type is not LogicalType.STRING:
                raise self.file.error((*place, "by"), f"{count.by!r} is no text.")
            for span in contract.windows.spans:
                if f"{count.name}_{span}" in taken:
                    raise self.file.error((*place, "name"), f"{count.name}_{span} is the name of a feature.")

    def _edges(self, contract: Contract, columns: set[str], custom: dict[str, tuple[Any, Location]]) -> None:
        edges = contract.edges
        for name in (edges.origin, edges.target) if edges else ():
            if name not in columns:
                raise self.file.error(custom["edges"][1], f"{name!r} is not a column of {contract.name}.")
        for feature in contract.features:
            at = self.places[feature.name]
            if feature.over_edges and edges is None:
                raise self.file.error(at, "needs the custom property edges: {from: ..., to: ...} in this contract.")
            if feature.over_edges in {"in", "out"} and edges and not edges.directed:
                raise self.file.error(at, "the edges are not directed: its direction can only be both.")
