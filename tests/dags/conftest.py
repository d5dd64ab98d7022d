"""Airflow for the tests of the DAGs: a home and a database of its own, made before anything imports Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from credit301 import settings as settings_module
from tests.conftest import REPOSITORY

DAGS = REPOSITORY / "dags"
# Airflow reads its configuration when it is imported, so this cannot wait for a fixture.
AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="credit301-airflow-"))
os.environ |= {
    "AIRFLOW_HOME": str(AIRFLOW_HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME}/airflow.db",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
}


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's tables, in SQLite."""
    airflow = Path(sys.prefix) / "bin" / "airflow"
    done = subprocess.run([airflow, "db", "migrate"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module with the DAGs of the reference city, as the DAG processor imports it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CREDIT301_WORKSPACE", str(REPOSITORY / "workspaces" / "wuhan"))
        patch.setenv("CREDIT301_HOME", str(tmp_path_factory.mktemp("home")))
        yield import_dags(patch)


def import_dags(patch: pytest.MonkeyPatch) -> ModuleType:
    """The DAGs of the workspace that the environment names."""
    import importlib

    settings_module.get_settings.cache_clear()
    patch.syspath_prepend(str(DAGS))
    sys.modules.pop("credit301_dags", None)
    began = time.perf_counter()
    module = importlib.import_module("credit301_dags")
    sys.stdout.write(f"the DAGs were read in {time.perf_counter() - began:.2f} s\n")
    return module
