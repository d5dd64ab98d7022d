"""What the feature marts have on every entity that has no outcome yet, some entities at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from credit301.derive.dbt import LABELS_MODEL, feature_model_name
from credit301.domain.verdict import Scalar
from credit301.errors import NotFound, WarehouseError
from credit301.workspace import Workspace
from serving.judge import Loaded

AT_ONCE = 1_000
"""Entities that are read together."""

Read = tuple[str, list[Scalar], dict[str, datetime | None]]
"""An entity's key, its newest values in plan order, and of when those of each view are."""


def entities(workspace: Workspace, loaded: Loaded) -> Iterator[list[Read]]:
    """The entities without a label that any view of the model has features of, in the order of their keys.

    Raises:
        NotFound: no feature mart has been built.
        WarehouseError: a mart cannot be read, or lacks a feature of the model.
    """
    paths = workspace.paths
    views = {view.name: paths.mart(feature_model_name(view.name)) for view in loaded.manifest.views}
    there = {name: path for name, path in views.items() if path.is_file()}
    if not there:
        raise NotFound("There is no feature mart to decide on.", hint="Build first: credit301 build.")
    key = _quoted(workspace.entity.key)
    labels = paths.mart(LABELS_MODEL)
    known = f"select {key} from read_parquet({_text(labels)})" if labels.is_file() else "select null limit 0"
    everyone = " union ".join(f"select {key} as entity from read_parquet({_text(path)})" for path in there.values())
    joins, columns, moments = [], [], []
    for number, view in enumerate(loaded.manifest.views):
        names = [_quoted(feature.name) for feature in view.features]
        if view.name not in there:
            columns += ["null"] * len(names)
            moments.append("null")
            continue
        newest = (
            f"qualify row_number() over (partition by {key} order by event_timestamp desc, created_timestamp desc) = 1"
        )
        read = ", ".join([f"{key} as entity", "event_timestamp", *names])
        rows = f"select {read} from read_parquet({_text(there[view.name])}) {newest}"
        joins.append(f"left join ({rows}) v{number} on v{number}.entity = e.entity")
        columns += [f"v{number}.{name}" for name in names]
        moments.append(f"v{number}.event_timestamp")
    query = (
        f"select e.entity, {', '.join(columns + moments)} from ({everyone}) e {' '.join(joins)} "
        f"where e.entity not in ({known}) order by e.entity"
    )
    with duckdb.connect() as connection:
        try:
            result = connection.execute(query)
            while chunk := result.fetchmany(AT_ONCE):
                yield [_read(row, loaded) for row in chunk]
        except duckdb.Error as error:
            raise WarehouseError(
                f"The feature marts do not fit the model {loaded.manifest.version}: {error}.",
                hint="Build and train again: credit301 build, credit301 train.",
            ) from error


def _read(row: tuple[Any, ...], loaded: Loaded) -> Read:
    values, moments = list(row[1 : len(loaded.plan.keys) + 1]), row[len(loaded.plan.keys) + 1 :]
    # The warehouse keeps times in UTC.
    known = (None if moment is None else moment.replace(tzinfo=UTC) for moment in moments)
    return str(row[0]), values, dict(zip(loaded.plan.views, known, strict=True))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
