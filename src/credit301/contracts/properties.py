"""The custom properties of a contract: what the standard has no word for, and where each of it stands in the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from credit301.yaml_file import Location, YamlFile


class Properties:
    """Custom properties by name.

    Args:
        file: where they are.
        items: as the standard writes them, ``property`` and ``value``.
        known: the names that there are.
        at: where the list stands.

    Raises:
        ContractError: one is not known.
    """

    def __init__(self, file: YamlFile, items: Iterable[dict[str, Any]] | None, known: set[str], at: Location) -> None:
        self._file, self._at = file, at
        self._found: dict[str, tuple[Any, Location]] = {}
        for index, item in enumerate(items or []):
            if item["property"] not in known:
                raise file.error((*at, index, "property"), f"unknown property; known: {', '.join(sorted(known))}.")
            self._found[item["property"]] = (item.get("value"), (*at, index, "value"))

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> tuple[Any, Location]:
        """Value of a property that is there, and its place."""
        return self._found[name]

    def value(self, name: str, default: Any = None) -> Any:
        """Value of a property; ``default`` where it is not said."""
        return self._found[name][0] if name in self._found else default

    def place(self, name: str) -> Location:
        """Where the value of a property stands that is there."""
        return self._found[name][1]

    def parsed(self, name: str, model: Any, default: dict[str, Any] | None = None) -> Any:
        """The property as ``model``; made of ``default`` where it is not said.

        Raises:
            ContractError: it does not fit ``model``, or is not said and there is no default.
        """
        if name in self._found:
            return self._file.parse(model, *self._found[name])
        if default is None:
            raise self._file.error(self._at, f"the property {name!r} is missing.")
        return model(**default)


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
