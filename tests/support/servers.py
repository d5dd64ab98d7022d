"""Real servers for tests: an ASGI application under uvicorn, and a registry that speaks MLflow's REST."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@contextmanager
def running(app: Starlette, **options: Any) -> Iterator[str]:
    """``app`` behind uvicorn (with its ``options``, say for TLS) on a free port of this machine; gives its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="warning", loop="uvloop", http="httptools", access_log=False, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "the server to start")
        scheme = "https" if config.is_ssl else "http"
        yield f"{scheme}://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def until(condition: Any, what: str, seconds: float = 180.0) -> None:
    """Wait for ``condition()`` to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


class Registry:
    """A registry with one model whose aliases a test moves; it answers as MLflow 3.17 does."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.broken = False
        self.downloads: list[str] = []
        self._versions: dict[str, tuple[Path, dict[str, str]]] = {}

    def register(self, number: str, directory: Path, **tags: str) -> None:
        """Make ``directory`` the bundle of version ``number``."""
        self._versions[number] = (directory, {f"credit301.{key}": value for key, value in tags.items()})

    def app(self) -> Starlette:
        """The application to run."""
        return Starlette(
            routes=[
                Route("/api/2.0/mlflow/registered-models/alias", self._alias),
                Route("/get-artifact", self._artifact),
            ]
        )

    async def _alias(self, request: Request) -> Response:
        if self.broken:
            return Response("<html>502</html>", status_code=502)
        alias = request.query_params["alias"]
        if alias not in self.aliases:
            message = f"Registered model alias {alias} not found."
            return JSONResponse({"error_code": "INVALID_PARAMETER_VALUE", "message": message}, status_code=400)
        number = self.aliases[alias]
        _, tags = self._versions[number]
        version = {
            "name": request.query_params["name"],
            "version": number,
            "run_id": f"run{number}",
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        return JSONResponse({"model_version": version})

    async def _artifact(self, request: Request) -> Response:
        number = request.query_params["run_uuid"].removeprefix("run")
        path = request.query_params["path"]
        self.downloads.append(path)
        return Response((self._versions[number][0] / path.removeprefix("bundle/")).read_bytes())
