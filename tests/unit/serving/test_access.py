"""Clients, keys, tokens and scopes: what each lets one do, and that everything else is nothing."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from starlette.routing import Mount, Route

from credit301.errors import ConfigError, ContractError
from credit301.settings import Settings
from credit301.workspace import Workspace
from serving.access import clients as file
from serving.access.authenticate import Authenticator
from serving.access.desk import Access
from serving.access.limits import Bucket, allowances
from serving.access.scopes import PUBLIC, ROLES, ROUTES, SCOPE_TITLES, Principal, Role, Scope, required
from serving.access.tokens import InvalidToken, TokenKeys, Tokens
from serving.app import Service
from serving.auth import ApiKeys, secret_of
from serving.errors import ApiError
from tests.conftest import REPOSITORY

OLD, NEW = "o" * 32, "n" * 32
ISSUER, AUDIENCE = "https://api.example", "urn:credit301:city"
BANK = Principal("bank_app", "bank", frozenset({Scope.DECISIONS_WRITE, Scope.CONSENTS_READ}))


def tokens(*secrets: str, issuer: str = ISSUER, audience: str = AUDIENCE, bank: Principal | None = BANK) -> Tokens:
    known = {} if bank is None else {bank.client: bank}
    return Tokens(TokenKeys(secrets or (NEW,)), issuer=issuer, audience=audience, principals=known)


class TestScopes:
    def test_every_scope_has_a_title_and_somebody_who_has_it(self) -> None:
        assert set(SCOPE_TITLES) == set(Scope)
        assert frozenset().union(*ROLES.values()) == set(Scope)
        assert set(ROLES) == set(Role)

    def test_banks_have_no_insight_into_the_platform_and_operators_none_into_applications(self) -> None:
        assert not ROLES[Role.BANK] & {Scope.METRICS_READ, Scope.EVIDENCE_READ, Scope.APPLICATIONS_REVIEW}
        assert {scope.partition(":")[0] for scope in ROLES[Role.OPERATOR]} == {"status", "metrics"}

    def test_a_route_that_is_not_in_the_table_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match="neither a scope"):
            required("POST", "/v1/forgotten")
        assert required("POST", "/v1/events/anything") is Scope.EVENTS_WRITE

    def test_every_route_of_the_service_is_in_the_table_and_nothing_else_is(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path, redis_url="redis://127.0.0.1:1/0")
        service = Service(Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings))
        seen = set()
        for route in service.app().routes:
            if isinstance(route, Mount):
                seen.add(("GET", route.path))
                continue
            assert isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD"}:
                required(method, route.path)
                seen.add((method, "/v1/events/{source}" if route.path.startswith("/v1/events/") else route.path))
        assert seen == set(ROUTES)

    def test_what_anybody_may_ask_is_a_short_list(self) -> None:
        assert {path for (_, path), scope in ROUTES.items() if scope is PUBLIC} == {
            "/", "/docs", "/docs/static", "/docs/openapi.json", "/openapi.json", "/healthz", "/readyz",
            "/v1/oauth/token", "/.well-known/jwks.json",
            # Messages of banks are signed; published schemas are for everybody.
            "/v1/partners/messages", "/v1/schemas/{name}",
        }  # fmt: skip


class TestTokens:
    def test_a_token_names_its_client_its_bank_and_what_it_may(self) -> None:
        desk = tokens()
        token = desk.issue("bank_app", [Scope.DECISIONS_WRITE])
        assert desk.principal(token) == Principal("bank_app", "bank", frozenset({Scope.DECISIONS_WRITE}))
        assert desk.principal(token) is desk.principal(token)
        header = jwt.get_unverified_header(token)
        assert (header["alg"], header["typ"]) == ("EdDSA", "at+jwt")
        claims = jwt.decode(token, options={"verify_signature": False})
        assert set(claims) == {"iss", "aud", "sub", "client_id", "iat", "exp", "jti", "scope"}
        assert claims["exp"] - claims["iat"] == 300

    def test_a_token_never_allows_more_than_its_client_still_may(self) -> None:
        token = tokens().issue("bank_app", [Scope.DECISIONS_WRITE, Scope.CONSENTS_READ])
        fewer = tokens(bank=Principal("bank_app", "bank", frozenset({Scope.CONSENTS_READ})))
        assert fewer.principal(token).scopes == {Scope.CONSENTS_READ}
        forged = tokens().issue("bank_app", [Scope.METRICS_READ])
        assert tokens().principal(forged).scopes == frozenset()

    @pytest.mark.parametrize(
        "other",
        [
            tokens(OLD),
            tokens(issuer="https://other.example"),
            tokens(audience="urn:credit301:village"),
            tokens(bank=None),
        ],
        ids=["another key", "another issuer", "another city", "a client that is gone"],
    )
    def test_a_token_of_another_is_none(self, other: Tokens) -> None:
        token = tokens().issue("bank_app", BANK.scopes)
        with pytest.raises(InvalidToken):
            other.principal(token)

    def test_it_runs_out_and_a_remembered_one_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        desk = tokens()
        remembered, fresh = desk.issue("bank_app", BANK.scopes), desk.issue("bank_app", BANK.scopes)
        desk.principal(remembered)
        later = time.time() + 306
        monkeypatch.setattr(time, "time", lambda: later)
        with pytest.raises(InvalidToken):
            desk.principal(remembered)
        monkeypatch.undo()

        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.fromtimestamp(later, tz)

        monkeypatch.setattr("jwt.api_jwt.datetime", Later)
        with pytest.raises(InvalidToken):
            desk.principal(fresh)

    def test_what_is_changed_unsigned_or_of_another_kind_is_none(self) -> None:
        desk = tokens()
        token = desk.issue("bank_app", [Scope.CONSENTS_READ])
        head, body, signature = token.split(".")
        claims = jwt.decode(token, options={"verify_signature": False})
        key_id = jwt.get_unverified_header(token)["kid"]
        public = desk.keys.jwks()[0]["x"]
        at = {"typ": "at+jwt", "kid": key_id}
        for wrong in (
            "", "x", "a.b.c", f"{head}.{body}.", f"{head}.{body[:-2]}AA.{signature}", token + "A", "\ud800", "x" * 10_000,
            jwt.encode(claims, "", algorithm="none", headers=at),
            jwt.encode(claims, public, algorithm="HS256", headers=at),
            jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=at),
        ):  # fmt: skip
            with pytest.raises(InvalidToken):
                desk.principal(wrong)

    def test_an_assertion_or_identity_token_signed_with_the_same_key_is_no_access_token(self) -> None:
        keys = TokenKeys([NEW])
        desk = tokens()
        claims = jwt.decode(desk.issue("bank_app", BANK.scopes), options={"verify_signature": False})
        other_kind = jwt.encode(
            claims, keys._signing, algorithm="EdDSA", headers={"kid": keys._signing_id, "typ": "JWT"}
        )
        with pytest.raises(InvalidToken):
            desk.principal(other_kind)

    def test_keys_are_exchanged_without_a_token_being_lost(self) -> None:
        before, during, after = tokens(OLD), tokens(NEW, OLD), tokens(NEW)
        early = before.issue("bank_app", BANK.scopes)
        assert during.principal(early) == BANK
        late = during.issue("bank_app", BANK.scopes)
        assert after.principal(late) == BANK
        with pytest.raises(InvalidToken):
            after.principal(early)
        assert [key["kid"] for key in during.keys.jwks()] == [
            after.keys.jwks()[0]["kid"],
            before.keys.jwks()[0]["kid"],
        ]

    def test_the_published_keys_check_a_token_and_hold_nothing_private(self) -> None:
        desk = tokens()
        (published,) = desk.keys.jwks()
        assert set(published) == {"kty", "crv", "x", "kid", "use", "alg"}
        claims = jwt.decode(
            desk.issue("bank_app", []), jwt.PyJWK.from_dict(published), algorithms=["EdDSA"], audience=AUDIENCE
        )
        assert claims["client_id"] == "bank_app"

    def test_what_is_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("serving.access.tokens.REMEMBERED", 3)
        desk = tokens()
        for _ in range(8):
            assert desk.principal(desk.issue("bank_app", BANK.scopes)) == BANK
            assert len(desk._checked) <= 3

    @pytest.mark.parametrize("secrets", [[], ["short"], [NEW, ""]])
    def test_weak_keys_are_refused(self, secrets: list[str]) -> None:
        with pytest.raises(ConfigError, match="32 characters"):
            TokenKeys(secrets)


class TestAuthentication:
    desk = tokens()
    authenticator = Authenticator(ApiKeys("bank_app:" + "k" * 24), desk, {"bank_app": BANK})

    def test_by_key_or_by_token_one_is_the_same_client(self) -> None:
        assert self.authenticator.principal({"X-API-Key": "k" * 24}) == BANK
        token = self.desk.issue("bank_app", BANK.scopes)
        assert self.authenticator.principal({"authorization": f"bearer {token}"}) == BANK

    @pytest.mark.parametrize(
        ("headers", "challenge"),
        [
            ({}, 'Bearer realm="credit301", ApiKey'),
            ({"X-API-Key": "wrong"}, 'Bearer realm="credit301", ApiKey'),
            ({"authorization": "Bearer x"}, 'Bearer realm="credit301", error="invalid_token"'),
            ({"authorization": "Bearer x", "X-API-Key": "k" * 24}, 'Bearer realm="credit301", error="invalid_token"'),
            ({"authorization": "Basic eDp5"}, 'Bearer realm="credit301", ApiKey'),
        ],
    )
    def test_anything_else_is_a_401_with_its_challenge(self, headers: dict[str, str], challenge: str) -> None:
        with pytest.raises(ApiError) as refused:
            self.authenticator.principal(headers)
        assert refused.value.problem.status == 401
        assert refused.value.problem.headers["WWW-Authenticate"] == challenge


class TestClients:
    @staticmethod
    def described(tmp_path: Path, text: str) -> dict[str, file.Client]:
        path = tmp_path / "clients.yaml"
        path.write_text(text, encoding="utf-8")
        return file.read(path)

    def test_the_reference_city_has_two_banks_of_its_own_secrets(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path)
        access = Access.of(Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings))
        secrets = [settings.secret(name) for name in ("api_key", "client_demo_standard")]
        assert [access.keys.name_of(secret) for secret in secrets] == ["demo", "demo_standard"]
        assert secret_of("demo_standard") == "client_demo_standard"
        demo, other = (access.authenticator.principal({"X-API-Key": secret}) for secret in secrets)
        assert demo.scopes == set(Scope)
        assert (other.tenant, other.scopes) == ("demo_standard", ROLES[Role.BANK])

    def test_a_workspace_without_the_file_has_banks_alone(self, tmp_path: Path) -> None:
        directory = REPOSITORY / "workspaces" / "invoices"
        settings = Settings(home=tmp_path)
        access = Access.of(Workspace.load(directory, settings))
        (principal,) = [access.authenticator.principal({"X-API-Key": settings.secret("api_key")})]
        assert (principal.client, principal.scopes) == ("demo", ROLES[Role.BANK])

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("clients:\n  a: {title: {zh: 甲, en: a}, roles: [king]}", ":2: clients.a.roles"),
            ("clients:\n  a:\n    title: {zh: 甲, en: a}\n    roles: []", ":4: clients.a.roles"),
            ("clients:\n  a:\n    title: {zh: 甲, en: a}\n    roles: [bank]\n    secret: x", ":5: .*unknown key"),
            (
                "clients:\n  a:\n    title: {zh: 甲, en: a}\n    roles: [bank]\n    tenant: b\n  b:\n    title: {zh: 乙, en: b}\n    roles: [bank]\n    tenant: c",
                ":5: .*acts for another bank",
            ),
            (
                "clients:\n  a:\n    title: {zh: 甲, en: a}\n    roles: [bank]\n    keys: [{kty: OKP, crv: Ed25519, x: AAAA, d: AAAA}]",
                "a private or symmetric key",
            ),
            (
                "clients:\n  a:\n    title: {zh: 甲, en: a}\n    roles: [bank]\n    rate_limit: {per_second: 0}",
                ":5: .*per_second",
            ),
        ],
    )
    def test_a_wrong_file_is_refused_with_its_line(self, tmp_path: Path, text: str, says: str) -> None:
        with pytest.raises(ContractError, match=says):
            self.described(tmp_path, text)

    def test_several_clients_may_act_for_one_bank(self, tmp_path: Path) -> None:
        found = self.described(
            tmp_path,
            "clients:\n  a: {title: {zh: 甲, en: a}, roles: [bank]}\n"
            "  a_batch: {title: {zh: 甲, en: a}, roles: [bank], tenant: a}",
        )
        assert [client.tenant for client in found.values()] == [None, "a"]

    def test_its_own_key_is_a_public_one(self, tmp_path: Path) -> None:
        public = OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate().public_key(), as_dict=True)
        text = f"clients:\n  a: {{title: {{zh: 甲, en: a}}, roles: [bank], keys: [{public}]}}"
        assert self.described(tmp_path, text)["a"].keys == (public,)

    def test_a_key_of_a_client_that_is_not_described_stops_the_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ApiKeys, "from_settings", lambda *_: ApiKeys("stranger:" + "k" * 24))
        with pytest.raises(ConfigError, match="stranger"):
            Access.of(Workspace.load(REPOSITORY / "workspaces" / "wuhan", Settings(home=tmp_path)))


class TestLimits:
    def test_a_burst_and_then_the_rate(self) -> None:
        now = 0.0
        bucket = Bucket(10, 3, lambda: now)
        assert [bucket.take() for _ in range(3)] == [0, 0, 0]
        assert bucket.take() == pytest.approx(0.1)
        now = 0.1
        assert bucket.take() == 0
        now = 100.0
        assert [bucket.take() for _ in range(3)] == [0, 0, 0]
        assert bucket.take() > 0

    def test_workers_share_a_clients_rate_and_say_what_is_left(self) -> None:
        client = file.Client.bank("a").model_copy(update={"rate_limit": file.RateLimit(per_second=100, burst=200)})
        allowance = allowances({"a": client}, workers=4)["a"]
        assert (allowance.bucket.rate, allowance.bucket.burst) == (25, 50)
        allowance.bucket.take()
        assert dict(allowance.headers()) == {
            b"ratelimit-policy": b'"client";q=50;w=2',
            b"ratelimit": b'"client";r=49;t=1',
        }
