"""A PostgreSQL server of the test's own, which it may stop and start."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from credit301.settings import Settings
from credit301.stack import postgres
from tests.support.ports import free_ports
from tests.support.servers import until


class Server:
    """The embedded PostgreSQL under ``home``."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, postgres_port=free_ports()["postgres_port"])
        postgres.prepare(self.settings)
        self.url = self.settings.postgres_address("postgres")
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home / "postgres.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(postgres.command(self.settings), stdout=log, stderr=log)
        until(self._answers, "PostgreSQL", 120.0)

    def stop(self) -> None:
        """Stop it at once; clients lose their connections. What was committed stays."""
        if self._process is not None:
            # PostgreSQL's immediate shutdown: its processes end, the next start recovers.
            self._process.send_signal(3)
            self._process.wait(120)
            self._process = None

    def execute(self, *statements: str) -> None:
        """Run ``statements``, each committed by itself."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type] # texts of the tests

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """A running server, stopped at the end."""
    server = Server(home)
    server.start()
    try:
        yield server
    finally:
        server.stop()
