"""Health check of a container: ``healthy.py URL [COMPONENT]`` ends with 0 where ``URL`` answers well.

With ``COMPONENT`` the answer is Airflow's health page, and that component must be healthy on it.
"""

from __future__ import annotations

import json
import sys
import urllib.request

TIMEOUT_SECONDS = 4


def main(url: str, component: str = "") -> int:
    """Exit code: 0 for healthy, 1 for an answer that says otherwise; no answer at all raises."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - the URL is the compose file's
        body = response.read()
    return int(bool(component) and json.loads(body)[component]["status"] != "healthy")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
