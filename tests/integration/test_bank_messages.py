"""Messages of banks: which are taken, which are not, and what is answered: real endpoint, PostgreSQL and Redis."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import requests

from credit301.applications.changes import Received
from credit301.applications.store import ApplicationStore
from credit301.partners.bank import load_banks
from credit301.partners.keys import sealed_to
from credit301.signing.keys import Algorithm, PrivateKey, PublicKey
from credit301.signing.message import HttpAnswer, HttpMessage
from credit301.signing.nonces import MemoryNonces
from credit301.signing.sealing import CONTENT_TYPE, seal
from credit301.signing.signer import MESSAGE_IDS, Signer
from credit301.signing.verifier import Verifier
from credit301.workspace import Workspace
from serving.app import Service
from tests.support.banking import PLATFORM, STANDARD, City, accepted, carrying, city, said, submitted
from tests.support.endpoint import city_in, refused
from tests.support.fuzzing import fuzz
from tests.support.servers import running

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with city(tmp_path_factory.mktemp("messages")) as made, carrying(made):
        yield made


def test_the_schemas_are_served_and_receipts_are_signed(world: City) -> None:
    answer = world.clients[PLATFORM].get("/v1/schemas/application-package-1.0")
    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.json()["$id"] == "/v1/schemas/application-package-1.0"
    refused(world.clients[PLATFORM].get("/v1/schemas/none"), 404, "unknown_schema", "name")
    request = world.signed(PLATFORM, said("accepted", world.walk(PLATFORM).application))
    told = world.post(**request)
    asked = HttpMessage("POST", world.inbox, request["headers"], request["content"])
    verifier = Verifier(world.banks[PLATFORM].platform, MemoryNonces())
    by = verifier.verify_answer(HttpAnswer(told.status_code, dict(told.headers), told.content, asked))
    assert by.owner == world.workspace.name


class TestMessagesThatAreNotTaken:
    def test_one_that_nobody_signed(self, world: City) -> None:
        refused(world.post(json={"kind": "accepted"}), 401, "unsigned")

    def test_one_that_was_changed_on_its_way(self, world: City) -> None:
        number = accepted(world)
        request = world.signed(PLATFORM, said("disbursement_refused", number, reason_code="account_closed"))
        changed = {**request, "content": request["content"].replace(b"account", b"acc0unt")}
        refused(world.post(**changed), 401, "bad_digest")

    def test_one_that_was_listened_to_and_sent_again(self, world: City) -> None:
        number = world.walk(PLATFORM).application
        request = world.signed(PLATFORM, said("accepted", number))
        assert world.post(**request).json()["duplicate"] is False
        refused(world.post(**request), 401, "replayed")
        again = world.post(**world.signed(PLATFORM, json.loads(request["content"])))
        assert again.json()["duplicate"] is True

    def test_one_by_a_key_that_is_nobodys(self, world: City) -> None:
        body = msgspec.json.encode(said("accepted", str(uuid4())))
        asked = HttpMessage("POST", world.inbox, {"content-type": "application/json"}, body)
        signature = Signer(PrivateKey.generate(Algorithm.ED25519, "nobody")).sign(asked, "m-1")
        refused(world.post(content=body, headers=asked.headers | signature), 401, "unknown_key")

    def test_one_under_another_number_than_was_signed(self, world: City) -> None:
        request = world.signed(PLATFORM, said("accepted", str(uuid4())), "another")
        refused(world.post(**request), 422, "message_id_differs", "message_id")

    @pytest.mark.parametrize(
        ("changes", "status", "code", "field"),
        [
            ({"kind": "applause"}, 422, "unknown_kind", "kind"),
            ({"kind": "disbursed"}, 422, "missing_field", "loan_id"),
            ({"surplus": 1}, 422, "unknown_field", None),
            ({"version": "2.0"}, 422, "invalid_field", "version"),
            ({"application_id": "1"}, 422, "invalid_field", "application_id"),
        ],
    )
    def test_one_that_is_not_as_the_schema_says(
        self, world: City, changes: dict[str, Any], status: int, code: str, field: str | None
    ) -> None:
        body = {**said("accepted", str(uuid4())), **changes}
        refused(world.post(**world.signed(PLATFORM, body)), status, code, field)

    def test_one_that_comes_at_the_wrong_time_or_says_another_amount(self, world: City) -> None:
        walk = world.walk(PLATFORM)
        told = {"kind": "offered", "limit": "1.00", "annual_rate": "0.04", "term_months": 3}
        answer = world.tell(PLATFORM, message_id=f"late-{uuid4()}", application_id=walk.application, **told)
        refused(answer, 409, "impossible_in_this_state")
        world.outage(PLATFORM, 3600.0)
        number = accepted(world)
        more = {"kind": "disbursed", "loan_id": "L", "amount": "50001.00", "annual_rate": "0.04", "term_months": 12}
        answer = world.tell(PLATFORM, message_id="more-1", application_id=number, disbursed_on="2026-11-01", **more)
        refused(answer, 422, "contradicts_agreement", "amount")
        world.outage(PLATFORM, 0.0)


def test_a_message_is_looked_up_once_whether_it_is_new_or_comes_again(
    world: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = world.walk(PLATFORM).application
    asked: list[str] = []
    looked_up = ApplicationStore.received

    async def counted(store: ApplicationStore, message: Received) -> bool:
        asked.append(message.id)
        return await looked_up(store, message)

    monkeypatch.setattr(ApplicationStore, "received", counted)
    body = said("accepted", number)
    for duplicate in (False, True):
        assert world.post(**world.signed(PLATFORM, body)).json()["duplicate"] is duplicate
    assert asked == [body["message_id"]] * 2


def test_the_same_message_many_times_at_once_is_applied_once_and_refused_to_nobody(world: City) -> None:
    world.outage(PLATFORM, 3600.0)
    number = accepted(world)
    told = world.seen(PLATFORM, number)["application"]
    body = said(
        "disbursed", number, loan_id="L-1", amount=told["offer"]["limit"], annual_rate=told["offer"]["annual_rate"],
        term_months=12, disbursed_on="2026-11-01",
    )  # fmt: skip
    with ThreadPoolExecutor(8) as pool:
        requests = [world.signed(PLATFORM, body) for _ in range(8)]
        answers = list(pool.map(lambda request: world.post(**request), requests))
    world.outage(PLATFORM, 0.0)
    assert [answer.status_code for answer in answers] == [200] * 8
    history = [line["to_state"] for line in world.seen(PLATFORM, number)["history"]]
    assert history.count("disbursed") == 1


class TestSealedMessages:
    """One bank has agreed to seal what it sends, the other has not."""

    def key(self, world: City) -> PublicKey:
        found = sealed_to(world.workspace, load_banks(world.workspace)[STANDARD])
        assert found is not None
        return found

    def sealed(self, world: City, body: dict[str, Any], to: PublicKey, bank: str = STANDARD) -> dict[str, Any]:
        return world.as_it_is(bank, seal(msgspec.json.encode(body), to), body["message_id"], CONTENT_TYPE)

    def test_the_bank_that_has_agreed_to_seals_all_that_it_says(self, world: City) -> None:
        walk = world.walk(STANDARD)
        assert walk.state == "disbursed"
        assert {status for _, status in world.books(STANDARD)["told"]} == {200}

    def test_one_that_is_sealed_to_the_platforms_key_is_taken(self, world: City) -> None:
        body = said("accepted", world.walk(STANDARD).application)
        answer = world.post(**self.sealed(world, body, self.key(world)))
        assert (answer.status_code, answer.json()["message_id"]) == (200, body["message_id"])

    def test_one_that_is_not_sealed_is_refused_where_that_was_agreed(self, world: City) -> None:
        body = said("accepted", world.walk(STANDARD).application)
        content = msgspec.json.encode(body)
        refused(world.post(**world.as_it_is(STANDARD, content, body["message_id"])), 422, "unsealed", "content-type")
        assert world.post(**world.signed(STANDARD, body)).json()["duplicate"] is False

    def test_one_that_is_sealed_is_refused_where_no_key_was_agreed(self, world: City) -> None:
        body = said("accepted", world.walk(PLATFORM).application)
        answer = world.post(**self.sealed(world, body, self.key(world), PLATFORM))
        refused(answer, 422, "sealing_not_agreed", "content-type")

    def test_one_that_is_sealed_to_another_key_or_was_damaged_before_it_was_signed_is_refused(
        self, world: City
    ) -> None:
        body = said("accepted", world.walk(STANDARD).application)
        foreign = PrivateKey.generate(Algorithm.X25519, self.key(world).key_id).public("wuhan")
        refused(world.post(**self.sealed(world, body, foreign)), 422, "unsealable")
        national = PrivateKey.generate(Algorithm.SM2, self.key(world).key_id).public("wuhan")
        refused(world.post(**self.sealed(world, body, national)), 422, "unsealable")
        whole = seal(msgspec.json.encode(body), self.key(world))
        damaged = whole[:-1] + (b"A" if whole[-1:] != b"A" else b"B")
        for content in (damaged, whole[:40], b"", b"....", msgspec.json.encode(body)):
            answer = world.post(**world.as_it_is(STANDARD, content, body["message_id"], CONTENT_TYPE))
            refused(answer, 422, "unsealable")
        assert world.post(**world.signed(STANDARD, body)).json()["duplicate"] is False

    def test_one_that_was_changed_on_its_way_is_not_even_opened(self, world: City) -> None:
        body = said("accepted", world.walk(STANDARD).application)
        request = self.sealed(world, body, self.key(world))
        other = seal(msgspec.json.encode({**body, "kind": "declined"}), self.key(world))
        refused(world.post(**{**request, "content": other}), 401, "bad_digest")
        plain = {**request["headers"], "content-type": "application/json"}
        refused(world.post(content=request["content"], headers=plain), 401, "bad_signature")

    def test_its_number_is_the_one_that_was_signed(self, world: City) -> None:
        body = said("accepted", str(uuid4()))
        content = seal(msgspec.json.encode(body), self.key(world))
        refused(
            world.post(**world.as_it_is(STANDARD, content, "another", CONTENT_TYPE)),
            422,
            "message_id_differs",
            "message_id",
        )

    def test_nothing_of_what_it_says_is_logged_or_repeated(self, world: City, caplog: pytest.LogCaptureFixture) -> None:
        secret = "the-applicant-owes-a-friend"
        number = submitted(world, STANDARD, "standard")
        with caplog.at_level(logging.DEBUG):
            wrong = said("declined", number, reason_code=secret, reason=secret, surplus=secret)
            answers = [world.post(**self.sealed(world, wrong, self.key(world)))]
            unknown = said("declined", str(uuid4()), reason_code="x", reason=secret)
            answers.append(world.post(**self.sealed(world, unknown, self.key(world))))
            bare = world.as_it_is(STANDARD, msgspec.json.encode(unknown), unknown["message_id"])
            answers.append(world.post(**bare))
        assert [answer.status_code for answer in answers] == [422, 404, 422]
        assert secret not in caplog.text + "".join(answer.text for answer in answers)

    def test_a_bank_whose_key_is_not_set_up_holds_up_no_other(
        self, world: City, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service = Service(world.workspace, bundle=world.workspace.paths.bundles / "v1")
        with running(service.app()) as address:
            another = replace(world, address=address)
            applications = {bank: world.walk(bank).application for bank in (PLATFORM, STANDARD)}
            requests = {bank: another.signed(bank, said("accepted", number)) for bank, number in applications.items()}
            monkeypatch.setenv("CREDIT301_BANK_DEMO_STANDARD_SEALING_KEY_FILE", "/nowhere/none.pem")
            refused(another.post(**requests[STANDARD]), 503, "partners_unavailable")
            assert another.post(**requests[PLATFORM]).status_code == 200


@pytest.mark.parametrize(("encryption", "algorithm"), [("jwe", Algorithm.P256), ("sm4", Algorithm.SM2)])
def test_it_is_opened_by_the_kind_of_key_that_was_agreed(
    world: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encryption: str, algorithm: Algorithm
) -> None:
    """And by either of two, while one is changed for the other."""
    application = world.walk(STANDARD).application
    keys = [PrivateKey.generate(algorithm, name) for name in ("new", "old")]
    for key in keys:
        (tmp_path / f"{key.key_id}.pem").write_text(key.pem())
    monkeypatch.setenv(
        "CREDIT301_BANK_DEMO_STANDARD_SEALING_KEY_FILE", ",".join(str(tmp_path / f"{key.key_id}.pem") for key in keys)
    )
    folder = city_in(tmp_path / "city")
    reference = (folder / "banks").resolve()
    (folder / "banks").unlink()
    shutil.copytree(reference, folder / "banks")
    described = folder / "banks" / STANDARD / "bank.yaml"
    text = described.read_text(encoding="utf-8").replace("encryption: jwe", f"encryption: {encryption}")
    described.write_text(text.replace(Algorithm.P256, algorithm), encoding="utf-8")
    workspace = Workspace.load(folder, world.workspace.settings)
    service = Service(workspace, bundle=world.workspace.paths.bundles / "v1")
    with running(service.app()) as address:
        another = replace(world, address=address, workspace=workspace)
        for key in keys:
            body = said("accepted", application)
            content = seal(msgspec.json.encode(body), key.public("wuhan"))
            answer = another.post(**another.as_it_is(STANDARD, content, body["message_id"], CONTENT_TYPE))
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("bank", [PLATFORM, STANDARD])
def test_the_schema_fuzzer_finds_no_server_error_behind_a_banks_signature(world: City, bank: str) -> None:
    """What is refused without a signature is asked of the endpoint in test_serving."""
    document = world.clients[bank].get("/openapi.json").json()
    document["paths"] = {"/v1/partners/messages": document["paths"]["/v1/partners/messages"]}
    operation = document["paths"]["/v1/partners/messages"]["post"]
    # Headers and sealing are the signer's.
    operation["parameters"] = []
    operation["requestBody"]["content"].pop(CONTENT_TYPE)
    numbers = itertools.cycle([world.walk(bank).application, accepted(world) if bank == PLATFORM else str(uuid4())])
    described = load_banks(world.workspace)[bank]
    to = sealed_to(world.workspace, described)

    def send(case: Any) -> requests.Response:
        if isinstance(case.body, dict) and "application_id" in case.body:
            case.body["application_id"] = next(numbers)
        request = requests.Request(**case.as_transport_kwargs(base_url=world.address)).prepare()
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        said = case.body.get("message_id") if isinstance(case.body, dict) else None
        number = said if isinstance(said, str) and MESSAGE_IDS.fullmatch(said) else "m-1"
        content, kind = (body, "application/json") if to is None else (seal(body, to), CONTENT_TYPE)
        signed = world.as_it_is(bank, content, number, kind)
        return requests.post(world.inbox, data=signed["content"], headers=signed["headers"], timeout=60)

    seen = fuzz(document, send, examples=25)
    assert {200, 422} <= set(seen["POST /v1/partners/messages"])
