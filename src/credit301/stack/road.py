"""Follows the DAG runs of one pass along the road, from the pulls to the promotion."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from credit301 import console
from credit301.stack.airflow_api import Airflow, AirflowError, Run, Task

STEPS = ("build_warehouse", "materialize_features", "train_models", "promote_ensemble")
POLL_SECONDS = 2.0
REPORT_SECONDS = 15.0
# Less than this between the end of a step and the run that it causes is the scheduler's usual delay.
NEXT_RUN_SECONDS = 240.0


class Road:
    """One pass: the triggered pulls, then the runs that the assets cause.

    Args:
        airflow: the API.
        since: when the pass began; earlier runs do not count.
        pulls: the runs that were triggered.
        timeout: seconds for the whole pass.
        alive: raises when a process that the road needs has died.
    """

    def __init__(
        self, airflow: Airflow, since: datetime, pulls: Sequence[Run], timeout: float, alive: Callable[[], None]
    ) -> None:
        self._airflow = airflow
        self._since = since
        self._pulls = {(run.dag, run.run) for run in pulls}
        self._deadline = time.monotonic() + timeout
        self._began = time.monotonic()
        self._alive = alive
        self._told: set[tuple[str, str]] = set()
        self._reported = time.monotonic()

    def follow(self) -> bool:
        """Wait for the end of the road; false where training had nothing new, so that nothing was promoted.

        Raises:
            AirflowError: a run failed (the message has the log of its failed task), or time ran out.
        """
        self._wait("ingest", lambda runs: [run for run in runs if (run.dag, run.run) in self._pulls], len(self._pulls))
        after = self._since
        for step in STEPS:
            runs = self._wait(step, partial(_caused, dag=step, after=after), 1)
            if self._was_skipped(runs[0]):
                console.say(f"  {step}: 数据没有变化，跳过 · skipped, the data have not changed")
                return False
            after = runs[0].started or after
        return True

    def _wait(self, what: str, select: Callable[[list[Run]], list[Run]], count: int) -> list[Run]:
        began = time.monotonic()
        while True:
            self._alive()
            runs = select(self._airflow.runs(self._since))
            self._tell(runs)
            if len(runs) >= count and all(run.finished for run in runs):
                console.say(f"  {what:<22} done after {time.monotonic() - began:5.1f} s")
                return runs
            if not runs and time.monotonic() - began > NEXT_RUN_SECONDS:
                raise AirflowError(
                    f"{what} did not start.", hint="Is it switched on in Airflow, and is its asset updated?"
                )
            if time.monotonic() > self._deadline:
                raise AirflowError(f"{what} is not done in time; its runs: {_describe(runs)}.")
            if time.monotonic() - self._reported > REPORT_SECONDS:
                self._reported = time.monotonic()
                console.say(f"  {time.monotonic() - self._began:5.0f} s  {_describe(runs) or what + ': waiting'}")
            time.sleep(POLL_SECONDS)

    def _tell(self, runs: Sequence[Run]) -> None:
        """Say each run's start and end once; show a failing task's log as soon as its first try has failed."""
        followed = {(run.dag, run.run) for run in runs}
        for run in runs:
            if (run.run, run.state) not in self._told:
                self._told.add((run.run, run.state))
                console.say(f"  {time.monotonic() - self._began:5.0f} s  {run.dag}: {run.state}")
            if run.state == "failed":
                raise self._failure(run)
        for task in self._airflow.tried_again(self._since):
            key = (task.run, f"{task.task} {task.attempt}")
            if (task.dag, task.run) in followed and key not in self._told:
                self._told.add(key)
                said = self._log(task)
                console.say(f"  {task.dag}.{task.task} failed and is tried again; it said:\n{said}")

    def _failure(self, run: Run) -> AirflowError:
        failed = [task for task in self._airflow.tasks(run) if task.state == "failed"]
        said = "\n".join(f"{task.task}: {self._log(task)}" for task in failed)
        return AirflowError(f"The DAG run {run.dag} failed.\n{said}", hint=f"In Airflow: DAG {run.dag}, run {run.run}.")

    def _log(self, task: Task) -> str:
        try:
            return self._airflow.log(task)
        except AirflowError as error:
            return f"(its log cannot be read: {error.message})"

    def _was_skipped(self, run: Run) -> bool:
        return any(task.state == "skipped" for task in self._airflow.tasks(run))


def _caused(runs: Sequence[Run], dag: str, after: datetime) -> list[Run]:
    """The first run of ``dag`` that assets caused at ``after`` or later."""
    return [run for run in runs if run.dag == dag and run.kind == "asset_triggered" and run.run_after >= after][:1]


def _describe(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.dag} {run.state}" for run in runs if not run.finished)
