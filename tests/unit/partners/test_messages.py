"""The published schemas are the types, and a package holds what its bank is entitled to and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID, uuid4

import jsonschema
import msgspec
import pytest

from credit301.applications.prefill import Prefilled
from credit301.applications.records import Kind, Message
from credit301.domain.decision import DimensionResult, Reason
from credit301.domain.text import Text
from credit301.partners import published
from credit301.partners.bank import Bank, Entitled
from credit301.partners.messages import (
    ApplicationPackage,
    Closed,
    Declined,
    Disbursed,
    FromBank,
    Offered,
    Receipt,
    Repayment,
    ToBank,
)
from credit301.partners.package import message_for
from tests.support.applications import DETAILS, decision

NUMBER = UUID("01a20e49-3bd4-7c59-8ed6-a03f49507af5")
HEAD: dict[str, Any] = {
    "version": "1.0",
    "message_id": "m-1",
    "created_at": datetime(2026, 11, 1, tzinfo=UTC),
    "application_id": NUMBER,
}
SAID = (
    Declined(**HEAD, reason_code="appetite", reason="不投放"),
    Offered(**HEAD, limit=Decimal("100000.00"), annual_rate=Decimal("0.0450"), term_months=12),
    Disbursed(
        **HEAD,
        loan_id="L1",
        amount=Decimal("100000.00"),
        annual_rate=Decimal("0.0450"),
        term_months=12,
        disbursed_on=date(2026, 11, 2),
    ),
    Repayment(
        **HEAD,
        loan_id="L1",
        instalment_no=1,
        due_on=date(2026, 12, 2),
        due_amount=Decimal("8500.00"),
        paid_amount=Decimal("0.00"),
        days_past_due=30,
        five_level_class="special_mention",
        as_of=date(2027, 1, 1),
    ),
    Closed(**HEAD, loan_id="L1", outcome="settled", closed_on=date(2027, 11, 2)),
)


def bank(**entitled: Any) -> Bank:
    return Bank(name="a_bank", title={"zh": "银行", "en": "Bank"}, modes=("standard",), entitled=Entitled(**entitled))  # type: ignore[arg-type]


def judged() -> Any:
    made = decision(NUMBER)
    reason = Reason("feature", "sales", "favourable", Text(zh="好", en="good"), contribution=-0.4)
    groups = [
        DimensionResult(name, Text(zh=name, en=name), has_data=True, probability=0.02, score=700, contribution=0.1)
        for name in ("tax", "risk")
    ]
    return msgspec.structs.replace(made, reasons=(reason,), dimensions=tuple(groups), consents=("c-1",))


def package(of: Bank, **changes: Any) -> ApplicationPackage:
    payload = {
        "application_id": NUMBER,
        "entity": "91420100MA4K00000X",
        "details": DETAILS,
        "consent_id": "c-1",
        "decision": judged(),
    }
    stored = msgspec.json.decode(msgspec.json.encode(payload))
    message = Message(
        id=uuid4(),
        application=NUMBER,
        tenant="a_bank",
        kind=Kind.APPLICATION_PACKAGE,
        payload=stored,
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    made = message_for(of, "wuhan", message, **changes)
    assert isinstance(made, ApplicationPackage)
    return made


def test_the_published_files_are_those_of_the_types() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in published.FOLDER.iterdir()}
    assert files == {f"{name}-1.0.json": published.text(name) for name in published.TYPES}
    for text in files.values():
        jsonschema.Draft202012Validator.check_schema(json.loads(text))


def valid(name: str, message: Any) -> None:
    schema = json.loads(published.published(name) or b"")
    jsonschema.Draft202012Validator(schema).validate(msgspec.json.decode(msgspec.json.encode(message)))


def test_messages_are_valid_by_their_schemas() -> None:
    valid("application-package-1.0", package(bank(probability=True, score=True, reasons=True, dimensions=("tax",))))
    for message in SAID:
        valid("bank-message-1.0", message)
    valid("receipt-1.0", Receipt(message_id="m-1", received_at=datetime.now(UTC), duplicate=False))
    assert published.published("../bank") is None


@pytest.mark.parametrize("message", SAID, ids=lambda item: type(item).__name__)
def test_what_the_schema_refuses_the_type_refuses_and_the_other_way(message: Any) -> None:
    schema = json.loads(published.published("bank-message-1.0") or b"")
    validator, sound = jsonschema.Draft202012Validator(schema), msgspec.to_builtins(message)
    for field in [*sound, "surplus"]:
        wrong: Any
        for wrong in (None, [], {}):
            if (field, wrong) == ("paid_on", None):
                continue
            broken = json.loads(msgspec.json.encode({**sound, field: wrong}))
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(broken, FromBank)
            assert not validator.is_valid(broken), field


def test_every_field_of_every_message_is_described_in_both_languages() -> None:
    for kind in (*get_args(ToBank), *get_args(FromBank)):
        schemas = msgspec.json.schema(kind)["$defs"]
        for field, schema in schemas[kind.__name__]["properties"].items():
            described = schema.get("description", "")
            assert field == "kind" or ("/" in described and any("\u4e00" <= c <= "\u9fff" for c in described)), field


class TestEntitlement:
    known = (
        Prefilled("address", Text(zh="地址", en="address"), "武汉", "", "enterprise_profile", None),
        Prefilled("status", Text(zh="状态", en="status"), "active", "", "business_registration", None),
    )
    checks = (
        {"kind": "phone", "reference": "phone-1", "outcome": "pass", "finished_at": None, "person": "hash-of-a-person"},
        {"kind": "face", "reference": "face-1", "outcome": "fail", "finished_at": None, "person": "hash-of-a-person"},
    )

    def test_nothing_named_means_nothing_given(self) -> None:
        made = package(bank(), known=self.known, checks=self.checks)
        assert (made.prefilled, made.assessment.reasons, made.assessment.dimensions) == ((), (), ())
        told = made.assessment
        assert (told.probability, told.score, told.band, told.limit, told.annual_rate) == (None,) * 5
        assert (made.consent.consent_id, made.consent.relied_upon) == ("c-1", ("c-1",))

    def test_each_entitlement_gives_its_own_and_no_more(self) -> None:
        made = package(bank(data=("enterprise_profile",), dimensions=("tax",), score=True), known=self.known)
        assert [value.name for value in made.prefilled] == ["address"]
        assert [(group.dimension, group.score, group.probability) for group in made.assessment.dimensions] == [
            ("tax", 700, None)
        ]
        assert (made.assessment.score, made.assessment.probability) == (700, None)
        assert package(bank(probability=True)).assessment.probability == 0.01
        assert package(bank(offer=True)).assessment.limit == Decimal("200000.00")
        assert package(bank(reasons=True)).assessment.reasons[0].code == "sales"

    def test_of_a_person_there_are_references_of_what_passed_and_nothing_else(self) -> None:
        made = package(bank(), checks=self.checks)
        assert [(item.kind, item.reference) for item in made.identity] == [("phone", "phone-1")]
        assert b"hash-of-a-person" not in msgspec.json.encode(made)
