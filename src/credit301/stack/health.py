"""Health checks: each says, by raising, why a service is not well yet."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 5.0


class UnhealthyError(Exception):
    """The service does not answer as it should; the message says what it did instead."""


Check = Callable[[], None]


@cache
def _client() -> httpx.Client:
    """One for all checks: a client reads all authorities' certificates, for longer than a question takes."""
    import httpx

    return httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def http(url: str) -> Check:
    """A check that ``GET url`` answers with a status below 400."""

    def check() -> None:
        import httpx

        try:
            response = _client().get(url, follow_redirects=True)
        except httpx.HTTPError as error:
            raise UnhealthyError(f"{url}: {error}") from error
        if response.is_error:
            raise UnhealthyError(f"{url} answered {response.status_code}")

    return check


def airflow_component(address: str, component: str) -> Check:
    """A check that Airflow's own health page calls ``component`` (``scheduler``, ``dag_processor``) healthy."""

    def check() -> None:
        import httpx

        try:
            response = _client().get(f"{address}/api/v2/monitor/health")
            status = response.json()[component]["status"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise UnhealthyError(f"Airflow's health page does not tell of {component}: {error!r}") from error
        if status != "healthy":
            raise UnhealthyError(f"Airflow calls its {component} {status}")

    return check


def postgres(url: str) -> Check:
    """A check that PostgreSQL accepts the URL's user and answers a query."""

    def check() -> None:
        import psycopg

        try:
            with psycopg.connect(url, connect_timeout=int(TIMEOUT_SECONDS)) as connection:
                connection.execute("select 1")
        except psycopg.Error as error:
            raise UnhealthyError(str(error).strip()) from error

    return check


def redis(url: str) -> Check:
    """A check that the server accepts the URL's password and answers PING."""

    def check() -> None:
        import redis as client_library

        from credit301.features.online_address import OnlineAddress

        client = None
        try:
            client = OnlineAddress.parse(url).client(socket_timeout=TIMEOUT_SECONDS)
            client.ping()
        except client_library.RedisError as error:
            raise UnhealthyError(str(error)) from error
        finally:
            if client is not None:
                client.close()

    return check


def process_only() -> None:
    """For a service that listens nowhere: that its process runs (which supervisor tells) is all there is to know."""


def port_is_free(host: str, port: int) -> bool:
    """Whether nothing accepts connections on ``host:port``, and a server could."""
    with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
        # As servers do: a connection of the run before that still lingers is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
