"""Running the application under uvicorn."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from credit301.settings import PREFIX
from credit301.workspace import Workspace
from serving.metrics import MULTIPROCESS

_WORKSPACE = f"{PREFIX}WORKSPACE"
_BUNDLE = f"{PREFIX}SERVING_BUNDLE"
_SHARED = f"{PREFIX}SERVING_SHARED_METRICS"


def run(workspace: Workspace, *, port: int, workers: int = 1, bundle: Path | None = None) -> None:
    """Serve until told to stop. More than one worker share the port; each follows the champion on its own."""
    # Workers are fresh processes: what they need to know travels in the environment.
    os.environ[_WORKSPACE] = str(workspace.directory)
    os.environ[f"{PREFIX}HOME"] = str(workspace.settings.home)
    if bundle is not None:
        os.environ[_BUNDLE] = str(bundle.resolve())
    else:
        os.environ.pop(_BUNDLE, None)
    shared = tempfile.mkdtemp(prefix="credit301-metrics-") if workers > 1 else None
    if shared is not None:
        os.environ[MULTIPROCESS] = shared
        os.environ[_SHARED] = "1"
    try:
        uvicorn.run(
            "serving.server:from_environment",
            factory=True,
            host=workspace.settings.host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            access_log=False,
            server_header=False,
            log_config=_logging(),
            timeout_graceful_shutdown=10,
        )
    finally:
        if shared is not None:
            shutil.rmtree(shared, ignore_errors=True)


def from_environment() -> Starlette:
    """The application of a worker, from what :func:`run` put into the environment."""
    from serving.app import Service

    bundle = os.environ.get(_BUNDLE)
    workspace = Workspace.load(Path(os.environ[_WORKSPACE]))
    shared = os.environ.get(_SHARED) == "1"
    return Service(workspace, bundle=Path(bundle) if bundle else None, shared_metrics=shared).app()


def _logging() -> dict[str, object]:
    plain = {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    handler = {
        "class": "logging.StreamHandler",
        "formatter": "plain",
        "stream": "ext://sys.stderr",
        "filters": ["scrubbed"],
    }
    logger = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"scrubbed": {"()": "credit301.governance.masking.ScrubbingFilter"}},
        "formatters": {"plain": plain},
        "handlers": {"stderr": handler},
        "loggers": {"uvicorn": logger, "credit301": logger},
    }
