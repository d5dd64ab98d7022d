"""What people watch: each query of the dashboard and each alert is about metrics that there are."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from credit301.partners.metrics import RelayMetrics
from serving.metrics import Metrics
from tests.conftest import REPOSITORY

DASHBOARD: dict[str, Any] = json.loads((REPOSITORY / "ops" / "grafana" / "credit301.json").read_text(encoding="utf-8"))
ALERTS = sorted((REPOSITORY / "ops" / "prometheus").glob("*.rules.yml"))
_METRIC = re.compile(r"\bcredit301_\w+")
_LABELS = re.compile(r"(?:by|on) \(([^)]*)\)|\{(\w+)=")


def there() -> dict[str, set[str]]:
    """The labels of every series that the platform's servers tell of, by its name."""
    found: dict[str, set[str]] = {}
    for metrics in (Metrics(), RelayMetrics()):
        for collector in set(metrics.registry._collector_to_names):
            labels = set(collector._labelnames)  # type: ignore[attr-defined]
            for name in metrics.registry._collector_to_names[collector]:
                found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found


def queries() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    rules = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in ALERTS]
    return panels + [rule["expr"] for file in rules for group in file["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("query", queries())
def test_a_query_is_about_metrics_and_labels_that_there_are(query: str) -> None:
    series, known = _METRIC.findall(query), there()
    assert series
    assert set(series) <= known.keys()
    asked = {label.strip() for by, one in _LABELS.findall(query) for label in (by or one).split(",")}
    assert asked <= set().union(*(known[name] for name in series))


def test_every_panel_is_titled_in_both_languages_and_none_covers_another() -> None:
    panels = DASHBOARD["panels"]
    assert all(re.search(r"[\u4e00-\u9fff].* · .*[A-Za-z]", panel["title"]) for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
