"""Feast's local engine, but for views that lie in Parquet: streamed from DuckDB to the online store as Arrow batches.

Memory is bounded by DuckDB's limit and one batch, whatever the range. Views of another kind (another source, a
transformation, another online store) go stock Feast's way.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
from feast import FeatureView, FileSource
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.types import Float64, String
from feast.utils import to_naive_utc

from credit301.features.packing import entity_keys
from credit301.sources.typed import quote
from feature_repo.online_store import PackedRedisOnlineStore

BATCH_ROWS = 32_768
WRITERS = 2


class PackedMaterializationEngineConfig(LocalComputeEngineConfig):
    """``memory_limit`` is DuckDB's, such as ``2GB``."""

    type: Literal["feature_repo.engine.PackedMaterializationEngine"] = (  # type: ignore[assignment]
        "feature_repo.engine.PackedMaterializationEngine"
    )
    memory_limit: str = "2GB"


class PackedMaterializationEngine(LocalComputeEngine):  # type: ignore[misc]
    """Materializes the newest row of each entity within the range."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        view = task.feature_view
        if not (isinstance(self.online_store, PackedRedisOnlineStore) and _is_plain(view)):
            return super()._materialize_one(registry, task, **kwargs)
        name = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            self._stream(task)
        except Exception as error:  # noqa: BLE001 - Feast raises it where the job is looked at
            return LocalMaterializationJob(job_id=name, status=MaterializationJobStatus.ERROR, error=error)
        return LocalMaterializationJob(job_id=name, status=MaterializationJobStatus.SUCCEEDED)

    def _stream(self, task: MaterializationTask) -> None:
        view: FeatureView = task.feature_view
        (key,) = view.join_keys
        names = [feature.name for feature in view.features]
        with duckdb.connect(config={"memory_limit": self.repo_config.batch_engine.memory_limit}) as connection:
            newest = connection.sql(
                _newest(view, key, names),
                params={
                    "path": view.batch_source.path,
                    "start": to_naive_utc(task.start_time),
                    "end": to_naive_utc(task.end_time),
                },
            )
            progress = task.tqdm_builder(0) if task.tqdm_builder else None
            reader: pa.RecordBatchReader = newest.to_arrow_reader(BATCH_ROWS)
            # While the server takes one batch in, the next ones are read and packed; no more than these are in memory.
            with ThreadPoolExecutor(WRITERS) as pool:
                writing: deque[Future[int]] = deque()
                for batch in reader:
                    if len(writing) == WRITERS:
                        _advance(progress, writing.popleft().result())
                    writing.append(pool.submit(self._write, view, key, names, batch))
                for written in writing:
                    _advance(progress, written.result())

    def _write(self, view: FeatureView, key: str, names: list[str], batch: pa.RecordBatch) -> int:
        config = self.repo_config
        self.online_store.write_arrow(
            config,
            view,
            entity_keys(config.project, key, batch.column(key)),
            {name: batch.column(name) for name in names},
            (_int64(batch.column("created")), _int64(batch.column("event"))),
        )
        return batch.num_rows


def _advance(progress: Any, rows: int) -> None:
    if progress is not None:
        progress.update(rows)


def _is_plain(view: Any) -> bool:
    """Whether the view's rows are what its Parquet file holds: one text key, doubles and texts, nothing renamed."""
    source = getattr(view, "batch_source", None)
    return (
        type(view) is FeatureView
        and isinstance(source, FileSource)
        and source.path.endswith(".parquet")
        and "://" not in source.path
        and not source.field_mapping
        and len(view.entity_columns) == 1
        and view.entity_columns[0].dtype == String
        and all(feature.dtype in {Float64, String} for feature in view.features)
        and getattr(view, "feature_transformation", None) is None
    )


def _newest(view: FeatureView, key: str, names: list[str]) -> str:
    source: FileSource = view.batch_source
    event = quote(source.timestamp_field)
    created = quote(source.created_timestamp_column or source.timestamp_field)
    doubles = {feature.name for feature in view.features if feature.dtype == Float64}
    columns = ", ".join(
        f"CAST({quote(name)} AS {'DOUBLE' if name in doubles else 'VARCHAR'}) AS {quote(name)}" for name in names
    )
    return f"""
        SELECT CAST({quote(key)} AS VARCHAR) AS {quote(key)}, {columns},
               epoch_us({created}) AS created, epoch_us({event}) AS event
        FROM read_parquet($path)
        WHERE {event} BETWEEN $start AND $end AND {quote(key)} IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY {quote(key)} ORDER BY {event} DESC, {created} DESC) = 1
    """


def _int64(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    values: np.ndarray[Any, np.dtype[np.int64]] = column.to_numpy(zero_copy_only=False)
    return values
