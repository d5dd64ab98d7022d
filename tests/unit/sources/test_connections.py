from __future__ import annotations

import json
from pathlib import Path

import pytest

from credit301.errors import ConfigError
from credit301.sources.connectors.connections import Connection, connection, parse, resolving

URI = "postgres://us%40er:p%3Ass%2Fw@db.example.org:5433/the%20bank?sslmode=require"


def test_a_connection_is_read_from_airflows_variable_as_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK_DB", URI)
    found = connection("bank_db")
    assert (found.kind, found.host, found.port, found.login) == ("postgres", "db.example.org", 5433, "us@er")
    assert (found.password.get_secret_value(), found.schema_name) == ("p:ss/w", "the bank")
    assert found.option("sslmode") == "require"


def test_a_connection_is_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"conn_type": "sftp", "host": "h", "port": "22", "login": "l", "password": "p", "extra": {"host_key": "k"}}
    monkeypatch.setenv("AIRFLOW_CONN_TAX", json.dumps(values))
    found = connection("tax")
    assert (found.kind, found.host, found.port, found.option("host_key")) == ("sftp", "h", 22, "k")


def test_the_platforms_own_variable_and_then_airflows_own_store_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_X", "sftp://airflow")
    monkeypatch.setenv("CREDIT301_CONN_X", "sftp://own")
    assert connection("x").host == "own"
    with resolving(lambda identity: Connection(id=identity, host="store") if identity == "x" else None):
        assert connection("x").host == "store"
    assert connection("x").host == "own"


def test_a_variable_may_stand_in_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CREDIT301_CONN_X=sftp://written\n")
    assert connection("x").host == "written"


@pytest.mark.parametrize(
    "text", ["hidden-word", '{"password": "hidden-word"', '{"passwort": "hidden-word"}', "sftp://h:hidden-word/"]
)
def test_what_cannot_be_read_is_not_quoted(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_X", text)
    with pytest.raises(ConfigError, match="AIRFLOW_CONN_X is no connection") as caught:
        connection("x")
    assert "hidden-word" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_connection_does_not_show_its_secrets() -> None:
    found = parse("x", "sftp://l:hidden-word@h?private_key=hidden-word", "a test")
    assert "hidden-word" not in repr(found) + str(found)
