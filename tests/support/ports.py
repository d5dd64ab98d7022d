"""Free ports on loopback for the servers that a test starts."""

from __future__ import annotations

import random
import socket
from typing import Any

NAMES = (
    "serving_port",
    "mlflow_port",
    "airflow_port",
    "exchange_port",
    "site_port",
    "redis_port",
    "postgres_port",
    "supervisor_port",
    "identity_port",
    "bank_platform_port",
    "bank_standard_port",
    "relay_port",
)
# Below the range that systems take the near end of outgoing connections from: nothing takes the port between two uses.
RANGE = range(20_000, 32_000)


def free_ports() -> dict[str, Any]:
    """A free port for each of the settings that name one."""
    candidates = iter(random.SystemRandom().sample(RANGE, len(RANGE)))
    return {name: next(port for port in candidates if _is_free(port)) for name in NAMES}


def free_port() -> int:
    """One free port, drawn by lot: two test processes that ask at the same moment get different ones.

    A server of a cluster listens 10,000 above it as well, which must be below the range of outgoing connections, too.
    """
    low = RANGE[: 32_000 - 10_000 - RANGE.start]
    return next(port for port in random.SystemRandom().sample(low, len(low)) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
