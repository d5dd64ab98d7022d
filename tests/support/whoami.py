"""An application that answers with the number of its process: ``tests.support.whoami:app``."""

from __future__ import annotations

import os
from typing import Any


async def app(scope: Any, _: Any, send: Any) -> None:
    """Answer any request."""
    assert scope["type"] == "http"
    said = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})
