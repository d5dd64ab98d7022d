"""Airflow imports this when a process starts whose ``PYTHONPATH`` names this folder: the scheduler's does.

Tasks are forked from it. What nearly every task needs, and what takes seconds of a core to import, is loaded here once
instead of once a task; so are the contracts, which a process reads once as long as their text stays the same.
"""

from __future__ import annotations

import contextlib
from importlib import import_module

from credit301 import verbs
from credit301.errors import Credit301Error
from credit301.settings import get_settings
from credit301.workspace import Workspace
from training.registry import load_mlflow

__all__: list[str] = []

# What an ingest imports while it runs, then what tasks of features and of training do.
MODULES = (
    "airflow.sdk.execution_time.task_runner",
    "credit301.governance.erasure.suppression",
    "credit301.governance.lineage.events",
    "credit301.sources.connectors.http_exchange",
    "credit301.sources.inbox",
    "credit301.sources.landing",
    "expectations.validation",
    "httpx",
    "feature_repo.definitions",
    "feature_repo.engine",
    "feature_repo.online_store",
    "feature_repo.parity",
    "feature_repo.training_set",
    "training.card",
    "training.monitoring",
    "training.promotion",
    "training.train",
)

for _name in MODULES:
    import_module(_name)
load_mlflow()
verbs.get("ingest")
# A mistake in a contract is for the DAG processor to report, which reads the same files.
with contextlib.suppress(Credit301Error):
    Workspace.load(get_settings().workspace)
