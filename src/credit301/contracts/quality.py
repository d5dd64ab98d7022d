"""The checks of a contract: from what its columns are, and from its quality rules in the words of the standard."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from credit301.contracts.model import Check, CheckKind, Column, LogicalType, Severity, Strict
from credit301.yaml_file import Location, YamlFile

ARGUMENTS = ("pattern", "validValues", "minimum", "maximum")
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


class Checks:
    """Checks as they are found; each gets an id of its own."""

    def __init__(self, file: YamlFile) -> None:
        self._file = file
        self.all: list[Check] = []

    def add(self, identity: str, kind: CheckKind, **fields: Any) -> None:
        """Add a check; one of the same id gets a number behind it."""
        taken = {check.id for check in self.all}
        suffix = 2
        unique = identity
        while unique in taken:
            unique, suffix = f"{identity}_{suffix}", suffix + 1
        self.all.append(Check(id=unique, kind=kind, **fields))

    def add_column(self, column: Column, item: dict[str, Any], at: Location, tolerance: float | None) -> None:
        """Add what follows from a column: its type, its options, and its quality rules in ``item``, which is at ``at``.

        Raises:
            ContractError: a rule is none that the platform knows.
        """
        name = column.name
        if column.required:
            self.add(f"{name}_not_null", CheckKind.NOT_NULL, column=name, tolerance=tolerance)
        if column.logical_type is not LogicalType.STRING:
            arguments = {"type": column.sql_type, "format": column.date_format}
            self.add(f"{name}_castable", CheckKind.CASTABLE, column=name, arguments=arguments, tolerance=tolerance)
        self._add_options(name, item, tolerance)
        for index, rule in enumerate(item.get("quality") or []):
            self.add_rule(rule, name, (*at, "quality", index))

    def _add_options(self, name: str, item: dict[str, Any], tolerance: float | None) -> None:
        options = item.get("logicalTypeOptions") or {}
        if options.get("format") == "uscc":
            self.add(f"{name}_uscc", CheckKind.USCC, column=name, tolerance=tolerance)
        if "pattern" in options:
            self.add(
                f"{name}_pattern",
                CheckKind.PATTERN,
                column=name,
                arguments={"pattern": options["pattern"]},
                tolerance=tolerance,
            )
        bounds = {key: options[key] for key in ("minimum", "maximum") if key in options}
        if bounds:
            self.add(f"{name}_between", CheckKind.BETWEEN, column=name, arguments=bounds, tolerance=tolerance)
        if item.get("enum"):
            values = [entry["value"] for entry in item["enum"]]
            self.add(f"{name}_in_set", CheckKind.IN_SET, column=name, arguments={"values": values}, tolerance=tolerance)

    def add_rule(self, rule: dict[str, Any], column: str | None, at: Location) -> None:
        """Add a quality rule of a column, or of the table where ``column`` is ``None``; it stands at ``at``.

        Raises:
            ContractError: it is none that the platform knows.
        """
        quality = self._file.parse(_Quality, rule, at)
        if quality.severity not in SEVERITIES:
            raise self._file.error((*at, "severity"), "must be error or warning.")
        for key in quality.arguments:
            if key not in ARGUMENTS or quality.metric != "invalidValues":
                place = (*at, "arguments", key)
                raise self._file.error(place, f"unknown key; invalidValues has {', '.join(ARGUMENTS)}.")
        common: dict[str, Any] = {"severity": SEVERITIES[quality.severity], "description": quality.description}
        if quality.must_be_less_than is not None and quality.unit == "percent":
            common["tolerance"] = quality.must_be_less_than / 100
        if quality.metric == "rowCount" and column is None:
            above = quality.must_be_greater_than
            minimum = quality.must_be_greater_or_equal_to if above is None else above + 1
            self.add(
                quality.name or "row_count", CheckKind.ROW_COUNT, arguments={"minimum": int(minimum or 0)}, **common
            )
        elif quality.metric == "nullValues" and column:
            self.add(quality.name or f"{column}_not_null", CheckKind.NOT_NULL, column=column, **common)
        elif quality.metric == "invalidValues" and column:
            self._add_invalid_values(quality, column, at, common)
        elif quality.type == "custom" and quality.engine == "sql" and quality.implementation and quality.name:
            self.add(
                quality.name,
                CheckKind.ROW_RULE,
                column=column,
                arguments={"expression": quality.implementation},
                **common,
            )
        else:
            raise self._file.error(
                at,
                "is no quality rule that the platform knows: metric rowCount (table), nullValues or invalidValues "
                "(column), or type custom with name, engine sql and implementation.",
            )

    def _add_invalid_values(self, quality: _Quality, column: str, at: Location, common: dict[str, Any]) -> None:
        arguments = quality.arguments
        kinds = {
            "pattern": (CheckKind.PATTERN, "pattern", arguments.get("pattern")),
            "validValues": (CheckKind.IN_SET, "values", arguments.get("validValues")),
        }
        for key, (kind, argument, value) in kinds.items():
            if key in arguments:
                self.add(quality.name or f"{column}_{kind}", kind, column=column, arguments={argument: value}, **common)
        bounds = {key: arguments[key] for key in ("minimum", "maximum") if key in arguments}
        if bounds:
            self.add(quality.name or f"{column}_between", CheckKind.BETWEEN, column=column, arguments=bounds, **common)
        if not bounds and not set(kinds) & set(arguments):
            raise self._file.error((*at, "arguments"), f"needs one of {', '.join(ARGUMENTS)}.")
