"""What a consent covers, at which moment, and what becomes of what it does not cover."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301.contracts.loader import load_contract
from credit301.contracts.model import Contract, Purpose
from credit301.domain.text import Refusal
from credit301.errors import ContractError
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import Asking, ConsentMissing, ConsentRule, Denied
from credit301.governance.consent.ledger import FileLedger
from credit301.governance.consent.online import OnlineConsents, decode
from credit301.governance.consent.records import Consent, Record, Standing, Status, consents, microseconds, standing
from credit301.governance.definition import ConsentPolicy
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY, TinyWorkspace
from tests.support.consenting import LATER, consent, desk_of
from tests.support.scoring import valid_uscc

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ENTITY = valid_uscc()
NAMED = "0" * 32
TAX, REGISTER, BANK = "tax_declaration", "judicial_penalty", "bank_loan"


def stands(**changes: Any) -> Standing:
    fields: dict[str, Any] = {
        "consent_id": "c1",
        "grantee": "bank",
        "sources": (TAX, BANK),
        "purposes": ("credit_decision",),
        "valid_from": microseconds(NOW - timedelta(days=1)),
        "valid_until": microseconds(NOW + timedelta(days=1)),
    }
    return Standing(**{**fields, **changes})


@pytest.fixture(scope="module")
def sources() -> dict[str, Contract]:
    """The contracts of three sources of the reference city, one of them a public register."""
    folder = REPOSITORY / "workspaces" / "wuhan" / "sources"
    return {name: load_contract(folder / name) for name in (TAX, REGISTER, BANK)}


@pytest.fixture
def rule(sources: dict[str, Contract]) -> ConsentRule:
    return ConsentRule(sources, ConsentPolicy())


def cover(rule: ConsentRule, *standings: Standing, purpose: Purpose = Purpose.CREDIT_DECISION) -> Any:
    return rule.cover(standings, (TAX, REGISTER, BANK), Asking("bank", purpose), microseconds(NOW))


def test_a_covered_source_is_read_and_the_consent_is_named(rule: ConsentRule) -> None:
    coverage = cover(rule, stands())
    assert (coverage.sources, coverage.withheld, coverage.consents) == ((TAX, REGISTER, BANK), {}, ("c1",))


def test_a_public_register_is_read_without_consent(rule: ConsentRule) -> None:
    coverage = cover(rule)
    assert coverage.sources == (REGISTER,)
    assert coverage.withheld == {TAX: Denied.NO_CONSENT, BANK: Denied.NO_CONSENT}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"grantee": "another bank"}, Denied.NO_CONSENT),
        ({"sources": (BANK,)}, Denied.NO_CONSENT),
        ({"purposes": ("marketing",)}, Denied.OTHER_PURPOSE),
        ({"valid_from": microseconds(NOW) + 1}, Denied.NOT_YET),
        ({"valid_until": microseconds(NOW)}, Denied.EXPIRED),
    ],
)
def test_a_consent_that_falls_short_does_not_cover(rule: ConsentRule, changes: dict[str, Any], why: Denied) -> None:
    assert cover(rule, stands(**changes)).withheld[TAX] is why


def test_a_purpose_that_the_contract_does_not_have_is_refused_whatever_was_consented(rule: ConsentRule) -> None:
    coverage = cover(rule, stands(purposes=("marketing",)), purpose=Purpose.MARKETING)
    assert coverage.sources == ()
    assert set(coverage.withheld.values()) == {Denied.PURPOSE_NOT_ALLOWED}


def test_two_consents_may_cover_together(rule: ConsentRule) -> None:
    coverage = cover(rule, stands(sources=(TAX,)), stands(consent_id="c2", sources=(BANK,)))
    assert (coverage.withheld, coverage.consents) == ({}, ("c1", "c2"))


def test_a_source_without_a_contract_is_never_read_without_consent(rule: ConsentRule) -> None:
    assert rule.cover((), ("unheard_of",), Asking("bank"), 0).withheld == {"unheard_of": Denied.NO_CONSENT}


def test_by_default_one_source_without_consent_refuses_the_decision_and_says_which_and_why(rule: ConsentRule) -> None:
    with pytest.raises(ConsentMissing) as refused:
        rule.require(cover(rule, stands(sources=(BANK,))), ())
    assert refused.value.denied == {TAX: Denied.NO_CONSENT}
    assert "税" in refused.value.text.zh
    assert TAX in refused.value.text.en


class TestNoData:
    """``uncovered: no_data``: what is not covered is a source without data, which is never held against anybody."""

    @pytest.fixture
    def rule(self, sources: dict[str, Contract]) -> ConsentRule:
        return ConsentRule(sources, ConsentPolicy(uncovered="no_data"))

    def test_a_part_is_enough(self, rule: ConsentRule) -> None:
        rule.require(cover(rule, stands(sources=(BANK,))), ())

    def test_no_consent_at_all_is_not(self, rule: ConsentRule) -> None:
        with pytest.raises(ConsentMissing):
            rule.require(cover(rule), ())

    def test_a_source_that_a_rule_would_decline_without_is_needed(self, rule: ConsentRule) -> None:
        with pytest.raises(ConsentMissing) as refused:
            rule.require(cover(rule, stands(sources=(BANK,))), {TAX})
        assert refused.value.denied == {TAX: Denied.NO_CONSENT}


def test_a_workspace_may_need_no_consent_but_says_why(tiny: TinyWorkspace) -> None:
    tiny.definition += "governance:\n  consent: {mode: not_required}\n"
    with pytest.raises(ContractError, match="says why"):
        tiny.load()
    tiny.definition = tiny.definition.replace("not_required}", "not_required, reason: {zh: 公开, en: public}}")
    rule = ConsentRule.of(tiny.load())
    assert rule.cover((), ("sales",), Asking("bank"), 0).sources == ("sales",)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("governance", "govern", "unknown key"),
        ("mode: enforced", "mode: sometimes", "governance.consent.mode"),
        ("uncovered", "not_covered", "unknown key"),
    ],
)
def test_the_section_is_strict_and_errors_name_the_line(tiny: TinyWorkspace, old: str, new: str, match: str) -> None:
    tiny.definition += "governance:\n  consent: {mode: enforced, uncovered: refuse}\n".replace(old, new, 1)
    with pytest.raises(ContractError, match=rf"workspace.yaml:\d+: .*{match}|{match}"):
        tiny.load()


@pytest.mark.parametrize(
    ("added", "match"),
    [
        ("{property: purposes, value: [world_domination]}", "must be a list of credit_decision"),
        ("{property: consent, value: maybe}", "must be one of required, not_required"),
    ],
)
def test_a_contracts_use_is_checked(tiny: TinyWorkspace, added: str, match: str) -> None:
    tiny.replace("customProperties:\n", f"customProperties:\n  - {added}\n")
    with pytest.raises(ContractError, match=match):
        tiny.load()


class TestRecords:
    def record(self, kind: Any = "grant", **changes: Any) -> Record:
        fields: dict[str, Any] = {
            "kind": kind,
            "consent_id": "c1",
            "entity": NAMED,
            "grantee": "bank",
            "sources": (TAX,),
            "purposes": ("credit_decision",),
            "valid_from": NOW,
            "valid_until": NOW + timedelta(days=10),
            "recorded_at": NOW,
            "recorded_by": "x",
        }
        return Record(**{**fields, **changes})

    @given(days=st.integers(-20, 20), withdrawn=st.booleans())
    def test_what_stands_is_what_is_neither_withdrawn_nor_over(self, days: int, withdrawn: bool) -> None:
        records = [self.record(), *([self.record("withdrawal")] if withdrawn else [])]
        moment = NOW + timedelta(days=days)
        assert bool(standing(records, moment)) == (not withdrawn and days < 10)

    def test_every_status(self) -> None:
        (granted,) = consents([self.record()])
        assert granted.status_at(NOW - timedelta(seconds=1)) is Status.NOT_YET
        assert granted.status_at(NOW) is Status.VALID
        assert granted.status_at(NOW + timedelta(days=10)) is Status.EXPIRED
        (gone,) = consents([self.record(), self.record("withdrawal")])
        assert gone.status_at(NOW) is Status.WITHDRAWN

    def test_a_withdrawal_of_something_else_withdraws_nothing(self) -> None:
        assert standing([self.record(), self.record("withdrawal", consent_id="c2")], NOW)

    def test_files_keep_every_record_in_order(self, tmp_path: Path) -> None:
        ledger = FileLedger(tmp_path)
        for number in range(3):
            with ledger.opened(NAMED) as page:
                page.append(self.record(consent_id=f"c{number}"))
        assert [record.consent_id for record in ledger.records(NAMED)] == ["c0", "c1", "c2"]
        assert ledger.entities() == [NAMED]

    def test_a_line_that_a_killed_process_left_half_written_is_no_record_and_in_nobodys_way(
        self, tmp_path: Path
    ) -> None:
        ledger = FileLedger(tmp_path)
        with ledger.opened(NAMED) as page:
            page.append(self.record())
        path = next(tmp_path.rglob("*.jsonl"))
        with path.open("ab") as file:
            file.write(b'{"kind":"withdr')
        assert len(ledger.records(NAMED)) == 1
        with ledger.opened(NAMED) as page:
            page.append(self.record(consent_id="c2"))
        assert [record.consent_id for record in ledger.records(NAMED)] == ["c1", "c2"]

    def test_many_that_write_at_once_each_see_what_was_written_before(self, tmp_path: Path) -> None:
        def append() -> None:
            for _ in range(5):
                # The lock belongs to the open file, so that threads stand for processes here.
                with FileLedger(tmp_path).opened(NAMED) as page:
                    page.append(self.record(consent_id=str(len(page.records))))

        threads = [threading.Thread(target=append) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        written = FileLedger(tmp_path).records(NAMED)
        assert [record.consent_id for record in written] == [str(number) for number in range(20)]


class TestDesk:
    @pytest.fixture
    def city(self, tiny: TinyWorkspace) -> Workspace:
        return tiny.load()

    def grant(self, workspace: Workspace, **options: Any) -> Consent:
        return consent(workspace, ENTITY, **options)[0]

    def test_a_withdrawal_is_a_record_and_the_grant_stays(self, city: Workspace) -> None:
        given_ = self.grant(city)
        with AuditWriter.of(city) as audit:
            desk = desk_of(city, audit)
            assert len(desk.standing(ENTITY)) == 1
            for _ in range(2):
                assert desk.withdraw(ENTITY, given_.consent_id, by="x").withdrawn_at is not None
            assert desk.standing(ENTITY) == ()
            (shown,) = desk.show(ENTITY)
            assert (shown.consent_id, shown.granted_at) == (given_.consent_id, given_.granted_at)
        path = next(city.paths.consents.rglob("*.jsonl"))
        assert [msgspec.json.decode(line)["kind"] for line in path.read_bytes().splitlines()] == ["grant", "withdrawal"]

    def test_only_whom_it_was_given_to_withdraws_it(self, city: Workspace) -> None:
        given_ = self.grant(city)
        with AuditWriter.of(city) as audit, pytest.raises(Refusal, match="no consent of this number"):
            desk_of(city, audit).withdraw(ENTITY, given_.consent_id, by="x", grantee="another")

    def test_the_enterprises_key_is_nowhere_in_the_files(self, city: Workspace) -> None:
        self.grant(city, note=f"form of {ENTITY}, 13812345678")
        files = [path for path in city.paths.root.rglob("*") if path.is_file()]
        assert len(files) > 2
        for path in files:
            assert ENTITY.encode() not in path.read_bytes()
            assert b"13812345678" not in path.read_bytes()

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"sources": ("nothing",)}, "unknown_source"),
            ({"purposes": ("nothing",)}, "unknown_purpose"),
            ({"purposes": ()}, "unknown_purpose"),
            ({"valid_until": NOW - timedelta(days=10_000)}, "invalid_validity"),
            ({"valid_until": LATER + timedelta(days=10_000)}, "invalid_validity"),
            ({"valid_from": LATER + timedelta(days=1)}, "invalid_validity"),
        ],
    )
    def test_what_cannot_be_is_refused(self, city: Workspace, options: dict[str, Any], code: str) -> None:
        with pytest.raises(Refusal) as refused:
            self.grant(city, **options)
        assert refused.value.code == code


def test_an_entry_of_the_online_store_is_what_was_published() -> None:
    kept: dict[bytes, bytes] = {}

    class Client:
        def client(self) -> AbstractContextManager[Client]:
            return nullcontext(self)

        def set(self, key: bytes, value: bytes, exat: int) -> None:
            assert exat > microseconds(NOW) // 1_000_000
            kept[key] = value

        def delete(self, key: bytes) -> None:
            kept.pop(key, None)

        def execute_command(self, *_: object) -> tuple[int, int]:
            return 1, 0

    online = OnlineConsents(Client(), "w")  # type: ignore[arg-type]
    online.publish(NAMED, (stands(),))
    assert decode(next(iter(kept.values()))) == (stands(),)
    online.publish(NAMED, ())
    assert kept == {}
    assert decode(None) == ()
