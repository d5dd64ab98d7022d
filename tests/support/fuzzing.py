"""The published document put to the test: what it allows and what it does not, to each operation of a real server."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

Send = Callable[[Any], requests.Response]
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def operations_of(document: dict[str, Any]) -> set[str]:
    """Every operation, as ``POST /v1/decisions``."""
    return {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}


def fuzz(document: dict[str, Any], send: Send, examples: int = 15) -> dict[str, Counter[int]]:
    """Ask each operation of ``document`` what its schema allows, and what it does not; the statuses by operation.

    And what the document gives as its example with one field changed: it comes further than what is all by chance.

    Args:
        document: in OpenAPI.
        send: asks what a case says, which it may change.
        examples: of each kind, by operation.

    Raises:
        AssertionError: an answer is a server's error, or is not as the document says.
    """
    seen: dict[str, Counter[int]] = {}
    for item in schemathesis.openapi.from_dict(document).get_all_operations():
        operation: Any = item.ok()  # type: ignore[union-attr]
        statuses = seen[f"{operation.method.upper()} {operation.path}"] = Counter()
        allowed = operation.as_strategy()
        _ask(allowed, send, examples, statuses)
        if _takes_anything(operation):
            _ask(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), send, examples, statuses)
        if example := _example_of(operation):
            _ask(allowed.map(_but_one_field(example)), send, examples, statuses)
    return seen


def _ask(cases: Any, send: Send, examples: int, statuses: Counter[int]) -> None:
    @given(case=cases)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        response = send(case)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=_CHECKS)

    ask()


def _takes_anything(operation: Any) -> bool:
    """Whether there is anything that could be wrong with a request."""
    definition = operation.definition.raw
    return bool(definition.get("parameters") or definition.get("requestBody"))


def _example_of(operation: Any) -> dict[str, Any]:
    content = operation.definition.raw.get("requestBody", {}).get("content", {})
    found: dict[str, Any] = content.get("application/json", {}).get("examples", {}).get("default", {}).get("value", {})
    return found


def _but_one_field(example: dict[str, Any]) -> Callable[[Any], Any]:
    turn = itertools.count()

    def changed(case: Any) -> Any:
        fields = sorted(case.body) if isinstance(case.body, dict) else []
        taken = fields[next(turn) % len(fields)] if fields else None
        case.body = example | ({taken: case.body[taken]} if taken else {})
        return case

    return changed
