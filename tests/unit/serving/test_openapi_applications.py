"""The published document has every route of applications, in both languages, with examples that are taken."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import msgspec
import pytest

from credit301.settings import Settings
from credit301.workspace import Workspace
from serving import openapi
from serving.applications import ApplicationApi
from serving.consents import request_types
from serving.endpoint import Endpoint
from serving.requests import application_type
from tests.conftest import REPOSITORY

USCC = "91110000600037341L"


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Endpoint, ...]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)
    nothing: Any = None
    api = ApplicationApi(workspace, nothing, nothing, nothing, nothing, nothing, USCC)
    return (*api.beginning, *api.deciding)


@pytest.fixture(scope="module")
def document(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    return openapi.document(
        "1.0", "武汉", application_type("uscc", USCC), request_types("uscc", USCC), applications=endpoints
    )


def test_every_route_is_published_behind_the_key_and_in_both_languages(
    document: dict[str, Any], endpoints: tuple[Endpoint, ...]
) -> None:
    names = set()
    for endpoint in endpoints:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        assert operation["security"]
        assert str(int(endpoint.status)) in operation["responses"]
        assert ("requestBody" in operation) == (endpoint.body is not None)
        names.add(operation["operationId"])
        for text in (operation["summary"], *(answer["description"] for answer in operation["responses"].values())):
            assert re.search(r"[\u4e00-\u9fff].*[a-z]{2}", text), text
    assert len(names) == len(endpoints)


def test_the_examples_are_valid_requests(document: dict[str, Any], endpoints: tuple[Endpoint, ...]) -> None:
    for endpoint in endpoints:
        if endpoint.body is None:
            continue
        content = document["paths"][endpoint.path][endpoint.method.lower()]["requestBody"]["content"]
        body = content["application/json"]
        example = body["examples"]["default"]["value"]
        schema = {**body["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(example)
        msgspec.convert(example, endpoint.body)


def test_every_field_is_described_in_both_languages(document: dict[str, Any], endpoints: tuple[Endpoint, ...]) -> None:
    for kind in {kind for endpoint in endpoints for kind in (endpoint.body, endpoint.answer) if kind is not None}:
        for field, schema in document["components"]["schemas"][kind.__name__]["properties"].items():
            assert re.search(r"[\u4e00-\u9fff].* / .*[a-z]", schema.get("description", "")), (kind.__name__, field)
