"""A small client of Airflow's REST API: what the demonstration needs of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from credit301.errors import Credit301Error
from credit301.settings import Settings
from credit301.stack import airflow_env

ATTEMPTS = 4


class AirflowError(Credit301Error):
    """Airflow refused a request, or a DAG run failed."""


@dataclass(frozen=True)
class Run:
    """One run of a DAG."""

    dag: str
    run: str
    kind: str
    state: str
    run_after: datetime
    started: datetime | None

    @property
    def finished(self) -> bool:
        """Whether it will not change any more."""
        return self.state in {"success", "failed"}


@dataclass(frozen=True)
class Task:
    """One task of the run ``run`` of the DAG ``dag``, in its latest try."""

    dag: str
    run: str
    task: str
    state: str
    attempt: int


class Airflow:
    """The API of the Airflow that the settings name, as its administrator.

    Raises:
        AirflowError: it cannot be reached, or refuses the password.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = httpx.Client(base_url=airflow_env.address(settings), timeout=30.0, trust_env=False)
        self._credentials = {"username": airflow_env.USER, "password": settings.secret("airflow_password")}

    def __enter__(self) -> Self:
        token = self._send("POST", "/auth/token", json=self._credentials)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def dags(self) -> set[str]:
        """Ids of the DAGs that Airflow has read."""
        return {item["dag_id"] for item in self._send("GET", "/api/v2/dags", params={"limit": 500})["dags"]}

    def import_errors(self) -> list[str]:
        """What Airflow could not read, with the reason."""
        answer = self._send("GET", "/api/v2/importErrors")
        return [f"{item['filename']}: {item['stack_trace']}" for item in answer["import_errors"]]

    def unpause(self, dags: Iterable[str]) -> None:
        """Switch each of ``dags`` on."""
        for dag in dags:
            self._send("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": False})

    def trigger(self, dag: str) -> Run:
        """Start a run of ``dag``, one only however often that had to be asked."""
        path, name = f"/api/v2/dags/{dag}/dagRuns", f"credit301__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"
        response = self._ask("POST", path, json={"logical_date": None, "dag_run_id": name})
        if response.status_code == httpx.codes.CONFLICT:
            # It was started before, and the answer was lost.
            return _run(self._send("GET", f"{path}/{name}"))
        return _run(self._read(response))

    def runs(self, since: datetime) -> list[Run]:
        """Runs of all DAGs that were due at ``since`` or later, the earliest first."""
        parameters: dict[str, str | int] = {"run_after_gte": since.isoformat(), "order_by": "run_after", "limit": 500}
        return [_run(item) for item in self._send("GET", "/api/v2/dags/~/dagRuns", params=parameters)["dag_runs"]]

    def tasks(self, run: Run) -> list[Task]:
        """The tasks of ``run``."""
        return _tasks(self._send("GET", f"/api/v2/dags/{run.dag}/dagRuns/{run.run}/taskInstances"))

    def tried_again(self, since: datetime) -> list[Task]:
        """Tasks of runs that were due at ``since`` or later whose try has failed and that wait for the next one."""
        parameters = {"run_after_gte": since.isoformat(), "state": "up_for_retry", "limit": "500"}
        return _tasks(self._send("GET", "/api/v2/dags/~/dagRuns/~/taskInstances", params=parameters))

    def log(self, task: Task, lines: int = 25) -> str:
        """What ``task`` logged in its latest try: from its first error on, else the end; at most ``lines`` lines."""
        path = f"/api/v2/dags/{task.dag}/dagRuns/{task.run}/taskInstances/{task.task}/logs/{max(task.attempt, 1)}"
        content = self._send("GET", path, params={"full_content": True})["content"]
        if isinstance(content, str):
            return "\n".join(content.splitlines()[-lines:])
        entries = [entry for entry in content if not str(entry.get("event")).startswith("::")]
        first = next((i for i, entry in enumerate(entries) if entry.get("level") in {"error", "critical"}), None)
        if first is None:
            return "\n".join([line for entry in entries for line in _log_lines(entry)][-lines:])
        return "\n".join([line for entry in entries[first:] for line in _log_lines(entry)][:lines])

    def _send(self, method: str, path: str, **arguments: Any) -> Any:
        return self._read(self._ask(method, path, **arguments))

    def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        # A busy machine may be late with an answer.
        asking = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(0.2),
            retry=retry_if_exception_type(httpx.TransportError),
            reraise=True,
        )
        try:
            return asking(self._client.request, method, path, **arguments)
        except httpx.HTTPError as error:
            raise AirflowError(
                f"Airflow does not answer {method} {path}: {error}", hint="`credit301 status` shows what runs."
            ) from error

    @staticmethod
    def _read(response: httpx.Response) -> Any:
        if response.is_error:
            asked = f"{response.request.method} {response.request.url.path}"
            raise AirflowError(f"Airflow answered {response.status_code} to {asked}: {response.text[:300]}")
        return response.json()


def _run(item: dict[str, Any]) -> Run:
    started = item["start_date"]
    return Run(
        dag=item["dag_id"],
        run=item["dag_run_id"],
        kind=item["run_type"],
        state=item["state"],
        run_after=datetime.fromisoformat(item["run_after"]),
        started=datetime.fromisoformat(started) if started else None,
    )


def _tasks(answer: dict[str, Any]) -> list[Task]:
    return [
        Task(item["dag_id"], item["dag_run_id"], item["task_id"], item["state"] or "waiting", item["try_number"])
        for item in answer["task_instances"]
    ]


def _log_lines(entry: dict[str, Any]) -> list[str]:
    """One structured log entry as text: its event, and the errors that it carries."""
    lines = str(entry.get("event") or "").splitlines()
    for error in entry.get("error_detail") or []:
        lines += [
            f"  {frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in error.get("frames", [])[-4:]
        ]
        lines += f"{error.get('exc_type')}: {error.get('exc_value')}".splitlines()
    return lines
