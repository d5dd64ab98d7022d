"""A strategy for tests, of the kind that the reference city has."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from credit301.domain.verdict import Scalar
from credit301.strategy.definition import Document
from credit301.strategy.strategy import Strategy
from tests.support.applicants import GOOD as GOOD_FEATURES

SALES = "tax_declaration:declared_sales_12m_sum"
STATUS = "business_registration:status_last"
LISTED = "judicial_penalty:dishonest_listing_count_24m"
VELOCITY = "platform_event:device_submissions_1h"
GOOD: dict[str, Scalar] = {**GOOD_FEATURES, VELOCITY: 1}
DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parent / "strategy.json").read_text(encoding="utf-8"))


def write(folder: Path, document: dict[str, Any] | None = None) -> Path:
    """Write the test strategy, or a changed copy of it, as a workspace has it; gives its folder."""
    made = copy.deepcopy(DOCUMENT if document is None else document)
    place = folder / made["name"]
    place.mkdir(parents=True, exist_ok=True)
    for stage, graph in made["graphs"].items():
        (place / made["definition"][stage]).write_text(json.dumps(graph), encoding="utf-8")
    # JSON is YAML.
    (place / "strategy.yaml").write_text(json.dumps(made["definition"], ensure_ascii=False), encoding="utf-8")
    return place


def strategy(document: dict[str, Any] | None = None) -> Strategy:
    """The test strategy, or one made from a changed copy of :data:`DOCUMENT`."""
    made = Document.model_validate(copy.deepcopy(DOCUMENT if document is None else document))
    return Strategy(made, GOOD.keys())
