"""The client of Airflow asks again where no answer came, and starts a run once all the same."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from credit301.stack.airflow_api import ATTEMPTS, Airflow, AirflowError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from credit301.settings import Settings


RUN = {
    "dag_run_id": "",
    "run_type": "manual",
    "state": "queued",
    "run_after": "2026-01-01T00:00:00Z",
    "start_date": None,
}


class Server(ThreadingHTTPServer):
    """Does what it is asked, and hangs up ``silent`` times on each path before it answers.

    ``asked`` are the requests that came, ``runs`` the names of the runs that they started.
    """

    silent = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.runs: list[str] = []

    def answer(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        if "/dagRuns" not in path:
            return 200, {"access_token": "t", "dags": [{"dag_id": "ingest_sales"}]}
        name = asked.get("dag_run_id") or path.rpartition("/")[2]
        if "dag_run_id" in asked:
            if name in self.runs:
                return 409, {"detail": "there is such a run"}
            self.runs.append(name)
        return 200, {**RUN, "dag_id": "ingest_sales", "dag_run_id": name}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        status, body = self.server.answer(path, json.loads(sent or b"{}"))
        self.server.asked.append(path)
        if self.server.asked.count(path) <= self.server.silent:
            self.close_connection = True
            return
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815 - the library's names


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings.airflow_port = server.server_address[1]
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_question_without_an_answer_is_asked_again(server: Server, settings: Settings) -> None:
    server.silent = ATTEMPTS - 1
    with Airflow(settings) as airflow:
        assert airflow.dags() == {"ingest_sales"}
    assert len(server.asked) == 2 * ATTEMPTS


def test_one_that_never_answers_is_said(server: Server, settings: Settings) -> None:
    server.silent = ATTEMPTS
    with pytest.raises(AirflowError, match="does not answer"), Airflow(settings):
        pass
    assert len(server.asked) == ATTEMPTS


def test_a_run_whose_answer_was_lost_is_started_once(server: Server, settings: Settings) -> None:
    with Airflow(settings) as airflow:
        server.silent = 1
        run = airflow.trigger("ingest_sales")
    assert server.runs == [run.run]
    assert (run.dag, run.state) == ("ingest_sales", "queued")
