"""Feast's local engine, but for views that lie in Parquet: streamed from DuckDB to the online store as Arrow batches.

Only rows go there that differ from what was written last, see :mod:`feature_repo.written`.

Memory is bounded by DuckDB's limit and one batch, whatever the range. Views of another kind (another source, a
transformation, another online store) go stock Feast's way.
"""

from __future__ import annotations

import tempfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
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
from credit301.sources.typed import literal, quote
from feature_repo.online_store import PackedRedisOnlineStore, field_of, layout_of
from feature_repo.written import Mark

BATCH_ROWS = 32_768
WRITERS = 2


class PackedMaterializationEngineConfig(LocalComputeEngineConfig):
    """``memory_limit`` is DuckDB's, such as ``2GB``."""

    type: Literal["feature_repo.engine.PackedMaterializationEngine"] = (  # type: ignore[assignment]
        "feature_repo.engine.PackedMaterializationEngine"
    )
    memory_limit: str = "2GB"


class PackedMaterializationEngine(LocalComputeEngine):  # type: ignore[misc]
    """Materializes the newest row of each entity within the range, where it differs from the one that was written."""

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
        start, end = (to_naive_utc(moment) for moment in (task.start_time, task.end_time))
        newest = _newest(view, key, names, f"BETWEEN TIMESTAMP '{start}' AND TIMESTAMP '{end}'")
        mark = Mark.of(self.repo_config, view, field_of(view, self.repo_config), layout_of(view).fingerprint)
        progress = task.tqdm_builder(0) if task.tqdm_builder else None
        with (
            duckdb.connect(config={"memory_limit": self.repo_config.batch_engine.memory_limit}) as connection,
            tempfile.TemporaryDirectory() as folder,
        ):
            if mark is None:
                self._send(view, connection.sql(newest), progress)
                return
            client = self.online_store._get_client(self.repo_config.online_store)  # noqa: SLF001 - as its own methods do
            known, fresh = mark.holds(client), Path(folder) / "fresh.parquet"
            marked = mark.differing(newest, key, names, known=known)
            connection.execute(f"COPY ({marked}) TO {literal(str(fresh))} (FORMAT parquet)")
            if known:
                differing = f"SELECT entity FROM read_parquet({literal(str(fresh))}) WHERE differs"
                newest = _newest(view, key, names, f"BETWEEN TIMESTAMP '{start}' AND TIMESTAMP '{end}'", differing)
            sent, written = self._send(view, connection.sql(newest), progress)
            if sent == written:
                mark.keep(client, fresh, written)
            else:
                # The server has rows that became known later, of which the mark does not know.
                mark.forget()

    def _send(self, view: FeatureView, newest: duckdb.DuckDBPyRelation, progress: Any) -> tuple[int, int]:
        """Rows that were sent to the server, and those of them that it took."""
        sent = written = 0
        reader: pa.RecordBatchReader = newest.to_arrow_reader(BATCH_ROWS)
        # While the server takes one batch in, the next ones are read and packed; no more than these are in memory.
        with ThreadPoolExecutor(WRITERS) as pool:
            writing: deque[Future[int]] = deque()
            for batch in reader:
                if len(writing) == WRITERS:
                    written += writing.popleft().result()
                writing.append(pool.submit(self._write, view, batch))
                sent += batch.num_rows
                if progress is not None:
                    progress.update(batch.num_rows)
            written += sum(write.result() for write in writing)
        return sent, written

    def _write(self, view: FeatureView, batch: pa.RecordBatch) -> int:
        config = self.repo_config
        (key,) = view.join_keys
        written: int = self.online_store.write_arrow(
            config,
            view,
            entity_keys(config.project, key, batch.column(key)),
            {feature.name: batch.column(feature.name) for feature in view.features},
            (_int64(batch.column("created")), _int64(batch.column("event"))),
        )
        return written


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


def _newest(view: FeatureView, key: str, names: list[str], between: str, of: str = "") -> str:
    """Query of the newest row ``between`` two times of each entity, or of those that the query ``of`` has."""
    source: FileSource = view.batch_source
    event = quote(source.timestamp_field)
    created = quote(source.created_timestamp_column or source.timestamp_field)
    doubles = {feature.name for feature in view.features if feature.dtype == Float64}
    columns = ", ".join(
        f"CAST({quote(name)} AS {'DOUBLE' if name in doubles else 'VARCHAR'}) AS {quote(name)}" for name in names
    )
    chosen = f"AND CAST({quote(key)} AS VARCHAR) IN ({of})" if of else ""
    return f"""
        SELECT CAST({quote(key)} AS VARCHAR) AS {quote(key)}, {columns},
               epoch_us({created}) AS created, epoch_us({event}) AS event
        FROM read_parquet({literal(source.path)})
        WHERE {event} {between} AND {quote(key)} IS NOT NULL {chosen}
        QUALIFY row_number() OVER (PARTITION BY {quote(key)} ORDER BY {event} DESC, {created} DESC) = 1
    """


def _int64(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    values: np.ndarray[Any, np.dtype[np.int64]] = column.to_numpy(zero_copy_only=False)
    return values
