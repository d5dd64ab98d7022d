"""Airflow's connections, handed to code that knows no Airflow.

They are asked of Airflow, so that those in its metadata database and its secrets backends count too.
"""

from __future__ import annotations

import json

from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException

from credit301.sources.connectors.connections import Connection, parse


def from_airflow(identity: str) -> Connection | None:
    """The connection called ``identity`` as Airflow knows it; ``None`` where it knows none."""
    try:
        found = AirflowConnection.get(identity)
    except AirflowNotFoundException:
        return None
    values = {
        "conn_type": found.conn_type,
        "host": found.host,
        "port": found.port,
        "login": found.login,
        "password": found.password,
        "schema": found.schema,
        "extra": found.extra_dejson,
    }
    return parse(identity, json.dumps(values), f"Airflow's connection {identity}")
