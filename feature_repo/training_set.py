"""The training set: labels joined with the features that were known when each decision was made."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq

from credit301 import console
from credit301.derive.dbt import LABELS_MODEL
from credit301.errors import FeatureStoreError
from credit301.files import replacing
from credit301.workspace import Workspace
from feature_repo.materialize import apply
from feature_repo.store import as_known, open_store

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

DECISIONS_AT_ONCE = 200_000
"""Decisions that are joined at once: what Feast joins is in memory."""

ROWS_OF_A_GROUP = 50_000
"""Rows that are read from the training set together where it is larger than memory, or on a worker of a cluster."""


def build_training_set(workspace: Workspace) -> dict[str, Any]:
    """Write labels and point-in-time features as one Parquet file.

    Columns: the entity's key, ``decision_time``, ``label`` and what else the label table has, then
    ``<view>__<feature>`` for every feature of the service. Feast joins, for each view, the newest row whose
    event time and whose created time are not after the decision (``filter_by_created_timestamp``).

    Raises:
        FeatureStoreError: there are no labels.
    """
    if workspace.definition.labels is None:
        raise FeatureStoreError(
            f"{workspace.name} declares no labels.", hint="Add labels and split to its workspace.yaml."
        )
    path = workspace.paths.mart(LABELS_MODEL)
    labels = duckdb.read_parquet(str(path)).df() if path.exists() else None
    if labels is None or labels.empty:
        raise FeatureStoreError(
            "There are no labels to learn from.", hint="Run `credit301 build` after outcomes have landed."
        )
    store = open_store(workspace)
    apply(workspace, store)
    console.say(f"joining features of {len(labels)} decisions as known at each")
    entity = workspace.entity.key
    ordered = labels.sort_values(["decision_time", entity], kind="stable", ignore_index=True)
    target = workspace.paths.training_set
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, replacing(target) as temporary:
        parts = []
        for start in range(0, len(ordered), DECISIONS_AT_ONCE):
            parts.append(str(Path(folder) / f"{start:012d}.parquet"))
            _join(store, ordered.iloc[start : start + DECISIONS_AT_ONCE], entity).to_parquet(parts[-1], index=False)
        _write(parts, temporary)
    columns = pq.read_schema(target).names
    return {"path": str(target), "rows": len(ordered), "features": len(columns) - labels.shape[1]}


def _join(store: FeatureStore, labels: pd.DataFrame, entity: str) -> pd.DataFrame:
    """``labels`` with the features known at each decision, in the order of time and key."""
    joined = as_known(store, labels.rename(columns={"decision_time": "event_timestamp"})).to_df()
    joined = joined.rename(columns={"event_timestamp": "decision_time"})
    joined["decision_time"] = joined["decision_time"].dt.tz_localize(None)
    return joined.sort_values(["decision_time", entity], kind="stable", ignore_index=True)


def _write(parts: list[str], target: Path) -> None:
    """Put the ``parts`` one after the other; a column without gaps in one of them is typed as in those with gaps."""
    with duckdb.connect() as engine:
        rows = engine.read_parquet(parts, union_by_name=True)
        rows.write_parquet(str(target), row_group_size=ROWS_OF_A_GROUP)
