"""Both ways a bank joins, from the draft to the last instalment: real endpoint, PostgreSQL, relay and banks."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from credit301.applications import verbs
from credit301.applications.outbox import Again, Delivered, Never, Outcome
from credit301.applications.records import Kind, Message
from credit301.partners import reported
from credit301.partners.bank import Bank, load_banks
from credit301.partners.delivery import HttpDelivery, client_for
from credit301.partners.keys import keys_of, platform_key, simulated_key
from credit301.partners.messages import Withdrawal
from credit301.partners.metrics import RelayMetrics
from credit301.settings import Settings
from credit301.signing.development import DevelopmentCa
from credit301.signing.keys import Algorithm, KeyRing, PrivateKey, PublicKey
from credit301.signing.nonces import MemoryNonces
from credit301.signing.signer import Signer
from credit301.signing.verifier import Verifier
from credit301.sources.connectors import Page
from credit301.telemetry import Tracing
from simulator.bank import Habits, SimulatedBank
from tests.support.banking import PLATFORM, STANDARD, City, accepted, carrying, city, submitted
from tests.support.endpoint import GOOD_ONE, refused
from tests.support.servers import running, until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with city(tmp_path_factory.mktemp("banks")) as made, carrying(made):
        yield made


@pytest.fixture
def habits(world: City) -> Iterator[Any]:
    """Changes how a bank behaves, for one test."""

    def change(bank: str, **changes: float) -> None:
        world.banks[bank].habits = msgspec.structs.replace(Habits.perfect(), **changes)

    yield change
    for bank in world.banks.values():
        bank.habits = Habits.perfect()


def paid(world: City, bank: str, application: str) -> list[dict[str, Any]]:
    """The lines of its history that say that money was paid."""
    return [line for line in world.seen(bank, application)["history"] if line["to_state"] == "disbursed"]


def test_the_platform_decides_and_the_bank_pays_once(world: City) -> None:
    walk = world.walk(PLATFORM)
    assert (walk.state, walk.touches, walk.problems()) == ("disbursed", 0, [])
    assert world.books(PLATFORM)["disbursements"][walk.application] == 1
    history = [line["to_state"] for line in world.seen(PLATFORM, walk.application)["history"]]
    assert history[-3:] == ["accepted", "disbursement_instructed", "disbursed"]
    (line,) = paid(world, PLATFORM, walk.application)
    assert (line["actor"], line["by"]) == ("bank", PLATFORM)


def test_the_bank_decides_on_a_package_that_has_what_it_is_entitled_to(world: City) -> None:
    walk = world.walk(STANDARD)
    assert (walk.state, walk.touches, walk.problems()) == ("disbursed", 0, [])
    books = world.books(STANDARD)
    assert books["disbursements"][walk.application] == 1
    assert walk.application in books["packages"]
    package = next(
        item for number, item in world.banks[STANDARD].books.packages.items() if str(number) == walk.application
    )
    assert package.recipient == STANDARD
    assert {item.kind for item in package.identity} == {"phone", "face"}
    assert package.assessment.probability is not None
    entitled = load_banks(world.workspace)[STANDARD].entitled
    assert {item.dimension for item in package.assessment.dimensions} <= set(entitled.dimensions)
    seen = world.seen(STANDARD, walk.application)
    offered = next(line for line in seen["history"] if line["event"] == "offer")
    assert (offered["actor"], offered["by"]) == ("bank", STANDARD)
    assert seen["application"]["offer"]["limit"] == offered["detail"]["limit"]


def test_neither_bank_ever_sees_the_others_applications(world: City) -> None:
    ours, theirs = world.walk(PLATFORM).application, world.walk(STANDARD).application
    for bank, other in ((PLATFORM, theirs), (STANDARD, ours)):
        assert other not in json.dumps(world.books(bank))
        answer = world.clients[bank].get(f"/v1/applications/{other}")
        refused(answer, 404, "unknown_application", "application_id")
        said = world.tell(bank, kind="accepted", message_id=f"spy-{uuid4()}", application_id=other)
        refused(said, 404, "unknown_application", "application_id")


def test_what_a_bank_says_twice_counts_once(world: City, habits: Any) -> None:
    habits(PLATFORM, duplicates=1.0)
    walk = world.walk(PLATFORM)
    until(lambda: len(_said_of(world, walk.application)) >= 2, "the second confirmation")
    assert len(paid(world, PLATFORM, walk.application)) == 1
    assert world.books(PLATFORM)["disbursements"][walk.application] == 1


def _said_of(world: City, application: str) -> list[str]:
    (line,) = paid(world, PLATFORM, application)
    number = line["detail"]["message_id"]
    return [status for told, status in world.books(PLATFORM)["told"] if told == number]


def test_receipts_that_are_lost_cost_no_second_disbursement(world: City, habits: Any) -> None:
    habits(PLATFORM, lost=0.4, drops=0.3, failures=0.1)
    walks = [world.walk(PLATFORM) for _ in range(3)]
    until(lambda: verbs.messages(world.workspace)["pending"] == 0, "every message to be delivered")
    books = world.books(PLATFORM)
    assert [books["disbursements"][walk.application] for walk in walks] == [1, 1, 1]
    assert max(books["arrivals"].values()) > 1
    assert [len(paid(world, PLATFORM, walk.application)) for walk in walks] == [1, 1, 1]


def test_a_bank_that_is_away_gets_its_messages_later_and_holds_up_no_other(world: City) -> None:
    world.outage(PLATFORM, 3600.0)
    waiting = [accepted(world) for _ in range(12)]
    assert world.walk(STANDARD).state == "disbursed"
    assert {world.state(PLATFORM, number) for number in waiting} == {"disbursement_instructed"}
    world.outage(PLATFORM, 0.0)
    until(lambda: {world.state(PLATFORM, number) for number in waiting} == {"disbursed"}, "the money", 120.0)
    assert {world.books(PLATFORM)["disbursements"][number] for number in waiting} == {1}


def test_a_bank_that_does_not_pay_ends_it_and_says_why(world: City, habits: Any) -> None:
    world.banks[PLATFORM].books.refusals = 1.0
    try:
        number = accepted(world)
        until(lambda: world.state(PLATFORM, number) == "declined", "the refusal")
    finally:
        world.banks[PLATFORM].books.refusals = 0.0
    assert world.seen(PLATFORM, number)["history"][-1]["detail"]["reason_code"] == "account_closed"
    assert number not in world.books(PLATFORM)["disbursements"]


def test_a_package_does_not_go_out_when_consent_was_withdrawn_before_it_was_delivered(world: City) -> None:
    world.outage(STANDARD, 3600.0)
    number = submitted(world, STANDARD, "standard")
    api = world.clients[STANDARD]
    given = api.post("/v1/consents/queries", json={"uscc": GOOD_ONE}).json()["consents"]
    for one in given:
        gone = api.post("/v1/consents/withdrawals", json={"uscc": GOOD_ONE, "consent_id": one["consent_id"]})
        assert gone.status_code == 200, gone.text
    world.outage(STANDARD, 0.0)
    until(lambda: verbs.messages(world.workspace)["pending"] == 0, "the message to be given up")
    assert verbs.messages(world.workspace)["dead"] == 1
    assert number not in world.books(STANDARD)["packages"]
    assert world.state(STANDARD, number) == "scored"


def test_instalments_flow_back_as_records_of_their_source_each_once(
    world: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reported, "SETTLED", timedelta(0))
    walk = world.walk(PLATFORM, term=3)
    for _ in range(4):
        world.month(PLATFORM)
    until(lambda: world.state(PLATFORM, walk.application) == "closed", "the end of the loan")
    loan = world.books(PLATFORM)["loans"][walk.application]

    class Itself:
        def read(self, cursor: str) -> Iterator[Page]:
            if not cursor:
                yield Page([{"loan_id": "OLD"}], "own-1", served_through="2026-01-01")

    source = reported.Reported(world.workspace, "bank_repayment", Itself())
    first, *pages = list(source.read(""))
    assert (first.records, first.cursor_after) == ([{"loan_id": "OLD"}], "own-1")
    rows = [row for page in pages for row in page.records if row["loan_id"] == loan]
    assert sorted(row["instalment_no"] for row in rows) == [1, 2, 3]
    assert {(row["uscc"], row["days_past_due"], row["five_level_class"]) for row in rows} == {(GOOD_ONE, 0, "normal")}
    assert all(row["available_at"] for row in rows)
    later = source.read(pages[-1].cursor_after)
    assert [row for page in later for row in page.records if row["loan_id"] == loan] == []
    loans = reported.Reported(world.workspace, "bank_loan", Itself())
    (record,) = [row for page in loans.read("own-1") for row in page.records if row["loan_id"] == loan]
    assert (record["bank_code"], record["amount"], record["term_months"]) == (PLATFORM, "200000.00", 3)


def test_without_the_database_a_pull_goes_on_with_the_source_itself(
    world: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(world.workspace.settings), "postgres_address", lambda *_: "postgresql://127.0.0.1:1/x")

    class Itself:
        def read(self, cursor: str) -> Iterator[Page]:
            assert cursor == "own-1"
            yield Page([{"loan_id": "A"}], "own-2")

    (page,) = reported.Reported(world.workspace, "bank_loan", Itself()).read("own-1 reported:7")
    assert page.cursor_after == "own-2 reported:7"


def test_a_mode_that_was_not_agreed_with_the_bank_is_refused_at_the_beginning(world: City) -> None:
    body = {"uscc": GOOD_ONE, "amount": "50000.00", "term_months": 12, "mode": "platform"}
    answer = world.clients[STANDARD].post("/v1/applications", json=body, headers={"Idempotency-Key": "not-agreed-1"})
    refused(answer, 422, "mode_not_agreed", "mode")


class TestDelivery:
    def deliver(
        self,
        world: City,
        address: str,
        bank: Bank | None = None,
        ring: KeyRing | None = None,
        settings: Settings | None = None,
        tracing: Tracing | None = None,
    ) -> tuple[Outcome, RelayMetrics]:
        bank, metrics = bank or load_banks(world.workspace)[PLATFORM], RelayMetrics()
        message = Message(
            id=uuid4(),
            application=uuid4(),
            tenant=PLATFORM,
            kind=Kind.WITHDRAWAL,
            payload={},
            created_at=datetime.now(UTC),
        )

        async def prepared(*_: Any) -> Withdrawal:
            return Withdrawal(
                version="1.0", created_at=message.created_at, message_id=message.id, sender="wuhan",
                recipient=PLATFORM, application_id=message.application,
            )  # fmt: skip

        async def run() -> Outcome:
            verifier = Verifier(ring or keys_of(world.workspace, [bank]), MemoryNonces())
            signer = Signer(platform_key(world.workspace, bank))
            async with client_for(bank, settings or world.workspace.settings) as client:
                deliver = HttpDelivery(bank, address, prepared, signer, verifier, client, metrics, tracing)
                return await deliver(message)

        return asyncio.run(run()), metrics

    @pytest.mark.parametrize(
        ("status", "headers", "expected"),
        [
            (429, {"Retry-After": "7"}, Again("demo answered 429", 7.0)),
            (503, {}, Again("demo answered 503", 0.0)),
            (400, {}, Never("demo answered 400: {}")),
            (302, {"Location": "/"}, Never("demo answered 302: {}")),
        ],
    )
    def test_each_answer_has_its_consequence(
        self, world: City, status: int, headers: dict[str, str], expected: Outcome
    ) -> None:
        async def answer(_: Request) -> Response:
            return Response("{}", status_code=status, headers=headers)

        with running(Starlette(routes=[Route("/v1/messages", answer, methods=["POST"])])) as address:
            assert self.deliver(world, address)[0] == expected

    def test_the_bank_is_told_the_trace_of_the_attempt(self, world: City) -> None:
        told: list[str] = []

        async def answer(request: Request) -> Response:
            told.append(request.headers["traceparent"])
            return Response(status_code=503)

        exporter = InMemorySpanExporter()
        tracing = Tracing("a relay", exporter)
        with running(Starlette(routes=[Route("/v1/messages", answer, methods=["POST"])])) as address:
            self.deliver(world, address, tracing=tracing)
        tracing.close()
        (span,) = exporter.get_finished_spans()
        assert [header[:52] for header in told] == [f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}"]
        assert span.attributes is not None
        assert (span.attributes["credit301.bank"], span.attributes["credit301.outcome"]) == (PLATFORM, "again")

    def test_nobody_at_the_address_is_tried_again(self, world: City) -> None:
        assert self.deliver(world, "http://127.0.0.1:9")[0] == Again("ConnectError")

    def test_a_receipt_that_the_bank_did_not_sign_is_no_delivery_and_counted(self, world: City) -> None:
        async def unsigned(request: Request) -> Response:
            number = json.loads(await request.body())["message_id"]
            return Response(
                json.dumps({"message_id": number, "received_at": "2026-11-01T00:00:00Z", "duplicate": False})
            )

        impostor = SimulatedBank(
            PLATFORM,
            PrivateKey.generate(Algorithm.ED25519, "x"),
            world.banks[PLATFORM].platform,
            "",
            "t",
            Habits.perfect(),
        )
        for app in (Starlette(routes=[Route("/v1/messages", unsigned, methods=["POST"])]), impostor.app()):
            with running(app) as address:
                outcome, metrics = self.deliver(world, address)
                assert isinstance(outcome, Again)
                assert "not believed" in outcome.reason
                sample = metrics.registry.get_sample_value("credit301_receipts_distrusted_total", {"bank": PLATFORM})
                assert sample == 1.0

    def test_over_mutual_tls_with_the_national_algorithms(self, world: City, tmp_path: Path) -> None:
        authority = DevelopmentCa(tmp_path / "ca")
        (certificate, key_file), (mine, my_key) = authority.server(), authority.client("platform")
        key = PrivateKey.generate(Algorithm.SM2, "sm-bank")
        ring = KeyRing([PublicKey.load(key.public_pem(), key.key_id, PLATFORM)])
        changes = {
            "mutual_tls": True, "algorithm": "sm2-sm3", "platform_algorithm": "sm2-sm3", "encryption": "sm4",
        }  # fmt: skip
        bank = load_banks(world.workspace)[PLATFORM].model_copy(update=changes)
        ours = platform_key(world.workspace, bank)
        assert ours.algorithm is Algorithm.SM2
        # The bank knows no other key of the platform than this one.
        registered = KeyRing([PublicKey.load(ours.public_pem(), ours.key_id, world.workspace.name)])
        simulated = SimulatedBank(PLATFORM, key, registered, "", "t", Habits.perfect())
        tls = {
            "ssl_certfile": certificate,
            "ssl_keyfile": key_file,
            "ssl_ca_certs": str(authority.certificate_file),
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }
        known = world.workspace.settings.model_copy(update={"partner_ca": authority.certificate_file})
        shown = known.model_copy(update={"partner_certificate": mine, "partner_certificate_key": my_key})
        with running(simulated.app(), **tls) as address:
            assert self.deliver(world, address, bank, ring, shown)[0] == Delivered()
            without = bank.model_copy(update={"mutual_tls": False})
            assert isinstance(self.deliver(world, address, without, ring, known)[0], Again)
        assert sum(simulated.books.arrivals.values()) == 1

    def test_a_receipt_that_another_bank_signed_is_not_believed(self, world: City) -> None:
        banks = load_banks(world.workspace)
        other = simulated_key(world.workspace, banks[STANDARD])
        impostor = SimulatedBank(PLATFORM, other, world.banks[PLATFORM].platform, "", "t", Habits.perfect())
        with running(impostor.app()) as address:
            outcome, _ = self.deliver(world, address, ring=keys_of(world.workspace, banks.values()))
        assert isinstance(outcome, Again)
        assert "another bank signed it" in outcome.reason

    def test_a_bank_that_knows_the_message_has_it(self, world: City) -> None:
        assert self.deliver(world, world.addresses[PLATFORM])[0] == Delivered()
        assert httpx.get(f"{world.addresses[PLATFORM]}/simulated/books", trust_env=False).status_code == 401
