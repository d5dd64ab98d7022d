"""Airflow imports this when a process starts whose ``PYTHONPATH`` names this folder: the scheduler's does.

Tasks are forked from it. What nearly every task needs, and what takes seconds of a core to import, is loaded here once
instead of once a task.
"""

from __future__ import annotations

import great_expectations.checkpoint
import great_expectations.core.validation_definition  # noqa: F401

__all__: list[str] = []
