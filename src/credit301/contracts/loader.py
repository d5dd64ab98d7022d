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

from credit301.contracts.declared import declared
from credit301.contracts.model import (
    SQL_TYPES,
    CheckKind,
    Classification,
    Column,
    ConsentNeed,
    Contract,
    Edges,
    Freshness,
    LogicalType,
    Online,
    Pull,
    Purpose,
    Severity,
    SubModel,
    Text,
    TimeColumns,
)
from credit301.contracts.properties import Properties
from credit301.contracts.quality import Checks
from credit301.contracts.references import check_references, check_said
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


class _Loader:
    def __init__(self, file: YamlFile, document: dict[str, Any]) -> None:
        self.file = file
        self.document = document
        self.checks = Checks(file)

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
            self.checks.add_rule(rule, None, (*at, "quality", index))
        custom = Properties(file, document.get("customProperties"), CONTRACT_PROPERTIES, ("customProperties",))
        time = custom.parsed("time", TimeColumns, {})
        key = [column.name for column in columns if column.primary_key]
        # A correction repeats the key at a later time, so a version is unique by key and time of publication.
        version = [*key, *([time.available_at] if time.available_at and time.available_at not in key else [])]
        self.checks.add("unique_key", CheckKind.UNIQUE_KEY, severity=Severity.WARN, arguments={"columns": version})
        description = document.get("description") or {}
        found = declared(file, custom)
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
            legal_basis=str(custom.value("legalBasis", "")),
            grain=table.get("dataGranularityDescription") or "",
            path=folder,
            columns=columns,
            checks=tuple(self.checks.all),
            time=time,
            pull=self._pull(custom),
            freshness=self._freshness(),
            retention=self._retention(),
            **self._use(custom),
            edges=custom.parsed("edges", Edges) if "edges" in custom else None,
            features=found.features,
            submodel=custom.parsed("subModel", SubModel) if "subModel" in custom else None,
            online=custom.parsed("online", Online, {}),
            windows=found.windows,
        )
        check_references(file, contract, custom, found.places)
        check_said(file, document, contract)
        return contract

    def _column(self, item: dict[str, Any], at: Location) -> Column:
        name = item["name"]
        try:
            logical = LogicalType(item.get("logicalType") or "string")
        except ValueError:
            known = ", ".join(kind.value for kind in LogicalType)
            raise self.file.error((*at, "logicalType"), f"must be one of {known}.") from None
        custom = Properties(self.file, item.get("customProperties"), COLUMN_PROPERTIES, (*at, "customProperties"))
        column = Column(
            name=name,
            physical_name=item.get("physicalName") or name,
            label=Text(zh=item.get("businessName") or name, en=item.get("description") or name.replace("_", " ")),
            logical_type=logical,
            sql_type=(item.get("physicalType") or SQL_TYPES[logical]).upper(),
            required=bool(item.get("required") or item.get("primaryKey")),
            primary_key=bool(item.get("primaryKey")),
            classification=self._classification(item, at),
            unit=str(custom.value("unit", "")),
            date_format=str(custom.value("dateFormat", "")),
            repair=self._repair(custom),
            prefill=self._prefill(custom, item, at),
        )
        self.checks.add_column(column, item, at, custom.value("tolerance"))
        return column

    def _prefill(self, custom: Properties, item: dict[str, Any], at: Location) -> bool:
        if "prefill" not in custom:
            return False
        value, place = custom["prefill"]
        if not isinstance(value, bool):
            raise self.file.error(place, "must be true or false.")
        if value and self._classification(item, at) is Classification.PERSONAL:
            raise self.file.error(place, "a personal column is not shown to whoever applies.")
        return value

    def _repair(self, custom: Properties) -> tuple[RepairStep, ...]:
        if "repair" not in custom:
            return ()
        items, at = custom["repair"]
        if not isinstance(items, list):
            raise self.file.error(at, "must be a list of repairs.")
        return tuple(self.file.parse(RepairStep, item, (*at, index)) for index, item in enumerate(items))

    def _pull(self, custom: Properties) -> Pull:
        pull: Pull = custom.parsed("pull", Pull)
        at = custom.place("pull")
        if pull.connector not in OPTIONS:
            known = ", ".join(OPTIONS)
            raise self.file.error((*at, "connector"), f"{pull.connector!r} is no connector; known: {known}.")
        if pull.connector == "posted" and "windows" not in custom:
            raise self.file.error((*at, "connector"), "posted needs the property windows: events are posted for them.")
        self.file.parse(OPTIONS[pull.connector], pull.options, (*at, "options"))
        return pull

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

    def _use(self, custom: Properties) -> dict[str, Any]:
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
            if value == ConsentNeed.NOT_REQUIRED and not custom.value("legalBasis", ""):
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
