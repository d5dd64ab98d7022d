"""The features that a contract declares: those of its mart, and those that are counted in sliding windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from credit301.contracts.model import Feature, WindowCount, Windows
from credit301.contracts.properties import Properties
from credit301.yaml_file import Location, YamlFile

RECENT_COUNT = "recent_count"
"""The aggregation of a feature that counts recent events, in the sliding windows of the source."""


@dataclass(frozen=True)
class Declared:
    """``features`` of the mart, the sliding ``windows`` if there are any, and where each feature stands by its name."""

    features: tuple[Feature, ...]
    windows: Windows | None
    places: dict[str, Location]


def declared(file: YamlFile, custom: Properties) -> Declared:
    """The features in the properties ``features`` and ``windows``.

    The spans of the windows stand in ``windows``, what they count among the features. Contracts that were released
    before that have their counts in ``windows``, too.

    Raises:
        ContractError: one is not understood, or declared twice, or is counted in windows that there are not.
    """
    features: list[Feature] = []
    recent: list[dict[str, Any]] = []
    places: dict[str, Location] = {}
    at = custom.place("features") if "features" in custom else ()
    for i, item in enumerate(TypeAdapter(list).validate_python(custom.value("features", []))):
        found: Feature | WindowCount
        if isinstance(item, dict) and item.get("aggregation") == RECENT_COUNT:
            recent.append({key: value for key, value in item.items() if key != "aggregation"})
            found = file.parse(WindowCount, recent[-1], (*at, i))
        else:
            found = file.parse(Feature, item, (*at, i))
            features.append(found)
        if found.name in places:
            raise file.error((*at, i, "name"), f"{found.name!r} is declared twice.")
        places[found.name] = (*at, i)
    return Declared(tuple(features), _windows(file, custom, recent, places), places)


def _windows(
    file: YamlFile, custom: Properties, recent: list[dict[str, Any]], places: dict[str, Location]
) -> Windows | None:
    if "windows" not in custom:
        if recent:
            place = places[recent[0]["name"]]
            raise file.error(place, f"{RECENT_COUNT} needs the property windows: {{spans: [10m, 1h]}}.")
        return None
    value, at = custom["windows"]
    older = value.get("counts", []) if isinstance(value, dict) else []
    for i, item in enumerate(older if isinstance(older, list) else []):
        if isinstance(item, dict):
            places.setdefault(str(item.get("name")), (*at, "counts", i))
    if isinstance(value, dict) and (recent or "counts" in value):
        value = {**value, "counts": [*older, *recent]}
    windows: Windows = file.parse(Windows, value, at)
    return windows
