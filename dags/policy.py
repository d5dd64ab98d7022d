"""What holds for every DAG: owners, retries, time limits, and what happens when something fails for good."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import CronTriggerTimetable

# Schedules are the city's: at night, after the bureaus have closed their day.
TIMEZONE = "Asia/Shanghai"
RETRIES = 2
PLATFORM_OWNER = "credit_platform"
ALERTS_FILE = "alerts.jsonl"

logger = logging.getLogger("credit301.alerts")
Callback = Callable[[Mapping[str, Any]], None]


def schedule(cron: str) -> CronTriggerTimetable:
    """Runs at each tick of ``cron``, in the city's time; switching a DAG on does not run a tick that is past."""
    return CronTriggerTimetable(cron, timezone=TIMEZONE, run_immediately=timedelta(0))


def default_args(owner: str, minutes: int, callback: Callback) -> dict[str, Any]:
    """Arguments of every task of a DAG: retried twice, each wait twice as long, and never longer than ``minutes``."""
    return {
        "owner": owner,
        "retries": RETRIES,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(minutes=minutes),
        "on_failure_callback": callback,
    }


def dag_arguments(owner: str, minutes: int, state: Path) -> dict[str, Any]:
    """Arguments of every DAG: one run at a time, nothing made up for the past, an end to each run.

    Args:
        owner: who is asked when it fails.
        minutes: time limit of one try of a task; a run may take as long as all its tries.
        state: folder of the workspace that gets the alerts.
    """
    callback = alert_callback(state)
    return {
        "catchup": False,
        "max_active_runs": 1,
        "dagrun_timeout": timedelta(minutes=minutes * (RETRIES + 1) + 30),
        "default_args": default_args(owner, minutes, callback),
        "on_failure_callback": callback,
    }


def alert_callback(state: Path) -> Callback:
    """A callback that writes what failed to ``state/alerts.jsonl`` and to the log; nothing leaves the machine."""

    def alert(context: Mapping[str, Any]) -> None:
        record = failure_record(context)
        line = json.dumps(record, ensure_ascii=False)
        state.mkdir(parents=True, exist_ok=True)
        # One write in append mode: callbacks of several processes do not mix their lines.
        descriptor = os.open(state / ALERTS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)
        logger.error("alert: %s", line)

    return alert


def failure_record(context: Mapping[str, Any]) -> dict[str, Any]:
    """The alert: when, which DAG, run, task and try, whose it is, what was said; ``task`` is null for a whole run."""
    run, instance, dag = context.get("dag_run"), context.get("task_instance"), context.get("dag")
    error = context.get("exception") or context.get("reason") or ""
    owner = getattr(context.get("task"), "owner", None) or getattr(dag, "owner", "") or ""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "level": "error",
        "dag": getattr(run, "dag_id", None) or getattr(dag, "dag_id", None),
        "run": getattr(run, "run_id", None),
        "task": getattr(instance, "task_id", None),
        "try": getattr(instance, "try_number", None),
        "owner": owner,
        "error": str(error)[:2000],
    }
