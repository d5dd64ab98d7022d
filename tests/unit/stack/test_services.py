"""The table of processes: what it promises before anything starts."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from credit301.errors import ConfigError
from credit301.settings import Profile, Settings
from credit301.sources.connectors.connections import parse
from credit301.stack import redis_server
from credit301.stack.services import ADDRESSES, SECRETS, is_here, table
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY

TOKENS = ("government_token", "bank_token")


def with_settings(workspace: Workspace, **changes: Any) -> Workspace:
    return replace(workspace, settings=Settings(home=workspace.settings.home, **changes))


@pytest.fixture
def production(wuhan: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The city in the production profile, with servers of its own on other machines and every secret set."""
    for name in (*SECRETS, *TOKENS):
        monkeypatch.setenv(f"CREDIT301_{name.upper()}", f"secret-of-{name}")
    return with_settings(
        wuhan,
        profile=Profile.PRODUCTION,
        postgres_url="postgresql://owner:word@db.internal:5432",
        redis_url="redis://:word@cache.internal:6379/0",
        mlflow_url="http://tracking.internal:8302",
        exchange_url="https://exchange.internal",
    )


def test_each_service_has_a_port_of_its_own(wuhan: Workspace) -> None:
    ports = [service.port for service in table(wuhan) if service.port]
    assert len(ports) == len(set(ports)) >= 7


def test_the_port_of_a_service_is_the_one_of_the_setting_that_it_names(wuhan: Workspace) -> None:
    for service in table(wuhan):
        if service.port_setting:
            assert service.port == getattr(wuhan.settings, service.port_setting), service.name


def test_the_stores_start_before_what_stands_on_them(wuhan: Workspace) -> None:
    order = [service.name for service in table(wuhan)]
    assert order.index("postgres") < order.index("mlflow") < order.index("airflow-api")


def test_no_secret_is_on_a_command_line(wuhan: Workspace) -> None:
    services = table(wuhan, everywhere=True)
    kept = [path.read_text() for path in (wuhan.settings.home / "secrets").iterdir()]
    assert kept
    for service in services:
        assert not [secret for secret in kept if secret in " ".join(service.command)], service.name


def test_every_server_listens_on_loopback_only(wuhan: Workspace) -> None:
    for service in table(wuhan, everywhere=True):
        assert "0.0.0.0" not in " ".join([*service.command, *service.environment.values()]), service.name  # noqa: S104


def test_production_without_variables_names_all_that_are_missing(wuhan: Workspace) -> None:
    with pytest.raises(ConfigError) as caught:
        table(with_settings(wuhan, profile=Profile.PRODUCTION))
    for name in (*ADDRESSES, *SECRETS, *TOKENS):
        assert f"CREDIT301_{name.upper()}" in caught.value.message


def test_a_server_on_another_machine_is_not_started_here(production: Workspace) -> None:
    names = {service.name for service in table(production)}
    assert names.isdisjoint({"postgres", "redis", "mlflow", "exchange"})
    assert {"airflow-api", "serving"} <= names


def test_production_starts_the_servers_that_its_addresses_place_here(production: Workspace) -> None:
    settings = production.settings
    here = with_settings(
        production,
        profile=Profile.PRODUCTION,
        postgres_url=f"postgresql://owner:word@127.0.0.1:{settings.postgres_port}",
        redis_url=f"redis://:word@localhost:{settings.redis_port}/0",
        mlflow_url=settings.mlflow_url,
        exchange_url=settings.exchange_url,
    )
    names = {service.name for service in table(here)}
    assert {"postgres", "redis"} <= names
    assert "mlflow" not in names


def test_a_local_store_without_a_password_is_refused(production: Workspace) -> None:
    open_store = with_settings(production, redis_url=f"redis://127.0.0.1:{production.settings.redis_port}/0")
    with pytest.raises(ConfigError, match="has no password"):
        redis_server.configuration(open_store.settings)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("redis://:word@127.0.0.1:8306/0", True),
        ("redis://:word@localhost:8306/0", True),
        ("redis://:word@127.0.0.1:6379/0", False),
        ("redis://:word@cache.internal:8306/0", False),
    ],
)
def test_an_address_is_here_if_host_and_port_are_ours(settings: Settings, address: str, here: bool) -> None:
    assert is_here(address, settings, 8306) is here


def test_the_example_file_names_every_variable_that_production_needs() -> None:
    example = Path(REPOSITORY / ".env.example").read_text(encoding="utf-8")
    for name in (*ADDRESSES, *SECRETS, *TOKENS):
        assert f"\nCREDIT301_{name.upper()}=\n" in example


def test_the_example_file_names_every_setting() -> None:
    example = Path(REPOSITORY / ".env.example").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"CREDIT301_{name.upper()}=" in example, name


def test_the_example_file_shows_connections_that_are_read_as_they_stand() -> None:
    lines = (REPOSITORY / ".env.example").read_text(encoding="utf-8").splitlines()
    shown = "\n".join(line[1:] for line in lines if line.startswith(("#AIRFLOW_CONN_", "#CREDIT301_CONN_")))
    values = {name: value or "" for name, value in dotenv_values(stream=StringIO(shown)).items()}
    found = {name: parse(name, text, ".env.example") for name, text in values.items()}
    assert {(item.kind, item.host, item.login) for item in found.values()} == {
        ("postgres", "db.bank.example", "reader"),
        ("sftp", "sftp.tax.example", "credit301"),
        ("http", "https://exchange.city.example", "credit301"),
    }
    assert {item.password.get_secret_value() for item in found.values()} == {"PASSWORD"}
