"""The one page of the API, with headers that let it do no more than it must."""

from __future__ import annotations

import base64
import hashlib

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

_SCRIPT = """SwaggerUIBundle({url: "/docs/openapi.json", dom_id: "#swagger-ui", validatorUrl: null,
  tryItOutEnabled: true, persistAuthorization: false, presets: [SwaggerUIBundle.presets.apis]});"""
_PAGE = f"""<!DOCTYPE html>
<html lang="zh-CN">
<head><meta charset="utf-8"><title>Credit301 API</title>
<link rel="stylesheet" href="/docs/static/swagger-ui.css"><link rel="icon" href="/docs/static/favicon-32x32.png"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/static/swagger-ui-bundle.js" charset="utf-8"></script>
<script>{_SCRIPT}</script></body>
</html>"""
_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
HEADERS = {
    # The page runs its own script and the bundled one; its styles are written by that script.
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self' 'sha256-{_DIGEST}'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


async def docs(_: Request) -> Response:
    """The page on which the API is described and tried."""
    return HTMLResponse(_PAGE, headers=HEADERS)


async def root(_: Request) -> Response:
    """To the page."""
    return RedirectResponse("/docs")
