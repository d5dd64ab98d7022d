"""The Great Expectations project of a workspace: suites, results and data docs in files, everything else in memory.

Several processes may validate different sources at once: they share no file that one of them rewrites. Importing this
module imports GX.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import DataContextConfig, ProgressBarsConfig
from great_expectations.exceptions import DataContextError

from credit301.workspace import Workspace
from expectations import engine  # noqa: F401 - registers the DuckDB data source and the expectation on rows

SITE = "local"


def results_directory(workspace: Workspace) -> Path:
    """Where GX keeps validation results, ``<source>/<pull id>/<time>/``."""
    return workspace.paths.state / "expectations" / "validations"


def docs_directory(workspace: Workspace) -> Path:
    """Where the data docs are built."""
    return workspace.paths.site / "data_docs"


def open_context(workspace: Workspace) -> EphemeralDataContext:
    """A context on the workspace's stores that asks nothing of the network."""
    memory: dict[str, Any] = {"class_name": "InMemoryStoreBackend"}
    suites = results_directory(workspace).parent / "suites"
    config = DataContextConfig(
        config_version=4.0,
        stores={
            "expectations_store": {"class_name": "ExpectationsStore", "store_backend": _files(suites)},
            "validation_results_store": {
                "class_name": "ValidationResultsStore",
                "store_backend": _files(results_directory(workspace)),
            },
            "checkpoint_store": {"class_name": "CheckpointStore", "store_backend": memory},
            "validation_definition_store": {"class_name": "ValidationDefinitionStore", "store_backend": memory},
        },
        expectations_store_name="expectations_store",
        validation_results_store_name="validation_results_store",
        checkpoint_store_name="checkpoint_store",
        data_docs_sites={
            SITE: {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": _files(docs_directory(workspace)),
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        },
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def keep_suite(context: EphemeralDataContext, suite: gx.ExpectationSuite) -> gx.ExpectationSuite:
    """``suite`` in place of the one of its name; GX's update would compare each expectation with each first."""
    with suppress(DataContextError):
        context.suites.delete(suite.name)
    return context.suites.add(suite)


def _files(directory: Path) -> dict[str, Any]:
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(directory)}
