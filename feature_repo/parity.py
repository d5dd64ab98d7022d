"""Checks that the online store serves what the marts hold."""

from __future__ import annotations

import math
from typing import Any

import duckdb

from credit301.derive.features import SERVICE, view_specs
from credit301.errors import FeatureStoreError
from credit301.workspace import Workspace
from feature_repo.store import open_store, reachable


def check_parity(workspace: Workspace, sample: int = 200, seed: int = 301) -> dict[str, Any]:
    """Compare online and offline values of a random sample of entities, value for value.

    Raises:
        FeatureStoreError: a value differs; the first few are named (entity keys are masked).
    """
    key = workspace.entity.key
    offline: dict[str, dict[str, Any]] = {}
    for spec in view_specs(workspace):
        path = str(workspace.paths.mart(spec.mart))
        query = "select * from read_parquet($1) qualify event_timestamp = max(event_timestamp) over ()"
        cursor = duckdb.execute(query, [path])
        names = [column[0] for column in cursor.description or ()]
        for row in cursor.fetchall():
            values = dict(zip(names, row, strict=True))
            entity = offline.setdefault(values.pop(key), {})
            del values["event_timestamp"], values["created_timestamp"]
            entity.update({f"{spec.name}__{name}": value for name, value in values.items()})
    if not offline:
        raise FeatureStoreError("The feature marts are empty.", hint="Run `credit301 build` first.")
    chosen = duckdb.execute(
        "select id from unnest($1::varchar[]) as t(id) order by hash(id || $2::varchar), id limit $3",
        [sorted(offline), str(seed), sample],
    ).fetchall()
    entities = [row[0] for row in chosen]
    store = open_store(workspace)
    with reachable():
        online = store.get_online_features(
            features=store.get_feature_service(SERVICE),
            entity_rows=[{key: entity} for entity in entities],
            full_feature_names=True,
        ).to_dict()
    compared, different = 0, []
    for index, entity in enumerate(entities):
        for name, values in online.items():
            if name == key:
                continue
            compared += 1
            if not _same(values[index], offline[entity].get(name)):
                different.append(
                    f"{entity[:4]}... {name}: online {values[index]!r}, offline {offline[entity].get(name)!r}"
                )
    if different:
        raise FeatureStoreError(
            f"{len(different)} of {compared} online values differ from the marts: {'; '.join(different[:3])}.",
            hint="Run `credit301 materialize`; if it persists, a view was written by something else.",
        )
    return {"entities": len(entities), "values": compared, "different": 0}


def _same(online: Any, offline: Any) -> bool:
    missing = [value is None or (isinstance(value, float) and math.isnan(value)) for value in (online, offline)]
    return all(missing) or (not any(missing) and bool(online == offline))
