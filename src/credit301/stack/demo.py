"""The verb ``demo``: a simulated city, from its bureaus' records to a decision at the endpoint."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from credit301 import console, verbs
from credit301.model import promotions, stewardship
from credit301.stack import portal
from credit301.stack.airflow_api import Airflow, AirflowError
from credit301.stack.lifecycle import ServiceError, up
from credit301.stack.road import STEPS, Road
from credit301.stack.services import table
from credit301.stack.supervisor import Supervisor, tail
from credit301.workspace import Workspace

ENTERPRISES = 3000
MONITORING = "monitor_models"
DAGS_SECONDS = 300.0
ENDPOINT_SECONDS = 300.0


def demo(
    workspace: Workspace,
    *,
    enterprises: Annotated[
        int, typer.Option(min=200, help="Size of the simulated city. 模拟城市的企业数。")
    ] = ENTERPRISES,
    minutes: Annotated[float, typer.Option(help="Time limit of the DAG runs. DAG 运行的时限（分钟）。")] = 20.0,
) -> dict[str, Any]:
    """Run the whole road once on a simulated city and leave it running. 在模拟城市上完整运行一次。

    Args:
        workspace: the city; what is not simulated is pulled from where its contracts say.
        enterprises: how many enterprises the city has; a second run with the same number finds its data unchanged.
        minutes: after this the runs that are not done are an error.

    Raises:
        AirflowError: a DAG run failed or did not end in time.
        ServiceError: a process is not healthy.
    """
    began = time.monotonic()
    if workspace.definition.simulated:
        console.say(f"1/5 生成模拟城市 · simulating a city of {enterprises} enterprises")
        verbs.call("simulate", workspace, enterprises=enterprises)
    console.say("2/5 启动服务 · starting the services")
    up(workspace)
    console.say("3/5 运行 DAG · running the DAGs")
    before = _champion(workspace)
    if _run_dags(workspace, minutes * 60):
        _approve_first(workspace)
    promoted = _champion(workspace) != before
    console.say("4/5 等待在线服务 · waiting for the endpoint")
    _wait_for_endpoint(workspace)
    console.say("5/5 决策 · a decision")
    # A simulated applicant consents when it applies; without its consent nothing of it would be read.
    decision = verbs.call("decide", workspace, grant_consent=True)
    seconds = time.monotonic() - began
    portal.show(workspace)
    console.say(f"用时 {seconds:.0f} 秒，服务保持运行，`make down` 停止。")
    console.say(f"Done in {seconds:.0f} s. The services stay up; `make down` stops them.")
    return {"promoted": promoted, "outcome": decision.get("outcome"), "seconds": round(seconds)}


def _run_dags(workspace: Workspace, timeout: float) -> bool:
    pulls = [f"ingest_{name}" for name in workspace.sources]
    with Airflow(workspace.settings) as airflow:
        _wait_for_dags(airflow, {*pulls, *STEPS, MONITORING})
        airflow.unpause([*STEPS, *pulls, MONITORING])
        since = datetime.now(UTC)
        runs = [airflow.trigger(dag) for dag in pulls]
        return Road(airflow, since, runs, timeout, lambda: _require_alive(workspace)).follow()


def _champion(workspace: Workspace) -> str:
    """The version that decides by right; empty where there is none."""
    holder = promotions.holder(promotions.read(workspace))
    return holder.version if holder else ""


def _approve_first(workspace: Workspace) -> None:
    """Where nobody decides yet and a person must approve who does, stand in for that person, and say so.

    A city that is not simulated is left without a champion until somebody signs for one.
    """
    rules = stewardship.load(workspace)
    if not rules.approval.required or _champion(workspace):
        return
    if not workspace.definition.simulated:
        console.say("候选模型等待批准 · the candidate waits for approval: credit301 promote --by ... --role ...")
        return
    role = next(iter(rules.approval.roles))
    console.say(f"演示代为批准首个模型（角色 {role}） · the demonstration approves the first model as {role}")
    reason = "演示：模拟城市的首个模型 first model of a simulated city"
    verbs.call("promote", workspace, by="demonstration", role=role, reason=reason)


def _wait_for_dags(airflow: Airflow, wanted: set[str]) -> None:
    deadline = time.monotonic() + DAGS_SECONDS
    while missing := wanted - airflow.dags():
        if errors := airflow.import_errors():
            raise AirflowError("Airflow cannot read the DAGs:\n" + "\n".join(errors))
        if time.monotonic() > deadline:
            raise AirflowError(f"Airflow has not read these DAGs: {', '.join(sorted(missing))}.")
        time.sleep(1)


def _require_alive(workspace: Workspace) -> None:
    supervisor = Supervisor(workspace.settings)
    states = supervisor.states()
    for service in table(workspace):
        state = states.get(service.name)
        if state is None or state.name in {"FATAL", "STOPPED", "EXITED"}:
            log = supervisor.log_file(service.name)
            raise ServiceError(
                f"{service.name} has stopped. The end of its log:\n{tail(log, 20)}", hint=f"The whole log: {log}"
            )


def _wait_for_endpoint(workspace: Workspace) -> None:
    """Wait until serving has a model: until then it answers its readiness question with 503."""
    import httpx

    url = f"http://{workspace.settings.host}:{workspace.settings.serving_port}/readyz"
    deadline = time.monotonic() + ENDPOINT_SECONDS
    answer = ""
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                response = client.get(url)
                if response.status_code == httpx.codes.OK:
                    return
                answer = f"{response.status_code} {response.text[:300]}"
            except httpx.HTTPError as error:
                answer = str(error)
            time.sleep(1)
    log = Supervisor(workspace.settings).log_file("serving")
    raise ServiceError(f"The endpoint is not ready: {answer}\n{tail(log, 20)}", hint=f"The whole log: {log}")
