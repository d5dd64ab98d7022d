"""Holds a contract to the Open Data Contract Standard, and says where it does not hold: file, line and key."""

from __future__ import annotations

import json
import typing
from functools import lru_cache
from typing import Any

import jsonschema
import jsonschema_rs
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import BaseModel

from credit301.yaml_file import Location, YamlFile

# The kinds of servers have keys of their own, which only the JSON schema of the standard lists.
LEFT_TO_THE_SCHEMA = {"servers"}


def check_standard(file: YamlFile, document: dict[str, Any]) -> None:
    """Check ``document``, the plain content of ``file``, against the standard.

    The JSON schema alone does not do: in some places it lets any key pass, in others it names the wrong one.

    Raises:
        ContractError: it breaks the standard, or has a key that the standard does not know.
    """
    unknown = _unknown_key(OpenDataContractStandard, document, ())
    if unknown is not None:
        raise file.error(unknown, "unknown key: the data contract standard has none of that name here.")
    if _quickly().is_valid(document):
        return
    # Slower by a hundred times, but it says which of several problems is meant.
    problem = jsonschema.exceptions.best_match(_schema().iter_errors(document))
    if problem is not None:
        raise file.error(_place(problem), f"breaks the data contract standard: {problem.message[:300]}.")


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    text = OpenDataContractStandard.json_schema()  # type: ignore[no-untyped-call]
    document: dict[str, Any] = json.loads(text)
    return document


@lru_cache(maxsize=1)
def _schema() -> jsonschema.Draft201909Validator:
    return jsonschema.Draft201909Validator(_document())


@lru_cache(maxsize=1)
def _quickly() -> jsonschema_rs.Draft201909Validator:
    return jsonschema_rs.Draft201909Validator(_document())


def _unknown_key(model: type[BaseModel], node: dict[str, Any], at: Location) -> Location | None:
    """Where the first key stands that ``model``, or a model of what it holds, has no field for."""
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for key, value in node.items():
        if key not in fields:
            return (*at, key)
        if key in LEFT_TO_THE_SCHEMA:
            continue
        for place, item in _items(value, (*at, key)):
            inner = _model(fields[key], listed=isinstance(value, list))
            found = _unknown_key(inner, item, place) if inner else None
            if found is not None:
                return found
    return None


def _items(value: Any, at: Location) -> list[tuple[Location, dict[str, Any]]]:
    """The mappings that ``value`` is, or lists."""
    if isinstance(value, list):
        return [((*at, index), item) for index, item in enumerate(value) if isinstance(item, dict)]
    return [(at, value)] if isinstance(value, dict) else []


def _model(annotation: Any, *, listed: bool) -> type[BaseModel] | None:
    """The model in ``annotation`` of one mapping, or of the items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return None if listed else annotation
    for part in typing.get_args(annotation):
        inside_list = typing.get_origin(annotation) is list
        found = _model(part, listed=listed and not inside_list)
        if found is not None and (listed or not inside_list):
            return found
    return None


def _place(problem: jsonschema.ValidationError) -> Location:
    """Where a document breaks the standard: at the key that is too many, where that is what is wrong."""
    at = tuple(problem.absolute_path)
    if problem.validator in {"additionalProperties", "unevaluatedProperties"} and isinstance(problem.instance, dict):
        # The message names the keys in quotes; those that the schema knows are not among them.
        extra = [key for key in problem.instance if f"'{key}'" in problem.message]
        return (*at, *extra[:1])
    return at
