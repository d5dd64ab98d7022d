"""The floor of an endpoint: its server and framework, which take a request's body and give back a ready answer.

``python -m benchmarks.echo PORT FILE``, where the file is a JSON object of answers by request body.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.requests import read_body


def app(answers: dict[str, str]) -> Starlette:
    """The application; ``/healthz`` answers, too."""
    ready = {asked.encode(): answer.encode() for asked, answer in answers.items()}

    async def echo(request: Request) -> Response:
        return Response(ready[await read_body(request)], media_type="application/json")

    async def health(_: Request) -> Response:
        return Response(b"{}", media_type="application/json")

    return Starlette(routes=[Route("/v1/decisions", echo, methods=["POST"]), Route("/healthz", health)])


if __name__ == "__main__":
    port, file = sys.argv[1:]
    read = msgspec.json.decode(Path(file).read_bytes(), type=dict[str, str])
    # As serving.server runs the endpoint.
    uvicorn.run(
        app(read),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        access_log=False,
        server_header=False,
        log_level="warning",
    )
