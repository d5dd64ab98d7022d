"""Connections as Airflow has them: read alike from a URI or JSON."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import Connection as AirflowConnection

from credit301.sources.connectors.connections import parse

URIS = [
    "postgres://login:pass@Host.example.org:5432/Bank",
    "postgresql://login:p%40ss%3A%2F%3F@10.0.0.1/bank?sslmode=verify-full&x=",
    "google-cloud://",
    "http://https://login:pass@gov.example.org:8443/base?timeout=3",
    "sftp://l@h:2222/?__extra__=%7B%22host_key%22%3A%20%22k%22%2C%20%22n%22%3A%20%7B%22a%22%3A%201%7D%7D",
    "postgres://l:p@%2Fvar%2FRun%2Fpg/bank",
]


@pytest.mark.parametrize("uri", URIS)
def test_a_uri_means_what_it_means_to_airflow(uri: str) -> None:
    theirs, ours = AirflowConnection(conn_id="x", uri=uri), parse("x", uri, "a test")
    assert (ours.kind, ours.host, ours.port) == (theirs.conn_type, theirs.host or "", theirs.port)
    assert (ours.login, ours.password.get_secret_value()) == (theirs.login or "", theirs.password or "")
    assert (ours.schema_name, dict(ours.extra)) == (theirs.schema or "", json.loads(theirs.extra or "{}"))


@pytest.mark.parametrize("extra", [{"host_key": "k"}, '{"host_key": "k"}', None])
def test_json_means_what_it_means_to_airflow(extra: object) -> None:
    text = json.dumps(
        {"conn_type": "postgres", "host": "h", "port": "5432", "login": "l", "password": "p", "extra": extra}
    )
    theirs, ours = AirflowConnection.from_json(text, conn_id="x"), parse("x", text, "a test")
    assert (ours.kind, ours.host, ours.port, ours.login) == (theirs.conn_type, theirs.host, theirs.port, theirs.login)
    assert dict(ours.extra) == json.loads(theirs.extra or "{}")
