"""Airflow imports this when a process starts whose ``PYTHONPATH`` names this folder: the DAG processor's does.

It forks a process each time it reads the DAGs. What they import is loaded here once, and so are the contracts, which a
process reads once as long as their text stays the same.
"""

from __future__ import annotations

import contextlib

import airflow.sdk  # noqa: F401

from credit301 import verbs  # noqa: F401
from credit301.errors import Credit301Error
from credit301.settings import get_settings
from credit301.sources.connectors import connections  # noqa: F401
from credit301.workspace import Workspace

__all__: list[str] = []

# A mistake in a contract is for the process to report that reads the DAGs.
with contextlib.suppress(Credit301Error):
    Workspace.load(get_settings().workspace)
