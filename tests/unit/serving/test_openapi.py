"""The published document is the code's own structs, in both languages, and readable by both versions of OpenAPI."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import msgspec
import pytest

from serving import openapi
from serving.access.scopes import PUBLIC, required
from serving.consents import request_types
from serving.errors import ErrorBody
from serving.requests import application_type


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return _document("uscc", "91110000600037341L")


def _document(key: str, example: str) -> dict[str, Any]:
    return openapi.document("1.0", "武汉 Wuhan", application_type(key, example), request_types(key, example))


def _walk(node: Any) -> Any:
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walk(child)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = [node["$ref"] for node in _walk(document) if isinstance(node, dict) and "$ref" in node]
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_every_operation_is_described_in_both_languages(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            texts = [operation["summary"], *(answer["description"] for answer in operation["responses"].values())]
            for text in texts:
                assert re.search(r"[\u4e00-\u9fff]", text), text
                assert re.search(r"[a-z]{2}", text), text


def test_every_field_of_request_and_decision_is_described_in_both_languages(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("DecisionRequest", "Decision", "ConsentGrant", "ConsentWithdrawal", "ConsentQuery", "ConsentState"):
        for field, schema in schemas[name]["properties"].items():
            assert re.search(r"[\u4e00-\u9fff].* / .*[a-z]", schema.get("description", "")), field


def test_the_requests_examples_are_valid_requests(document: dict[str, Any]) -> None:
    types = dict(zip(("consents", "withdrawals", "queries"), request_types("uscc", "x"), strict=True))
    types["decisions"] = application_type("uscc", "x")
    for path, item in document["paths"].items():
        if "application/json" not in item.get("post", {}).get("requestBody", {}).get("content", {}):
            continue
        content = item["post"]["requestBody"]["content"]["application/json"]
        example = content["examples"]["default"]["value"]
        schema = {**content["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(example)
        msgspec.convert(example, types.pop(path.rpartition("/")[2]))
    assert types == {}


def test_the_examples_of_errors_are_errors(document: dict[str, Any]) -> None:
    answers = document["paths"]["/v1/decisions"]["post"]["responses"]
    examples = [answer["content"]["application/json"].get("example") for answer in answers.values()]
    assert len([msgspec.convert(example, ErrorBody) for example in examples if example]) == 3


def test_every_operation_asks_for_the_scope_of_its_route_or_says_that_it_asks_for_none(
    document: dict[str, Any],
) -> None:
    published = document["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]["scopes"]
    open_to_all = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            scope = required(method.upper(), path)
            if scope is PUBLIC:
                open_to_all.add(path)
                assert operation["security"] == []
                continue
            assert operation["security"] == [{"oauth2": [scope]}, {"apiKey": []}]
            assert scope in published
            assert {"401", "403", "429"} <= operation["responses"].keys()
    assert open_to_all == {"/healthz", "/readyz", "/v1/oauth/token", "/.well-known/jwks.json"}


def test_the_entitys_key_has_the_workspaces_name() -> None:
    schemas = _document("enterprise_code", "E1")["components"]["schemas"]
    assert set(schemas["DecisionRequest"]["properties"]) == {"enterprise_code", "amount", "term_months"}


def test_the_page_gets_a_document_without_what_3_0_does_not_know(document: dict[str, Any]) -> None:
    page = openapi.for_page(document)
    assert page["openapi"] == "3.0.3"
    for node in _walk(page):
        if isinstance(node, dict):
            assert node.get("type") != "null"
            assert "const" not in node
            assert not isinstance(node.get("type"), list)
            assert "prefixItems" not in node
    band = page["components"]["schemas"]["Decision"]["properties"]["band"]
    assert (band["type"], band["nullable"]) == ("string", True)
    assert document["openapi"] == "3.1.0"
