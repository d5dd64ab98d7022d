"""Connections: where a source is and how to get in, kept outside the contracts.

A contract names a connection by its id. What it stands for comes, in this order, from the resolver that a caller handed
over (a DAG's task hands over Airflow's own), from ``CREDIT301_CONN_<ID>``, or from ``AIRFLOW_CONN_<ID>``; both
variables hold the URI or the JSON that Airflow reads, so that one definition serves the tasks and the command line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from credit301.errors import ConfigError
from credit301.settings import PREFIX

AIRFLOW_PREFIX = "AIRFLOW_CONN_"
OWN_PREFIX = f"{PREFIX}CONN_"
_EXTRA_KEY = "__extra__"


class Connection(BaseModel):
    """One connection, with the parts that Airflow's have; what is secret does not show in a log."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    kind: str = ""
    host: str = ""
    port: int | None = None
    login: str = ""
    password: SecretStr = SecretStr("")
    schema_name: str = Field(default="", description="a database's name, for one that has several")
    extra: Mapping[str, Any] = Field(default_factory=dict, repr=False)

    def option(self, name: str) -> str:
        """The entry ``name`` of ``extra`` as text; empty where there is none."""
        value = self.extra.get(name)
        return "" if value is None else str(value)


Resolver = Callable[[str], Connection | None]
_handed_over: ContextVar[Resolver | None] = ContextVar("credit301_connections", default=None)


@contextmanager
def resolving(resolver: Resolver) -> Iterator[None]:
    """Ask ``resolver`` first inside the block; what it does not know is looked for in the environment."""
    token = _handed_over.set(resolver)
    try:
        yield
    finally:
        _handed_over.reset(token)


def connection(identity: str, environment: Mapping[str, str] | None = None) -> Connection:
    """The connection called ``identity``.

    Raises:
        ConfigError: nobody provides it, or what is provided cannot be read; the message never quotes it.
    """
    resolver = _handed_over.get()
    if resolver is not None and (found := resolver(identity)) is not None:
        return found
    variables = _environment() if environment is None else environment
    for prefix in (OWN_PREFIX, AIRFLOW_PREFIX):
        name = variable(prefix, identity)
        if text := variables.get(name):
            return parse(identity, text, name)
    raise ConfigError(
        f"The connection {identity!r} is not known.",
        hint=f"Set {variable(OWN_PREFIX, identity)} or {variable(AIRFLOW_PREFIX, identity)} to a URI "
        "(kind://login:password@host:port/database) or JSON, or add it to Airflow (Admin > Connections, or "
        f"`airflow connections add {identity}`) for the tasks that Airflow runs.",
    )


def variable(prefix: str, identity: str) -> str:
    """The variable that holds the connection."""
    return f"{prefix}{identity.upper()}"


def parse(identity: str, text: str, where: str) -> Connection:
    """The connection that ``text``, a URI or JSON from ``where``, describes.

    Raises:
        ConfigError: it is neither.
    """
    try:
        return _from_json(identity, text) if text.lstrip().startswith("{") else _from_uri(identity, text.strip())
    except (ValueError, TypeError, ValidationError):
        # The cause is left out: it may quote the password.
        raise ConfigError(
            f"{where} is no connection.",
            hint="It takes kind://login:password@host:port/database, each part percent-encoded, or a JSON object with "
            "conn_type, host, port, login, password, schema, extra.",
        ) from None


def _from_json(identity: str, text: str) -> Connection:
    values = json.loads(text)
    unknown = set(values) - {"conn_type", "description", "host", "port", "login", "password", "schema", "extra"}
    if unknown:
        raise ValueError("unknown keys")
    extra = values.get("extra") or {}
    return Connection(
        id=identity,
        kind=_kind(values.get("conn_type") or ""),
        host=values.get("host") or "",
        port=int(values["port"]) if values.get("port") not in (None, "") else None,
        login=values.get("login") or "",
        password=values.get("password") or "",
        schema_name=values.get("schema") or "",
        extra=_mapping(json.loads(extra) if isinstance(extra, str) else extra),
    )


def _from_uri(identity: str, text: str) -> Connection:
    kind, separator, rest = text.partition("://")
    if not separator or not kind:
        raise ValueError("no kind")
    # As Airflow writes a host with a scheme of its own: kind://https://login:password@host.
    within = "://" in rest.partition("?")[0]
    parts = urlsplit(rest if within else f"//{rest}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = _host(parts)
    return Connection(
        id=identity,
        kind=_kind(kind),
        host=f"{parts.scheme}://{host}" if within else host,
        port=parts.port,
        login=unquote(parts.username or ""),
        password=SecretStr(unquote(parts.password or "")),
        schema_name=unquote(parts.path[1:]),
        extra=_mapping(json.loads(query[_EXTRA_KEY]) if _EXTRA_KEY in query else query),
    )


def _host(parts: SplitResult) -> str:
    """The host; a path that stands for one (a socket's folder) keeps its case."""
    host = unquote(parts.hostname or "")
    if "/" not in host:
        return host
    return unquote(parts.netloc.rpartition("@")[2].partition(":")[0])


def _kind(name: str) -> str:
    return "postgres" if name.lower() == "postgresql" else name.lower().replace("-", "_")


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("extra is no object")
    return value


def _environment() -> dict[str, str]:
    from dotenv import dotenv_values

    written = {key: value for key, value in dotenv_values(".env").items() if value}
    return {**written, **os.environ}
