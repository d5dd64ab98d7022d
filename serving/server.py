"""Running the application under uvicorn."""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from credit301.logs import configuration
from credit301.settings import PREFIX
from credit301.signing.tls import TlsFiles, followed_context
from credit301.workspace import Workspace
from serving import evenly
from serving.metrics import MULTIPROCESS

_WORKSPACE = f"{PREFIX}WORKSPACE"
_BUNDLE = f"{PREFIX}SERVING_BUNDLE"
_SHARED = f"{PREFIX}SERVING_SHARED_METRICS"
_WORKERS = f"{PREFIX}SERVING_WORKERS"
PROTOCOL = "serving.peer:PeerProtocol"
SHARING = "serving.evenly:EvenLoop"
MOST_CONNECTIONS = 4096
"""A worker answers a plain 503 beyond so many; what is let in before that is refused in the usual shape."""
WORKER_SECONDS = 30
"""Within which a worker must be ready, and answer: on a busy machine its libraries take longer than the usual five."""
BACKLOG = 1024
"""Connections that the system keeps for a worker that has not taken them yet."""


def run(workspace: Workspace, *, port: int, workers: int = 1, bundle: Path | None = None) -> None:
    """Serve until told to stop. More than one worker share the port; each follows the champion on its own.

    With ``CREDIT301_TLS_CERTIFICATE`` and ``CREDIT301_TLS_KEY`` over TLS, with ``CREDIT301_TLS_CLIENT_CA`` mutually.

    Raises:
        ConfigError: TLS is half set up, or one of its files cannot be used.
    """
    # Workers are fresh processes: what they need to know travels in the environment.
    os.environ[_WORKSPACE] = str(workspace.directory)
    os.environ[f"{PREFIX}HOME"] = str(workspace.settings.home)
    if bundle is not None:
        os.environ[_BUNDLE] = str(bundle.resolve())
    else:
        os.environ.pop(_BUNDLE, None)
    os.environ[_WORKERS] = str(workers)
    secured = tls(workspace)
    shared = tempfile.mkdtemp(prefix="credit301-metrics-") if workers > 1 else None
    if shared is not None:
        os.environ[MULTIPROCESS] = shared
        os.environ[_SHARED] = "1"
        evenly.make(Path(shared) / "connections")
        os.environ[evenly.SHARES] = str(Path(shared) / "connections")
    try:
        uvicorn.run(
            "serving.server:from_environment",
            factory=True,
            host=workspace.settings.host,
            port=port,
            workers=workers,
            loop=SHARING if shared is not None else "uvloop",
            http=PROTOCOL,
            ssl_context_factory=secured,
            backlog=BACKLOG,
            limit_concurrency=MOST_CONNECTIONS,
            access_log=False,
            server_header=False,
            log_config=configuration(workspace.settings.log_format),
            timeout_graceful_shutdown=10,
            timeout_worker_healthcheck=WORKER_SECONDS,
        )
    finally:
        if shared is not None:
            shutil.rmtree(shared, ignore_errors=True)


def tls(workspace: Workspace) -> Callable[..., ssl.SSLContext] | None:
    """What makes the context of each worker, which follows its files; none where the endpoint speaks plain HTTP.

    Raises:
        ConfigError: TLS is half set up, or one of its files cannot be used.
    """
    files = TlsFiles.of(workspace.settings)
    if files is None:
        return None
    # Once here, so that a file that cannot be used stops the command, and not each of its workers.
    followed_context(files)
    return partial(_context, files)


def _context(files: TlsFiles, *_: object) -> ssl.SSLContext:
    return followed_context(files)


def from_environment() -> Starlette:
    """The application of a worker, from what :func:`run` put into the environment."""
    from serving.app import Service

    bundle = os.environ.get(_BUNDLE)
    workspace = Workspace.load(Path(os.environ[_WORKSPACE]))
    shared = os.environ.get(_SHARED) == "1"
    workers = int(os.environ.get(_WORKERS, "1"))
    return Service(workspace, bundle=Path(bundle) if bundle else None, shared_metrics=shared, workers=workers).app()
